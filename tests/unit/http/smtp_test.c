/* smtp_test.c - mail against a strict fake server: envelopes, replies, encryption, cancelling, the
 * end. */
#include "http/smtp.h"

#include "support/process.h"
#include "support/test.h"

#include <arpa/inet.h>
#include <sys/socket.h>

static uv_loop_t loop;
static struct sip_smtp *smtp;
static struct sip_process server;

struct outcome {
  struct sip_smtp_job *job;
  struct sip_err err;
  int done;
};

static void on_done(struct sip_smtp_job *job, const struct sip_err *err, void *arg)
{
  struct outcome *outcome = arg;

  (void)job;
  outcome->err = *err;
  outcome->done++;
}

static struct sip_slice text(const char *s)
{
  return (struct sip_slice){ s, strlen(s) };
}

struct mail {
  const char *url, *from, *to[3];
  const char *ca_file;
  uint64_t timeout_ms;
};

static int try_start(struct outcome *outcome, const struct mail *mail, struct sip_err *err)
{
  struct sip_smtp_request request = { 0 };
  struct sip_buf message = SIP_BUF_INIT;
  struct sip_slice to[3];
  int rc;

  memset(outcome, 0, sizeof *outcome);
  CHECK_INT(sip_buf_adds(&message, "Subject: x\r\n\r\n.dot\r\nlast\r\n"), 0);
  request.url = text(mail->url);
  request.from = text(mail->from == NULL ? "no-reply@sipeat.test" : mail->from);
  for (; request.to_count < 3 && mail->to[request.to_count] != NULL; request.to_count++) {
    to[request.to_count] = text(mail->to[request.to_count]);
  }
  request.to = to;
  request.message = &message;
  request.transfer.timeout_ms = mail->timeout_ms == 0 ? 10000 : mail->timeout_ms;
  request.transfer.connect_timeout_ms = 5000;
  request.transfer.ca_file = mail->ca_file;
  rc = sip_smtp_send(&outcome->job, smtp, &request, on_done, outcome, err);
  CHECK(message.data == NULL); /* taken over in any case */
  return rc;
}

static void start(struct outcome *outcome, const struct mail *mail)
{
  struct sip_err err = { 0 };

  if (try_start(outcome, mail, &err) < 0) {
    SIP_TEST_FAIL("send: %s", err.message);
  }
}

static void await(struct outcome *outcome)
{
  while (outcome->done == 0) {
    (void)uv_run(&loop, UV_RUN_ONCE);
  }
}

static void expect(const struct mail *mail, const char *name, const char *part)
{
  struct outcome outcome;

  start(&outcome, mail);
  await(&outcome);
  if (strcmp(outcome.err.name, name) != 0) {
    SIP_TEST_FAIL("to %s: %s (%s), expected %s", mail->to[0], outcome.err.name, outcome.err.message,
                  name);
  }
  if (part[0] != '\0') {
    CHECK_HAS(outcome.err.message, part);
  }
  CHECK(strstr(outcome.err.message, "secret") == NULL);
  sip_smtp_job_free(outcome.job);
}

static const char *url(const char *format)
{
  static char texts[4][200];
  static int next;
  char *out = texts[next++ % 4];

  (void)snprintf(out, sizeof texts[0], format, server.line);
  return out;
}

