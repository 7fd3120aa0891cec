/* outbox.c - an outbox and its clients: what the loops do. The file's thread is in writer.c. */
#include "outbox/outbox.h"

#include "core/log.h"
#include "outbox/state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum {
  MAX_UNWRITTEN = 20000,          /* records that wait for the thread */
  MAX_UNWRITTEN_BYTES = 32 << 20, /* of them */
  OPEN_AGAIN_MS = 1000,           /* after it could not be opened, and not before */
};

/* --- the outbox --- */

int sip_outbox_new(struct sip_outbox **out, const struct sip_outbox_settings *settings,
                   struct sip_err *err)
{
  struct sip_outbox *outbox = calloc(1, sizeof *outbox);

  if (outbox != NULL) {
    outbox->path = strdup(settings->path);
  }
  if (outbox == NULL || outbox->path == NULL || uv_mutex_init(&outbox->mu) != 0) {
    goto no_memory;
  }
  if (uv_cond_init(&outbox->work) != 0) {
    uv_mutex_destroy(&outbox->mu);
    goto no_memory;
  }
  if (uv_cond_init(&outbox->opened) != 0) {
    uv_cond_destroy(&outbox->work);
    uv_mutex_destroy(&outbox->mu);
    goto no_memory;
  }
  outbox->max_bytes = settings->max_bytes;
  outbox->when_full = settings->when_full;
  sip_list_init(&outbox->clients);
  sip_list_init(&outbox->appends);
  sip_list_init(&outbox->finished);
  sip_list_init(&outbox->read.records);
  *out = outbox;
  return 0;
no_memory:
  if (outbox != NULL) {
    free(outbox->path);
  }
  free(outbox);
  return sip_err_set(err, UV_ENOMEM, "outbox: out of memory");
}

void sip_outbox_free(struct sip_outbox *outbox)
{
  bool started;

  if (outbox == NULL) {
    return;
  }
  uv_mutex_lock(&outbox->mu);
  started = outbox->phase != SIP_OUTBOX_CLOSED;
  outbox->stopping = true;
  uv_cond_signal(&outbox->work);
  uv_mutex_unlock(&outbox->mu);
  if (started) {
    (void)uv_thread_join(&outbox->thread);
  }
  sip_outbox_records_free(&outbox->appends);
  sip_outbox_records_free(&outbox->finished);
  sip_outbox_records_free(&outbox->read.records);
  uv_cond_destroy(&outbox->opened);
  uv_cond_destroy(&outbox->work);
  uv_mutex_destroy(&outbox->mu);
  free(outbox->path);
  free(outbox);
}

int sip_outbox_configure(struct sip_outbox *outbox, const struct sip_outbox_settings *settings,
                         struct sip_err *err)
{
  char *path = strdup(settings->path), *old = path;
  bool other = false;

  if (path == NULL) {
    return sip_err_set(err, UV_ENOMEM, "outbox: out of memory");
  }
  uv_mutex_lock(&outbox->mu);
  if (outbox->phase == SIP_OUTBOX_CLOSED) {
    old = outbox->path;
    outbox->path = path;
  } else {
    other = strcmp(outbox->path, path) != 0;
  }
  if (!other) {
    outbox->max_bytes = settings->max_bytes;
    outbox->when_full = settings->when_full;
  }
  uv_mutex_unlock(&outbox->mu);
  if (other) {
    (void)sip_err_set(err, SIP_EBUSY,
                      "outbox: %s cannot take the place of the file that is open: restart for that",
                      settings->path);
  }
  free(old);
  return other ? SIP_EBUSY : 0;
}

struct sip_outbox_settings sip_outbox_settings(struct sip_outbox *outbox)
{
  struct sip_outbox_settings settings;

  uv_mutex_lock(&outbox->mu);
  settings = (struct sip_outbox_settings){ outbox->path, outbox->max_bytes, outbox->when_full };
  uv_mutex_unlock(&outbox->mu);
  return settings;
}

bool sip_outbox_left(struct sip_outbox *outbox)
{
  struct stat found;

  return stat(sip_outbox_settings(outbox).path, &found) == 0;
}

