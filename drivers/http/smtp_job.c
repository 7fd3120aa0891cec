/* smtp_job.c - one message on its way: envelope, encryption, sign-in, and what the server's replies
 * mean.
 *
 * libcurl tells neither the text of a reply nor which address was refused; its debug callback shows
 * both. */
#include "http/smtp_job.h"

#include "http/curl_error.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  MAX_RECIPIENTS = 100, /* RFC 5321 section 4.5.3.1.8: what every server takes */
  QUIT_PATIENCE_MS = 500
};

/* --- on the mail thread: libcurl's callbacks --- */

static size_t job_on_read(char *out, size_t size, size_t count, void *arg)
{
  struct sip_smtp_job *job = arg;
  size_t left = job->message.len - job->sent;
  size_t len = size * count < left ? size * count : left;

  memcpy(out, job->message.data + job->sent, len);
  job->sent += len;
  return len;
}

static int job_on_seek(void *arg, curl_off_t offset, int origin)
{
  struct sip_smtp_job *job = arg;

  if (origin != SEEK_SET || offset < 0 || (size_t)offset > job->message.len) {
    return CURL_SEEKFUNC_FAIL;
  }
  job->sent = (size_t)offset; /* a kept connection was dead: again on a new one */
  return CURL_SEEKFUNC_OK;
}

static int job_on_progress(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
  struct sip_smtp_job *job = arg;

  (void)a, (void)b, (void)c, (void)d;
  /* libcurl waits up to two minutes for the reply to QUIT, calling this once a second */
  return atomic_load(&job->abort) ||
         (job->quit_ms != 0 && uv_hrtime() / 1000000 > job->quit_ms + QUIT_PATIENCE_MS);
}

static size_t job_on_body(char *data, size_t size, size_t count, void *arg)
{
  (void)data;
  (void)arg;
  return size * count; /* replies: seen by the debug callback already */
}

static bool starts_with(const char *data, size_t len, const char *word)
{
  return len >= strlen(word) && strncmp(data, word, strlen(word)) == 0;
}

static void job_saw_command(struct sip_smtp_job *job, const char *data, size_t len)
{
  if (starts_with(data, len, "QUIT")) {
    job->quit_ms =
      uv_hrtime() /
      1000000; /* said after a failure too: the reply before it is the one that counts */
    return;
  }
  job->status = 0;
  job->reply[0] = '\0';
  job->quit_ms = 0;
  if (starts_with(data, len, "MAIL FROM")) {
    job->stage = SMTP_STAGE_MAIL;
    job->rcpt = NULL;
    job->refusal_count = 0;
  } else if (starts_with(data, len, "RCPT TO")) {
    job->rcpt = job->stage == SMTP_STAGE_RCPT && job->rcpt != NULL ? job->rcpt->next : job->to;
    job->stage = SMTP_STAGE_RCPT;
  } else if (starts_with(data, len, "DATA")) {
    job->stage = SMTP_STAGE_DATA;
  } else if (starts_with(data, len, "AUTH")) {
    job->stage = SMTP_STAGE_AUTH;
  } else if (starts_with(data, len, "EHLO") || starts_with(data, len, "HELO")) {
    job->stage = SMTP_STAGE_HELLO;
  }
}

static void job_refused_recipient(struct sip_smtp_job *job)
{
  struct sip_smtp_refusal *refusal;

  if (job->rcpt == NULL || job->refusal_count >= MAX_RECIPIENTS) {
    return;
  }
  refusal = &job->refusals[job->refusal_count];
  free((char *)refusal->text); /* of an attempt on a connection that was dead */
  refusal->address = job->rcpt->data;
  refusal->status = job->status;
  refusal->text = strdup(job->reply); /* NULL for want of memory: told without the text */
  job->refusal_count++;
}

static void job_saw_reply(struct sip_smtp_job *job, const char *data, size_t len)
{
  size_t used = 0;

  if (job->quit_ms != 0 || len < 3 || data[0] < '2' || data[0] > '5') {
    return;
  }
  for (size_t i = 0; i < len && used + 1 < sizeof job->reply; i++) {
    if (data[i] >= ' ' && data[i] < 127) {
      job->reply[used++] = data[i];
    }
  }
  job->reply[used] = '\0';
  if (len > 3 && data[3] == '-') {
    return; /* more lines follow */
  }
  job->status = (data[0] - '0') * 100 + (data[1] - '0') * 10 + (data[2] - '0');
  if (job->stage == SMTP_STAGE_RCPT && job->status >= 400) {
    job_refused_recipient(job);
  }
}