/* What the server took, as JSON. */
static const char *taken(void)
{
  static char answer[65536];
  struct sockaddr_in address;
  size_t used = 0;
  ssize_t got;
  int fd = socket(AF_INET, SOCK_STREAM, 0);

  CHECK_INT(uv_ip4_addr("127.0.0.1", atoi(server.line), &address), 0);
  CHECK_INT(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
  CHECK_INT(send(fd, "STAT\r\nQUIT\r\n", 12, 0), 12);
  while (used + 1 < sizeof answer &&
         (got = recv(fd, answer + used, sizeof answer - used - 1, 0)) > 0) {
    used += (size_t)got;
  }
  answer[used] = '\0';
  (void)close(fd);
  return answer;
}

static void a_mail_arrives_as_it_was_written(void)
{
  struct mail mail = {
    url("smtp://127.0.0.1:%s"), NULL, { "ada@example.com", "bob@example.com" }, NULL, 0
  };
  struct outcome outcome;
  const struct sip_smtp_refusal *refusals;

  start(&outcome, &mail);
  await(&outcome);
  CHECK_STR(outcome.err.message, "");
  CHECK_INT(sip_smtp_job_refusals(outcome.job, &refusals), 0);
  sip_smtp_job_free(outcome.job);
  CHECK_HAS(
    taken(),
    "\"from\": \"no-reply@sipeat.test\", \"to\": [\"ada@example.com\", \"bob@example.com\"], "
    "\"data\": \"Subject: x\\r\\n\\r\\n.dot\\r\\nlast\\r\\n\"");
}

static void replies_have_stable_names(void)
{
  static const struct {
    const char *from, *to, *name, *part;
  } rows[] = {
    { NULL, "unknown@x.test", "SMTP_REFUSED", "refuses every recipient: 550 5.1.1 no such user" },
    { NULL, "full@x.test", "SMTP_REFUSED", "552 5.2.2 mailbox full" },
    { NULL, "temp@x.test", "SMTP_TEMPORARY", "every recipient for now: 451 4.3.0 try again later" },
    { NULL, "reject-data@x.test", "SMTP_REFUSED",
      "refuses the message: 554 5.6.0 looks like spam" },
    { NULL, "defer-data@x.test", "SMTP_TEMPORARY", "the message for now: 451 4.7.1 greylisted" },
    { "blocked@x.test", "ada@x.test", "SMTP_REFUSED", "refuses the sender: 550 5.7.1" },
    { "later@x.test", "ada@x.test", "SMTP_TEMPORARY", "the sender for now: 421 4.3.2" },
    { NULL, "drop@x.test", "ECONNRESET", "it may have arrived" },
  };

  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    struct mail mail = { url("smtp://127.0.0.1:%s"), rows[i].from, { rows[i].to }, NULL, 0 };

    expect(&mail, rows[i].name, rows[i].part);
  }
}

static void some_refused_recipients_are_reported(void)
{
  struct mail mail = {
    url("smtp://127.0.0.1:%s"), NULL, { "unknown@x.test", "carol@x.test", "temp@x.test" }, NULL, 0
  };
  struct mail nobody = {
    url("smtp://127.0.0.1:%s"), NULL, { "unknown@x.test", "temp@x.test" }, NULL, 0
  };
  const struct sip_smtp_refusal *refusals;
  struct outcome outcome;

  start(&outcome, &mail);
  await(&outcome);
  CHECK_INT(outcome.err.code, 0);
  CHECK_INT(sip_smtp_job_refusals(outcome.job, &refusals), 2);
  CHECK_STR(refusals[0].address, "unknown@x.test");
  CHECK_INT(refusals[0].status, 550);
  CHECK_STR(refusals[0].text, "550 5.1.1 no such user");
  CHECK_STR(refusals[1].address, "temp@x.test");
  CHECK_INT(refusals[1].status, 451);
  sip_smtp_job_free(outcome.job);
  CHECK_HAS(taken(), "\"to\": [\"carol@x.test\"]");
  expect(&nobody, "SMTP_TEMPORARY", "every recipient for now"); /* one of them may work later */
}

static void silence_times_out(void)
{
  struct mail message = { url("smtp://127.0.0.1:%s"), NULL, { "hang@x.test" }, NULL, 300 };
  struct mail recipient = { url("smtp://127.0.0.1:%s"), NULL, { "hang-rcpt@x.test" }, NULL, 300 };
  struct mail nobody = { "smtp://127.0.0.1:1", NULL, { "ada@x.test" }, NULL, 0 };

  struct mail next = { url("smtp://127.0.0.1:%s"), NULL, { "ada@x.test" }, NULL, 2000 };

  expect(&message, "ETIMEDOUT", "it may have arrived");
  for (int i = 0; i < 8; i++) { /* on no connection where the server still has to answer */
    expect(&next, "", "");
  }
  expect(&recipient, "ETIMEDOUT", "timed out");
  expect(&nobody, "ECONNREFUSED", "mail smtp://127.0.0.1:1: connection refused");
}

