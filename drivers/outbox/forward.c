/* forward.c - takes records from the outbox's file to the broker, on the loop of one client.
 *
 * One stream reads the file in order and sends up to a window of records, which the producer keeps
 * in order for each partition. A topic whose record fails is set aside: its lane lets what is under
 * way end, waits, and then reads the file for its own topic from the record that failed, until it
 * has caught up with the stream; the others go on. So records of a topic never overtake each other,
 * and none is given up except those that the broker will never take. */
#include "core/log.h"
#include "outbox/state.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  WINDOW = 8192,           /* records under way */
  WINDOW_BYTES = 16 << 20, /* of them */
  READ_RECORDS = 1024,     /* at once */
  READ_BYTES = 2 << 20,    /* likewise */
  FINISH_AFTER_MS = 10,    /* acknowledged records are taken out together */
  FULL_PAUSE_MS = 5,       /* until the producer's queue has room */
  FIRST_PAUSE_MS = 200,    /* of a topic that fails; doubles */
  LAST_PAUSE_MS = 30000,   /* up to this */
  READ_AGAIN_MS = 1000,    /* after the file could not be read */
  LOG_EACH = 20            /* failures in a row of one topic */
};

/* A topic with records under way, or one that was set aside. */
struct lane {
  struct sip_list link;
  size_t under_way;
  bool aside;          /* the stream passes over its records */
  bool settled;        /* aside: nothing from before the failure is under way */
  int64_t next_seq;    /* aside: where it goes on */
  int64_t alone_until; /* up to this one at a time: a batch of several was too large */
  bool alone;          /* what is under way is one such record */
  int64_t last_seq;    /* the highest that was sent */
  unsigned failures;   /* in a row */
  uint64_t due_ms;     /* loop time: not before */
  char topic[];
};

struct sip_outbox_forwarder {
  struct sip_outbox_client *client; /* borrowed: owns the forwarder */
  struct sip_outlet onward;
  uv_timer_t *timer;      /* on the heap: libuv's until its close callback */
  struct sip_list lanes;  /* the last used first */
  struct sip_list unsent; /* read, and not sent yet for want of room */
  struct lane *unsent_of; /* NULL: of the stream */
  struct sip_list finished;
  struct lane *reading_of; /* of the read that is under way, NULL: the stream's */
  bool reading, stopping;
  int64_t cursor;    /* the last record that the stream has read */
  int64_t read_upto; /* of the read under way */
  size_t under_way, bytes;
  uint64_t read_due_ms; /* after a read that failed */
  uint64_t repeated;    /* sent again; not yet told to the outbox */
  struct sip_header headers[SIP_OUTBOX_MAX_HEADERS + 1];
};

static struct sip_outbox *outbox_of(const struct sip_outbox_forwarder *f)
{
  return f->client->outbox;
}

static uint64_t forwarder_time(const struct sip_outbox_forwarder *f)
{
  return uv_now(f->client->loop);
}

static void forwarder_on_timer(uv_timer_t *timer)
{
  struct sip_outbox_forwarder *f = timer->data;

  sip_outbox_forwarder_look(f);
  sip_outbox_client_look(f->client); /* may free both */
}

/* The timer goes off at `due_ms`, or before. */
static void timer_within(struct sip_outbox_forwarder *f, uint64_t due_ms)
{
  uint64_t now = forwarder_time(f), wait = due_ms > now ? due_ms - now : 0;

  if (!uv_is_active((uv_handle_t *)f->timer) || uv_timer_get_due_in(f->timer) > wait) {
    (void)uv_timer_start(f->timer, forwarder_on_timer, wait, 0); /* has a callback: cannot fail */
  }
}

static void timer_on_close(uv_handle_t *handle)
{
  free(handle);
}