int sip_outbox_start(struct sip_outbox *outbox, struct sip_err *err)
{
  int rc = 0;

  uv_mutex_lock(&outbox->mu);
  if (outbox->phase == SIP_OUTBOX_BROKEN && uv_hrtime() >= outbox->open_again_ns) {
    (void)uv_thread_join(&outbox->thread); /* it ends: nothing of ours is left for it to take */
    outbox->phase = SIP_OUTBOX_CLOSED;
    outbox->failure.code = 0;
  }
  if (outbox->phase == SIP_OUTBOX_CLOSED) {
    rc = uv_thread_create(&outbox->thread, sip_outbox_run, outbox);
    outbox->phase = rc == 0 ? SIP_OUTBOX_OPENING : SIP_OUTBOX_CLOSED;
    outbox->open_again_ns = uv_hrtime() + OPEN_AGAIN_MS * (uint64_t)1000000;
  }
  uv_mutex_unlock(&outbox->mu);
  return rc == 0 ? 0 : sip_err_set(err, rc, "outbox: start a thread: %s", uv_strerror(rc));
}

int sip_outbox_open(struct sip_outbox *outbox, struct sip_err *err)
{
  struct sip_err failure = { 0 };
  int rc = sip_outbox_start(outbox, err);

  if (rc < 0) {
    return rc;
  }
  uv_mutex_lock(&outbox->mu);
  while (outbox->phase == SIP_OUTBOX_OPENING) {
    uv_cond_wait(&outbox->opened, &outbox->mu);
  }
  if (outbox->phase == SIP_OUTBOX_BROKEN) {
    failure = outbox->failure;
  }
  uv_mutex_unlock(&outbox->mu);
  if (failure.code < 0 && err != NULL) {
    *err = failure;
  }
  return failure.code;
}

void sip_outbox_status(struct sip_outbox *outbox, struct sip_outbox_status *out)
{
  memset(out, 0, sizeof *out);
  uv_mutex_lock(&outbox->mu);
  (void)snprintf(out->path, sizeof out->path, "%s", outbox->path);
  out->open = outbox->phase == SIP_OUTBOX_OPEN;
  out->queued = outbox->totals.queued;
  out->queued_bytes = outbox->totals.queued_bytes;
  out->refused = outbox->totals.refused;
  out->refused_bytes = outbox->totals.refused_bytes;
  out->oldest_at_ms = outbox->totals.oldest_at_ms;
  out->put = outbox->put;
  out->sent = outbox->sent;
  out->turned_away = outbox->turned_away;
  out->refusals = outbox->refusals;
  out->dropped = outbox->dropped;
  out->repeated = outbox->repeated;
  out->commits = outbox->commits;
  out->trouble = outbox->failure;
  uv_mutex_unlock(&outbox->mu);
}

/* --- clients --- */

static void client_on_wakeup(void *arg)
{
  struct sip_outbox_client *client = arg;
  struct sip_list reports, *node;
  struct sip_err failure;

  sip_list_init(&reports);
  uv_mutex_lock(&client->outbox->mu);
  sip_list_move(&reports, &client->reports);
  failure = client->outbox->last_failure;
  uv_mutex_unlock(&client->outbox->mu);
  while ((node = sip_list_shift(&reports)) != NULL) {
    struct sip_outbox_record *record = SIP_CONTAINER(node, struct sip_outbox_record, link);

    client->failed = record->failed ? record : NULL;
    record->on_report(record->arg, record->failed ? failure.code : 0, -1, -1,
                      record->failed ? &failure : NULL);
    client->failed = NULL;
    client->pending--; /* behind the report, which may detach the client */
    sip_outbox_record_free(record);
  }
  if (client->forwarder != NULL) {
    sip_outbox_forwarder_look(client->forwarder);
  }
  sip_outbox_client_look(client);
}

/* Whether the client that asks is the first that wants to forward; it is the one then. */
static bool may_forward(struct sip_outbox *outbox)
{
  bool first;

  uv_mutex_lock(&outbox->mu);
  first = !outbox->forwarded;
  outbox->forwarded = true;
  uv_mutex_unlock(&outbox->mu);
  return first;
}