/* libcurl alone would hold its thread, and so the loop, until the reply to the message's end. */
static void a_slow_reply_does_not_hold_the_loop(void)
{
  struct mail mail = { url("smtp://127.0.0.1:%s"), NULL, { "slow@x.test" }, NULL, 0 };
  struct outcome outcome;
  uint64_t longest = 0;

  start(&outcome, &mail);
  while (outcome.done == 0) {
    uint64_t before = uv_hrtime();

    (void)uv_run(&loop, UV_RUN_NOWAIT);
    longest = uv_hrtime() - before > longest ? uv_hrtime() - before : longest;
  }
  CHECK_INT(outcome.err.code, 0);
  CHECK(longest < 250 * 1000000ull);
  sip_smtp_job_free(outcome.job);
}

static void bad_requests_are_refused_at_once(void)
{
  static const char *const urls[] = { "",
                                      "mail.test",
                                      "http://mail.test",
                                      "smtp://",
                                      "smtp://mail.test?tls=perhaps",
                                      "smtp://ma il.test",
                                      "smtp://user:secret@mail.test:99999" };
  struct mail mail = { NULL, NULL, { "ada@x.test" }, NULL, 0 };
  struct mail empty = { url("smtp://127.0.0.1:%s"), NULL, { NULL }, NULL, 0 };
  struct outcome outcome;
  struct sip_err err;

  for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
    mail.url = urls[i];
    CHECK_INT(try_start(&outcome, &mail, &err), UV_EINVAL);
    CHECK_STR(err.name, "INVALID_URL");
    CHECK(strstr(err.message, "secret") == NULL);
  }
  CHECK_INT(try_start(&outcome, &empty, &err), UV_EINVAL);
}

static void many_mails_share_few_connections(void)
{
  enum { MAILS = 60 };
  static struct outcome outcomes[MAILS];
  struct mail mail = { url("smtp://127.0.0.1:%s"), NULL, { "many@x.test" }, NULL, 0 };
  const char *at = NULL;
  int count = 0;

  for (int i = 0; i < MAILS; i++) {
    start(&outcomes[i], &mail);
  }
  for (int i = 0; i < MAILS; i++) {
    await(&outcomes[i]);
    CHECK_STR(outcomes[i].err.message, "");
    sip_smtp_job_free(outcomes[i].job);
  }
  for (at = taken(); (at = strstr(at, "\"many@x.test\"")) != NULL; at++) {
    count++;
  }
  CHECK_INT(count, MAILS);
  CHECK(strstr(taken(), "violation") == NULL);
}

static void a_freed_job_says_nothing_more(void)
{
  struct mail mail = { url("smtp://127.0.0.1:%s"), NULL, { "hang@x.test" }, NULL, 60000 };
  struct outcome running, waiting[6];

  start(&running, &mail);
  for (int i = 0; i < 6; i++) { /* more than there are threads */
    start(&waiting[i], &mail);
  }
  for (int i = 0; i < 50; i++) {
    (void)uv_run(&loop, UV_RUN_NOWAIT);
    (void)usleep(2000); /* lets the threads get somewhere; nothing depends on how far */
  }
  for (int i = 5; i >= 0; i--) {
    sip_smtp_job_free(waiting[i].job);
  }
  sip_smtp_job_free(running.job);
  sip_smtp_job_free(NULL);
  CHECK_INT(running.done, 0);
}

static void restart(const char *first, const char *second)
{
  sip_process_stop(&server);
  sip_process_start(&server, __FILE__, "fake_smtp.py", first, second);
}