int sip_outbox_forwarder_new(struct sip_outbox_forwarder **out, struct sip_outbox_client *client,
                             const struct sip_outlet *onward, struct sip_err *err)
{
  struct sip_outbox_forwarder *f = calloc(1, sizeof *f);

  if (f != NULL) {
    f->timer = malloc(sizeof *f->timer);
  }
  if (f == NULL || f->timer == NULL) {
    free(f);
    return sip_err_set(err, UV_ENOMEM, "outbox: out of memory");
  }
  (void)uv_timer_init(client->loop, f->timer); /* always 0 */
  f->timer->data = f;
  f->client = client;
  f->onward = *onward;
  sip_list_init(&f->lanes);
  sip_list_init(&f->unsent);
  sip_list_init(&f->finished);
  *out = f;
  return 0;
}

static void lane_free(struct lane *lane)
{
  sip_list_remove(&lane->link);
  free(lane);
}

void sip_outbox_forwarder_free(struct sip_outbox_forwarder *f)
{
  while (!sip_list_empty(&f->lanes)) {
    lane_free(SIP_CONTAINER(f->lanes.next, struct lane, link));
  }
  sip_outbox_records_free(&f->unsent);
  sip_outbox_records_free(&f->finished);
  uv_close((uv_handle_t *)f->timer, timer_on_close);
  free(f);
}

bool sip_outbox_forwarder_idle(const struct sip_outbox_forwarder *f)
{
  return f->under_way == 0 && !f->reading;
}

/* --- lanes --- */

static struct lane *lane_find(struct sip_outbox_forwarder *f, const char *topic)
{
  for (struct sip_list *n = f->lanes.next; n != &f->lanes; n = n->next) {
    struct lane *lane = SIP_CONTAINER(n, struct lane, link);

    if (strcmp(lane->topic, topic) == 0) {
      return lane;
    }
  }
  return NULL;
}

/* The lane of a topic, made when it is not there; NULL when memory is out. */
static struct lane *lane_of(struct sip_outbox_forwarder *f, const char *topic)
{
  struct lane *lane = lane_find(f, topic);
  size_t len = strlen(topic);

  if (lane == NULL) {
    lane = calloc(1, sizeof *lane + len + 1);
    if (lane == NULL) {
      return NULL;
    }
    memcpy(lane->topic, topic, len);
    sip_list_init(&lane->link);
  }
  sip_list_remove(&lane->link); /* to the front: the next search finds it at once */
  sip_list_push(f->lanes.next, &lane->link);
  return lane;
}

static void lane_end_if_idle(struct sip_outbox_forwarder *f, struct lane *lane)
{
  if (lane->under_way == 0 && !lane->aside && lane->failures == 0 &&
      !(f->reading && f->reading_of == lane) && f->unsent_of != lane) {
    lane_free(lane);
  }
}

/* Sets a topic aside at the record that failed; what is under way of it ends first. */
static void lane_fail(struct sip_outbox_forwarder *f, struct lane *lane, int64_t seq,
                      const struct sip_err *why)
{
  uint64_t pause = FIRST_PAUSE_MS;

  if (!lane->aside || seq < lane->next_seq) {
    lane->next_seq = seq;
  }
  lane->settled = false;
  if (lane->due_ms > forwarder_time(f)) { /* one failure of many: they were sent together */
    return;
  }
  lane->aside = true;
  for (unsigned i = 0; i < lane->failures && pause < LAST_PAUSE_MS; i++) {
    pause *= 2;
  }
  pause = pause > LAST_PAUSE_MS ? LAST_PAUSE_MS : pause;
  lane->due_ms = forwarder_time(f) + pause;
  if (lane->failures % LOG_EACH == 0) {
    sip_log(SIP_LOG_WARN, "outbox", NULL,
            "records for %s wait on the disk, the next try in %" PRIu64 " ms: %s", lane->topic,
            pause, why == NULL ? "unknown" : why->message);
  }
  lane->failures++;
  timer_within(f, lane->due_ms);
}

/* --- the end of a record --- */