static int job_on_debug(CURL *easy, curl_infotype type, char *data, size_t len, void *arg)
{
  struct sip_smtp_job *job = arg;

  (void)easy;
  if (type == CURLINFO_HEADER_OUT) {
    job_saw_command(job, data, len);
  } else if (type == CURLINFO_HEADER_IN) {
    job_saw_reply(job, data, len);
  }
  return 0;
}

/* --- on the loop thread --- */

static int refuse_query(struct sip_err *err)
{
  return sip_err_named(err, UV_EINVAL, "INVALID_URL",
                       "the URL's query is not known (?tls=none: in clear; ?tls=required)");
}

/* What the URL says about encryption: *out is a value of CURLOPT_USE_SSL. */
static int read_encryption(const struct sip_target *target, long *out, struct sip_err *err)
{
  char *query = NULL;
  int rc = 0;

  *out = target->loopback ? (long)CURLUSESSL_NONE : (long)CURLUSESSL_ALL;
  if (curl_url_get(target->url, CURLUPART_QUERY, &query, 0) == CURLUE_OK && query[0] != '\0') {
    if (strcmp(query, "tls=none") == 0) {
      *out = (long)CURLUSESSL_NONE;
    } else if (strcmp(query, "tls=required") == 0) {
      *out = (long)CURLUSESSL_ALL;
    } else {
      rc = refuse_query(err);
    }
  }
  curl_free(query);
  return rc;
}

/* Moves user and password from the URL to the handle, so that they are in nothing that is printed.
 */
static bool set_login(struct sip_smtp_job *job)
{
  CURLU *url = job->target.url;
  char *user = NULL, *password = NULL;
  bool ok = true;

  if (curl_url_get(url, CURLUPART_USER, &user, CURLU_URLDECODE) == CURLUE_OK) {
    (void)curl_url_get(url, CURLUPART_PASSWORD, &password, CURLU_URLDECODE);
    ok =
      curl_easy_setopt(job->easy, CURLOPT_USERNAME, user) == CURLE_OK &&
      curl_easy_setopt(job->easy, CURLOPT_PASSWORD, password == NULL ? "" : password) == CURLE_OK;
  }
  curl_free(user);
  curl_free(password);
  return ok && curl_url_set(url, CURLUPART_USER, NULL, 0) == CURLUE_OK &&
         curl_url_set(url, CURLUPART_PASSWORD, NULL, 0) == CURLUE_OK &&
         curl_url_set(url, CURLUPART_QUERY, NULL, 0) == CURLUE_OK &&
         curl_url_set(url, CURLUPART_FRAGMENT, NULL, 0) == CURLUE_OK;
}

static bool set_callbacks(struct sip_smtp_job *job)
{
  CURL *easy = job->easy;

  return curl_easy_setopt(easy, CURLOPT_PRIVATE, job) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L) == CURLE_OK && /* without it curl sends VRFY */
         curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)job->message.len) ==
           CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_READFUNCTION, job_on_read) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_READDATA, job) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, job_on_seek) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_SEEKDATA, job) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, job_on_body) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, job_on_progress) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_XFERINFODATA, job) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 0L) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_DEBUGFUNCTION, job_on_debug) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_DEBUGDATA, job) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_VERBOSE, 1L) == CURLE_OK; /* feeds the debug callback */
}

static int job_add_recipients(struct sip_smtp_job *job, const struct sip_smtp_request *request,
                              struct sip_err *err)
{
  if (request->to_count == 0 || request->to_count > MAX_RECIPIENTS) {
    return sip_err_set(err, UV_EINVAL, "mail: 1 to %d recipients, got %zu", MAX_RECIPIENTS,
                       request->to_count);
  }
  job->refusals = calloc(request->to_count, sizeof *job->refusals);
  for (size_t i = 0; i < request->to_count && job->refusals != NULL; i++) {
    char *address = strndup(request->to[i].data, request->to[i].len);
    struct curl_slist *list = address == NULL ? NULL : curl_slist_append(job->to, address);

    free(address);
    if (list == NULL) {
      return sip_err_set(err, UV_ENOMEM, "mail: no memory for the recipients");
    }
    job->to = list;
  }
  return job->refusals == NULL ? sip_err_set(err, UV_ENOMEM, "mail: no memory") : 0;
}

static int job_set_up(struct sip_smtp_job *job, const struct sip_smtp_request *request,
                      struct sip_err *err)
{
  char from[300];
  long encryption;
  int rc = sip_target_init(&job->target, &request->url, "smtp,smtps", err);