static void passwords_are_used_and_never_shown(void)
{
  struct mail good, bad, none;

  restart("auth", NULL);
  good = (struct mail){
    url("smtp://ada:sec%%20ret%%25@127.0.0.1:%s/my.host"), NULL, { "a@x.test" }, NULL, 0
  };
  bad = (struct mail){ url("smtp://ada:secret@127.0.0.1:%s"), NULL, { "a@x.test" }, NULL, 0 };
  none = (struct mail){ url("smtp://127.0.0.1:%s"), NULL, { "a@x.test" }, NULL, 0 };
  expect(&good, "", "");
  CHECK_HAS(taken(), "\"ehlo\": \"my.host\", \"auth\": \"ada\"");
  expect(&bad, "SMTP_AUTH", "refuses the sign-in: 535 5.7.8 wrong user or password");
  expect(&none, "SMTP_REFUSED", "530 5.7.0 sign in first");
}

static void encryption_is_verified_and_required(void)
{
  struct mail mail = { NULL, NULL, { "a@x.test" }, NULL, 0 };
  struct outcome outcome;
  char *cert;

  mail.url = url("smtp://127.0.0.1:%s?tls=required"); /* this server has none */
  expect(&mail, "ETLS", "offers no TLS (add ?tls=none");
  restart("starttls", NULL);
  cert = strchr(server.line, ' ');
  CHECK(cert != NULL);
  *cert++ = '\0';
  mail.url = url("smtp://localhost:%s?tls=required");
  expect(&mail, "ETLS", "certificate");
  mail.ca_file = cert;
  expect(&mail, "", "");
  mail.url = url("smtp://localhost:%s"); /* this machine: in clear, unless asked for */
  expect(&mail, "", "");
  restart("tls", NULL);
  cert = strchr(server.line, ' ');
  *cert++ = '\0';
  mail.url = url("smtps://localhost:%s");
  mail.ca_file = NULL;
  expect(&mail, "ETLS", "certificate");
  mail.ca_file = cert;
  start(&outcome, &mail);
  await(&outcome);
  CHECK_STR(outcome.err.message, "");
  sip_smtp_job_free(outcome.job);
}

static void closing_cancels_what_runs_and_waits(void)
{
  struct mail mail = { NULL, NULL, { "hang@x.test" }, NULL, 60000 };
  struct outcome outcomes[6];
  uint64_t before;

  restart(NULL, NULL);
  mail.url = url("smtp://127.0.0.1:%s");
  for (int i = 0; i < 6; i++) {
    start(&outcomes[i], &mail);
  }
  for (int i = 0; i < 50; i++) {
    (void)uv_run(&loop, UV_RUN_NOWAIT);
    (void)usleep(2000);
  }
  before = uv_hrtime();
  sip_smtp_close(smtp);
  for (int i = 0; i < 6; i++) {
    CHECK_INT(outcomes[i].done, 1);
    CHECK_INT(outcomes[i].err.code, UV_ECANCELED);
    sip_smtp_job_free(outcomes[i].job);
  }
  (void)uv_run(&loop, UV_RUN_DEFAULT); /* until the threads have ended */
  CHECK((uv_hrtime() - before) / 1000000 < 5000);
}

int main(void)
{
  struct sip_err err = { 0 };

  (void)signal(SIGPIPE, SIG_IGN);
  (void)unsetenv("SSL_CERT_FILE");
  sip_process_start(&server, __FILE__, "fake_smtp.py", NULL, NULL);
  CHECK_INT(uv_loop_init(&loop), 0);
  CHECK_INT(sip_smtp_new(&smtp, &loop, &err), 0);
  a_mail_arrives_as_it_was_written();
  replies_have_stable_names();
  some_refused_recipients_are_reported();
  silence_times_out();
  a_slow_reply_does_not_hold_the_loop();
  bad_requests_are_refused_at_once();
  many_mails_share_few_connections();
  a_freed_job_says_nothing_more();
  passwords_are_used_and_never_shown();
  encryption_is_verified_and_required();
  closing_cancels_what_runs_and_waits();
  sip_process_stop(&server);
  SIP_TEST_END(&loop);
  return 0;
}