/* The broker, or the client, will never take it: by the name of what it answered. */
static bool is_for_good(const char *name)
{
  static const char *const names[] = { "INVALID_MSG",           "INVALID_MSG_SIZE",
                                       "INVALID_RECORD",        "MSG_SIZE_TOO_LARGE",
                                       "TOPIC_EXCEPTION",       "TOPIC_AUTHORIZATION_FAILED",
                                       "_INVALID_ARG",          "_UNKNOWN_PARTITION",
                                       "RECORD_LIST_TOO_LARGE", "OUTBOX_DAMAGED" };

  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    if (strcmp(names[i], name) == 0) {
      return true;
    }
  }
  return false;
}

static bool is_about_size(const char *name)
{
  return strcmp(name, "MSG_SIZE_TOO_LARGE") == 0 || strcmp(name, "RECORD_LIST_TOO_LARGE") == 0 ||
         strcmp(name, "INVALID_RECORD") == 0;
}

static void finish(struct sip_outbox_forwarder *f, struct sip_outbox_record *record)
{
  sip_list_push(&f->finished, &record->link);
  timer_within(f, forwarder_time(f) + FINISH_AFTER_MS);
}

static void refuse(struct sip_outbox_forwarder *f, struct sip_outbox_record *record,
                   const struct sip_err *why)
{
  record->refusal = calloc(1, sizeof *record->refusal);
  if (record->refusal == NULL) { /* no memory to say why: it is tried again at the next start */
    sip_log(SIP_LOG_ERROR, "outbox", NULL, "no memory to set a record for %s aside", record->topic);
    sip_outbox_record_free(record);
    return;
  }
  (void)snprintf(record->refusal->code, sizeof record->refusal->code, "%s", why->name);
  (void)snprintf(record->refusal->message, sizeof record->refusal->message, "%s", why->message);
  sip_log(SIP_LOG_ERROR, "outbox", NULL,
          "a record for %s is refused for good (sipeat outbox show %" PRId64 "): %s", record->topic,
          record->seq, why->message);
  finish(f, record);
}

/* A record that was not acknowledged. `alone`: nothing else was sent with it. */
static void record_failed(struct sip_outbox_forwarder *f, struct lane *lane,
                          struct sip_outbox_record *record, const struct sip_err *why, bool alone)
{
  if (f->stopping) {
    sip_outbox_record_free(record);
    return;
  }
  if (is_for_good(why->name) && (alone || !is_about_size(why->name))) {
    refuse(f, record, why);
    return;
  }
  if (is_for_good(why->name)) { /* the batch may have been too large, not the record */
    lane->alone_until = lane->last_seq;
  }
  lane_fail(f, lane, record->seq, why);
  sip_outbox_record_free(record);
}

static void forwarder_on_report(void *arg, int status, int32_t partition, int64_t offset,
                                const struct sip_err *err)
{
  struct sip_outbox_record *record = arg;
  struct sip_outbox_client *client = record->client;
  struct sip_outbox_forwarder *f = client->forwarder;
  struct lane *lane = lane_find(f, record->topic); /* there while something is under way */

  (void)partition;
  (void)offset;
  lane->under_way--;
  f->under_way--;
  f->bytes -= record->bytes;
  if (status == 0) {
    lane->failures = lane->aside ? lane->failures : 0;
    finish(f, record);
  } else {
    record_failed(f, lane, record, err, record->alone);
  }
  lane_end_if_idle(f, lane);
  if (f->stopping || f->under_way < WINDOW / 2 || !sip_list_empty(&f->unsent)) {
    timer_within(f, forwarder_time(f)); /* many reports come at once: one look for all of them */
  }
}

/* --- sending --- */

/* Hands one record on. @return 0; SIP_EQUEUEFULL: later; another negative code with `err` */
static int send_record(struct sip_outbox_forwarder *f, struct sip_outbox_record *record,
                       struct sip_err *err)
{
  struct sip_output output = { .topic = record->topic,
                               .key = record->key,
                               .value = record->value,
                               .headers = f->headers,
                               .partition = record->partition,
                               .timestamp_ms = record->timestamp_ms };
  int count = sip_outbox_record_headers(record, f->headers);
  char id[48];