  if (rc == 0) {
    rc = read_encryption(&job->target, &encryption, err);
  }
  if (rc == 0) {
    rc = job_add_recipients(job, request, err);
  }
  if (rc == 0) {
    rc = sip_easy_new(&job->easy, &request->transfer, job->detail, err);
  }
  if (rc < 0) {
    return rc;
  }
  (void)snprintf(from, sizeof from, "<%.*s>", (int)request->from.len, request->from.data);
  if (!set_login(job) || !set_callbacks(job) ||
      curl_easy_setopt(job->easy, CURLOPT_CURLU, job->target.url) != CURLE_OK ||
      curl_easy_setopt(job->easy, CURLOPT_PROTOCOLS_STR, "smtp,smtps") != CURLE_OK ||
      curl_easy_setopt(job->easy, CURLOPT_USE_SSL, encryption) != CURLE_OK ||
      curl_easy_setopt(job->easy, CURLOPT_MAIL_FROM, from) != CURLE_OK ||
      curl_easy_setopt(job->easy, CURLOPT_MAIL_RCPT, job->to) != CURLE_OK ||
      curl_easy_setopt(job->easy, CURLOPT_MAIL_RCPT_ALLLOWFAILS, 1L) != CURLE_OK ||
      (job->target.loopback && curl_easy_setopt(job->easy, CURLOPT_NOPROXY, "*") != CURLE_OK)) {
    return sip_err_set(err, UV_ENOMEM, "mail: no memory for the transfer");
  }
  return 0;
}

int sip_smtp_job_new(struct sip_smtp_job **out, const struct sip_smtp_request *request,
                     struct sip_err *err)
{
  struct sip_smtp_job *job = calloc(1, sizeof *job);
  int rc;

  if (job == NULL) {
    sip_buf_deinit(request->message);
    return sip_err_set(err, UV_ENOMEM, "mail: no memory");
  }
  sip_list_init(&job->link);
  job->message = *request->message;
  *request->message = (struct sip_buf)SIP_BUF_INIT; /* taken over */
  atomic_init(&job->abort, false);
  rc = job_set_up(job, request, err);
  if (rc < 0) {
    sip_smtp_job_destroy(job);
    return rc;
  }
  *out = job;
  return 0;
}

void sip_smtp_job_destroy(struct sip_smtp_job *job)
{
  size_t count = 0;

  sip_list_remove(&job->link);
  if (job->easy != NULL) {
    curl_easy_cleanup(job->easy);
  }
  for (struct curl_slist *node = job->to; node != NULL && job->refusals != NULL;
       node = node->next, count++) {
    free((char *)job->refusals[count].text);
  }
  free(job->refusals);
  curl_slist_free_all(job->to);
  sip_target_deinit(&job->target);
  sip_buf_deinit(&job->message);
  free(job);
}

/* --- what it meant --- */

static bool all_permanent(const struct sip_smtp_job *job)
{
  for (size_t i = 0; i < job->refusal_count; i++) {
    if (job->refusals[i].status < 500) {
      return false;
    }
  }
  return job->status >= 500;
}

static void explain_reply(const struct sip_smtp_job *job, struct sip_err *err)
{
  static const char *const stages[] = { "the connection", "the sign-in", "the sender",
                                        "every recipient", "the message" };
  bool permanent = job->stage == SMTP_STAGE_RCPT ? all_permanent(job) : job->status >= 500;
  const char *name = !permanent                      ? "SMTP_TEMPORARY"
                     : job->stage == SMTP_STAGE_AUTH ? "SMTP_AUTH"
                                                     : "SMTP_REFUSED";

  (void)sip_err_named(err, SIP_ESMTP, name, "mail %s: the server refuses %s%s: %s",
                      job->target.text, stages[job->stage], permanent ? "" : " for now",
                      job->reply);
}

void sip_smtp_job_explain(const struct sip_smtp_job *job, struct sip_err *err)
{
  bool handed_over = job->stage == SMTP_STAGE_DATA && job->sent == job->message.len;

  memset(err, 0, sizeof *err);
  if (job->result == CURLE_OK) {
    return;
  }
  if (job->result == CURLE_USE_SSL_FAILED) {
    (void)sip_err_named(err, SIP_ESMTP, "ETLS",
                        "mail %s: the server offers no TLS (add ?tls=none to the URL to send in "
                        "clear)",
                        job->target.text);
  } else if (job->status >= 400) {
    explain_reply(job, err);
  } else if (job->result == CURLE_LOGIN_DENIED) {
    (void)sip_err_named(err, SIP_ESMTP, "SMTP_AUTH",
                        "mail %s: the server offers no way to sign in that is known here",
                        job->target.text);
  } else {
    (void)sip_curl_error(job->easy, job->detail, job->result, "mail", job->target.text, err);
    if (handed_over) {
      size_t used = strlen(err->message);

      (void)snprintf(err->message + used, sizeof err->message - used,
                     " (the whole message was sent before: it may have arrived)");
    }
  }
}