int sip_outbox_attach(struct sip_outbox_client **out, struct sip_outbox *outbox, uv_loop_t *loop,
                      const struct sip_outlet *onward, struct sip_err *err)
{
  struct sip_outbox_client *client = calloc(1, sizeof *client);
  int rc = UV_ENOMEM;

  if (client == NULL) {
    return sip_err_set(err, rc, "outbox: out of memory");
  }
  client->outbox = outbox;
  client->loop = loop;
  sip_list_init(&client->link);
  sip_list_init(&client->reports);
  if (onward != NULL && onward->ops != NULL && may_forward(outbox)) {
    rc = sip_outbox_forwarder_new(&client->forwarder, client, onward, err);
    if (rc < 0) {
      free(client);
      return rc;
    }
  }
  rc = sip_wakeup_new(&client->wakeup, loop, client_on_wakeup, client);
  if (rc < 0) {
    if (client->forwarder != NULL) {
      sip_outbox_forwarder_free(client->forwarder);
    }
    free(client);
    return sip_err_set(err, rc, "outbox: %s", uv_strerror(rc));
  }
  uv_mutex_lock(&outbox->mu);
  sip_list_push(&outbox->clients, &client->link);
  uv_mutex_unlock(&outbox->mu);
  *out = client;
  return 0;
}

void sip_outbox_client_look(struct sip_outbox_client *client)
{
  if (!client->closing || client->pending > 0 ||
      (client->forwarder != NULL && !sip_outbox_forwarder_idle(client->forwarder))) {
    return;
  }
  uv_mutex_lock(&client->outbox->mu);
  sip_list_remove(&client->link); /* from here on the thread does not know it */
  uv_mutex_unlock(&client->outbox->mu);
  sip_wakeup_close(client->wakeup);
  if (client->forwarder != NULL) {
    sip_outbox_forwarder_free(client->forwarder);
  }
  free(client->lost_headers);
  free(client);
}

void sip_outbox_detach(struct sip_outbox_client *client)
{
  if (client == NULL || client->closing) {
    return;
  }
  client->closing = true;
  uv_mutex_lock(&client->outbox->mu);
  client->outbox->ending = true;
  uv_cond_signal(&client->outbox->work);
  uv_mutex_unlock(&client->outbox->mu);
  if (client->forwarder != NULL) {
    sip_outbox_forwarder_stop(client->forwarder);
  }
  sip_outbox_client_look(client);
}

/* --- putting in --- */

enum verdict { TAKEN, FULL, NO_ROOM_EVER, FAILING, BUSY };

/* Under mu: whether the record may come in. `failure` is filled when the file cannot be written. */
static enum verdict admit(struct sip_outbox *outbox, const struct sip_outbox_record *record,
                          struct sip_err *failure)
{
  uint64_t bytes =
    outbox->totals.queued_bytes + outbox->totals.refused_bytes + outbox->append_bytes;

  if (outbox->failure.code < 0 &&
      (outbox->phase == SIP_OUTBOX_BROKEN || outbox->when_full != SIP_OUTBOX_WAIT)) {
    *failure = outbox->failure;
    return FAILING;
  }
  if (outbox->failure.code < 0) {
    return BUSY;
  }
  if (record->bytes > outbox->max_bytes) {
    return NO_ROOM_EVER;
  }
  if (outbox->append_count >= MAX_UNWRITTEN ||
      (outbox->append_count > 0 && outbox->append_bytes + record->bytes > MAX_UNWRITTEN_BYTES)) {
    return BUSY; /* a huge one goes alone */
  }
  if (bytes + record->bytes > outbox->max_bytes && outbox->when_full != SIP_OUTBOX_DROP_OLDEST) {
    return outbox->when_full == SIP_OUTBOX_WAIT ? BUSY : FULL;
  }
  return TAKEN;
}