  if (count < 0) {
    return sip_err_named(err, SIP_EDATA, "OUTBOX_DAMAGED",
                         "the headers of record %" PRId64 " cannot be read", record->seq);
  }
  (void)snprintf(id, sizeof id, "%s-%" PRId64, outbox_of(f)->id, record->seq);
  f->headers[count] = (struct sip_header){ SIP_OUTBOX_HEADER, { id, strlen(id) } };
  output.header_count = (size_t)count + 1;
  return f->onward.ops->send(f->onward.driver, &output, forwarder_on_report, record, err);
}

static bool window_is_full(const struct sip_outbox_forwarder *f)
{
  return f->under_way >= WINDOW || f->bytes >= WINDOW_BYTES;
}

/* Whether a record read for `of` may go now: @return 1 yes, 0 later, -1 it is read again later */
static int may_send(const struct sip_outbox_forwarder *f, const struct lane *lane,
                    const struct lane *of, const struct sip_outbox_record *record)
{
  if (of == NULL && lane->aside) {
    return -1; /* its lane reads it */
  }
  if (of != NULL && lane->due_ms > forwarder_time(f)) {
    return -1; /* it has failed again meanwhile */
  }
  if (lane->under_way > 0 && (lane->alone || record->seq <= lane->alone_until)) {
    return 0;
  }
  return 1;
}

/* Sends what was read, in order; what finds no room stays. */
static void send_unsent(struct sip_outbox_forwarder *f)
{
  while (!sip_list_empty(&f->unsent) && !window_is_full(f)) {
    struct sip_outbox_record *record =
      SIP_CONTAINER(f->unsent.next, struct sip_outbox_record, link);
    struct lane *lane = lane_of(f, record->topic);
    struct sip_err err = { 0 };
    int rc = lane == NULL ? 0 : may_send(f, lane, f->unsent_of, record);

    if (lane == NULL || rc == 0) {
      timer_within(f, forwarder_time(f) + FULL_PAUSE_MS);
      return;
    }
    sip_list_remove(&record->link);
    if (rc < 0) {
      sip_outbox_record_free(record);
      continue;
    }
    record->client = f->client;
    rc = send_record(f, record, &err);
    if (rc == SIP_EQUEUEFULL) {
      sip_list_push(f->unsent.next, &record->link); /* first again */
      timer_within(f, forwarder_time(f) + FULL_PAUSE_MS);
      return;
    }
    f->repeated += record->seq <= lane->last_seq;
    lane->last_seq = record->seq > lane->last_seq ? record->seq : lane->last_seq;
    if (f->unsent_of != NULL) {
      lane->next_seq = record->seq + 1;
    }
    if (rc < 0) {
      record_failed(f, lane, record, &err, true);
      lane_end_if_idle(f, lane);
      continue;
    }
    record->alone = record->seq <= lane->alone_until; /* the next of the topic waits for it */
    lane->alone = record->alone;
    lane->under_way++;
    f->under_way++;
    f->bytes += record->bytes;
  }
}

/* --- reading --- */

/* Asks the thread for records. Under no lock of ours. */
static void ask_for(struct sip_outbox_forwarder *f, struct lane *lane, int64_t after, int64_t upto)
{
  struct sip_outbox *outbox = outbox_of(f);

  f->reading = true;
  f->reading_of = lane;
  f->read_upto = upto;
  uv_mutex_lock(&outbox->mu);
  outbox->read.wanted = true;
  outbox->read.done = false;
  outbox->read.topic = lane == NULL ? NULL : lane->topic;
  outbox->read.after = after;
  outbox->read.upto = upto;
  outbox->read.max_records = READ_RECORDS;
  outbox->read.max_bytes = READ_BYTES;
  outbox->repeated += f->repeated;
  f->repeated = 0;
  uv_cond_signal(&outbox->work);
  uv_mutex_unlock(&outbox->mu);
}

/* A lane has read all that the stream has passed by: it goes on with the stream. */
static void lane_rejoin(struct sip_outbox_forwarder *f, struct lane *lane)
{
  lane->aside = false;
  lane->failures = lane->under_way == 0 ? 0 : lane->failures; /* else the next report decides */
  lane_end_if_idle(f, lane);
}

/* The answer to a read, if it is there. */
static void take_answer(struct sip_outbox_forwarder *f)
{
  struct sip_outbox *outbox = outbox_of(f);
  struct lane *lane = f->reading_of;
  bool done;
  int count;

  uv_mutex_lock(&outbox->mu);
  done = outbox->read.wanted && outbox->read.done;
  count = outbox->read.status;
  if (done) {
    outbox->read.wanted = false;
    sip_list_move(&f->unsent, &outbox->read.records);
  }
  uv_mutex_unlock(&outbox->mu);
  if (!done) {
    return;
  }
  f->reading = false;
  f->reading_of = NULL;
  f->unsent_of = lane;
  if (count < 0) {
    f->read_due_ms = forwarder_time(f) + READ_AGAIN_MS;
    timer_within(f, f->read_due_ms);
  } else if (lane == NULL) {
    f->cursor =
      count > 0 ? SIP_CONTAINER(f->unsent.prev, struct sip_outbox_record, link)->seq : f->read_upto;
  } else if (count == 0 && f->read_upto >= f->cursor) {
    f->unsent_of = NULL;
    lane_rejoin(f, lane);
  }
}

/* The lane whose turn it is to read, or NULL. */
static struct lane *lane_due(struct sip_outbox_forwarder *f)
{
  for (struct sip_list *n = f->lanes.next; n != &f->lanes; n = n->next) {
    struct lane *lane = SIP_CONTAINER(n, struct lane, link);

    if (!lane->aside) {
      continue;
    }
    lane->settled = lane->settled || lane->under_way == 0;
    if (lane->due_ms > forwarder_time(f)) {
      timer_within(f, lane->due_ms);
    } else if (lane->settled) {
      return lane;
    }
  }
  return NULL;
}

static void read_more(struct sip_outbox_forwarder *f)
{
  struct sip_outbox *outbox = outbox_of(f);
  struct lane *lane;
  int64_t last_seq;

  if (f->reading || !sip_list_empty(&f->unsent) || window_is_full(f)) {
    return;
  }
  f->unsent_of = NULL;
  if (f->read_due_ms > forwarder_time(f)) {
    timer_within(f, f->read_due_ms);
    return;
  }
  lane = lane_due(f);
  if (lane != NULL) {
    sip_list_remove(&lane->link); /* to the end: others have their turn first */
    sip_list_push(&f->lanes, &lane->link);
    ask_for(f, lane, lane->next_seq - 1, f->cursor);
    return;
  }
  uv_mutex_lock(&outbox->mu);
  last_seq = outbox->phase == SIP_OUTBOX_OPEN ? outbox->totals.last_seq : 0;
  uv_mutex_unlock(&outbox->mu);
  if (last_seq > f->cursor && f->under_way <= WINDOW / 2) {
    ask_for(f, NULL, f->cursor, last_seq);
  }
}

/* Tells the thread what is acknowledged or refused. */
static void give_finished(struct sip_outbox_forwarder *f)
{
  struct sip_outbox *outbox = outbox_of(f);

  if (sip_list_empty(&f->finished)) {
    return;
  }
  uv_mutex_lock(&outbox->mu);
  sip_list_move(&outbox->finished, &f->finished);
  uv_cond_signal(&outbox->work);
  uv_mutex_unlock(&outbox->mu);
}

void sip_outbox_forwarder_look(struct sip_outbox_forwarder *f)
{
  if (f->reading) {
    take_answer(f);
  }
  give_finished(f);
  if (!f->stopping) {
    send_unsent(f);
    read_more(f);
  }
}

void sip_outbox_forwarder_stop(struct sip_outbox_forwarder *f)
{
  f->stopping = true;
  give_finished(f);
}