static int refused(struct sip_outbox *outbox, enum verdict verdict, const char *topic,
                   const struct sip_err *failure, struct sip_err *err)
{
  switch (verdict) {
  case FAILING:
    if (err != NULL) {
      *err = *failure;
    }
    return failure->code;
  case FULL:
    return sip_err_named(err, SIP_ETOOBIG, "OUTBOX_FULL",
                         "outbox %s: full, so a record for %s is refused (is the broker there? "
                         "otherwise raise max_bytes)",
                         sip_outbox_settings(outbox).path, topic);
  case NO_ROOM_EVER:
    return sip_err_named(err, SIP_ETOOBIG, "MSG_SIZE_TOO_LARGE",
                         "outbox %s: a record for %s is larger than max_bytes",
                         sip_outbox_settings(outbox).path, topic);
  default:
    return sip_err_set(err, SIP_EQUEUEFULL, "outbox: a record for %s has to wait", topic);
  }
}

/* Hands a record to the thread. `first_full`: the outbox has become full with it. */
static enum verdict put(struct sip_outbox *outbox, struct sip_outbox_record *record,
                        struct sip_err *failure, bool *first_full)
{
  enum verdict verdict;

  uv_mutex_lock(&outbox->mu);
  verdict = admit(outbox, record, failure);
  if (verdict == TAKEN) {
    outbox->append_count++;
    outbox->append_bytes += record->bytes;
    sip_list_push(&outbox->appends, &record->link);
    outbox->full = false;
    if (outbox->append_count == 1) { /* else it was told, and takes this one along */
      uv_cond_signal(&outbox->work);
    }
  } else if (verdict == FULL) {
    outbox->turned_away++;
    *first_full = !outbox->full;
    outbox->full = true;
  }
  uv_mutex_unlock(&outbox->mu);
  return verdict;
}

static int outbox_send(void *driver, const struct sip_output *output, sip_report_fn on_report,
                       void *arg, struct sip_err *err)
{
  struct sip_outbox_client *client = driver;
  struct sip_outbox_record *record = NULL;
  struct sip_err failure;
  uv_timeval64_t now = { 0 };
  enum verdict verdict;
  bool first_full = false;
  int rc;

  if (client->closing) {
    return sip_err_set(err, SIP_ECLOSED, "outbox: the program is stopping");
  }
  rc = sip_outbox_start(client->outbox, err);
  if (rc == 0) {
    (void)uv_gettimeofday(&now); /* fails only without its argument */
    rc = sip_outbox_record_new(&record, output, now.tv_sec * 1000 + now.tv_usec / 1000, err);
  }
  if (rc < 0) {
    return rc;
  }
  record->client = client;
  record->on_report = on_report;
  record->arg = arg;
  verdict = put(client->outbox, record, &failure, &first_full);
  if (verdict == TAKEN) {
    client->pending++; /* its report comes on this thread, later */
    return 0;
  }
  sip_outbox_record_free(record);
  rc = refused(client->outbox, verdict, output->topic, &failure, err);
  if (first_full && err != NULL) {
    sip_log(SIP_LOG_WARN, "outbox", NULL, "%s", err->message);
  }
  return rc;
}

static const struct sip_output *outbox_lost(void *driver)
{
  struct sip_outbox_client *client = driver;
  const struct sip_outbox_record *record = client->failed;
  int count;

  if (record == NULL) {
    return NULL;
  }
  if (client->lost_headers == NULL) {
    client->lost_headers = calloc(SIP_OUTBOX_MAX_HEADERS, sizeof *client->lost_headers);
  }
  count = client->lost_headers == NULL ? UV_ENOMEM
                                       : sip_outbox_record_headers(record, client->lost_headers);
  if (count < 0) {
    return NULL;
  }
  client->lost = (struct sip_output){ .topic = record->topic,
                                      .key = record->key,
                                      .value = record->value,
                                      .headers = client->lost_headers,
                                      .header_count = (size_t)count,
                                      .partition = -1 };
  return &client->lost;
}

const struct sip_producer_ops *sip_outbox_operations(void)
{
  static const struct sip_producer_ops operations = { .send = outbox_send, .lost = outbox_lost };

  return &operations;
}
