#ifndef SIP_OUTBOX_WORLD_H
#define SIP_OUTBOX_WORLD_H
/* world.h - a loop, a directory of its own and a broker that does as it is told, for the tests of
 * the outbox. */
#include "core/list.h"
#include "outbox/file.h"
#include "outbox/outbox.h"
#include "support/test.h"

#include <stdbool.h>
#include <unistd.h>

enum { SEEN_MAX = 20000 };

/* What reached the broker, in order. */
struct seen {
  char topic[24], value[24], id[48];
  int64_t timestamp_ms;
  size_t headers;
};

struct held {
  struct sip_list link;
  sip_report_fn on_report;
  void *arg;
  char topic[24], value[24], id[48];
  int64_t timestamp_ms;
  size_t headers;
};

struct world {
  uv_loop_t loop;
  char dir[64], path[96];
  /* the broker */
  bool up;             /* acknowledges at once, in the loop's next turn */
  size_t room;         /* records that it holds before SIP_EQUEUEFULL; 0: no limit */
  const char *missing; /* a topic that does not exist */
  const char *refused; /* a value that it never takes */
  const char *denied;  /* a value that it refuses at once, in send */
  size_t batch_limit;  /* more than that under way of a topic: refused for its size; 0: none */
  struct sip_list held;
  size_t held_count, seen_count;
  struct seen seen[SEEN_MAX];
  uv_idle_t answers;
  /* those who put in */
  size_t reported, failed;
  struct sip_outbox_client *asked; /* whom to ask what was lost, or NULL */
  char last_name[48];
};

static inline void world_on_idle(uv_idle_t *idle);

static inline int world_send(void *driver, const struct sip_output *output, sip_report_fn on_report,
                             void *arg, struct sip_err *err)
{
  struct world *w = driver;
  struct held *held;

  if (w->room > 0 && w->held_count >= w->room) {
    return sip_err_set(err, SIP_EQUEUEFULL, "full");
  }
  if (w->denied != NULL && output->value.len == strlen(w->denied) &&
      memcmp(output->value.data, w->denied, output->value.len) == 0) {
    return sip_err_named(err, SIP_ETOOBIG, "MSG_SIZE_TOO_LARGE", "too large");
  }
  held = calloc(1, sizeof *held);
  CHECK(held != NULL);
  held->on_report = on_report;
  held->arg = arg;
  (void)snprintf(held->topic, sizeof held->topic, "%s", output->topic);
  (void)snprintf(held->value, sizeof held->value, "%.*s", (int)output->value.len,
                 output->value.data == NULL ? "" : output->value.data);
  held->timestamp_ms = output->timestamp_ms;
  held->headers = output->header_count;
  for (size_t i = 0; i < output->header_count; i++) {
    if (strcmp(output->headers[i].name, SIP_OUTBOX_HEADER) == 0) {
      (void)snprintf(held->id, sizeof held->id, "%.*s", (int)output->headers[i].value.len,
                     output->headers[i].value.data);
    }
  }
  sip_list_push(&w->held, &held->link);
  w->held_count++;
  if (w->up) {
    (void)uv_idle_start(&w->answers, world_on_idle);
  }
  return 0;
}

static inline size_t world_of_topic(const struct world *w, const char *topic)
{
  size_t count = 0;

  for (const struct sip_list *n = w->held.next; n != &w->held; n = n->next) {
    count += strcmp(SIP_CONTAINER(n, struct held, link)->topic, topic) == 0;
  }
  return count;
}

/* One answer: as the broker is now. */
static inline void world_answer(struct world *w, const char *too_many_of)
{
  struct held *held = SIP_CONTAINER(sip_list_shift(&w->held), struct held, link);
  struct sip_err err = { 0 };
  int rc = 0;

  w->held_count--;
  if (w->missing != NULL && strcmp(held->topic, w->missing) == 0) {
    rc = sip_err_named(&err, SIP_ENOTFOUND, "_UNKNOWN_TOPIC", "no such topic");
  } else if (w->refused != NULL && strcmp(held->value, w->refused) == 0) {
    rc = sip_err_named(&err, SIP_EAUTH, "TOPIC_AUTHORIZATION_FAILED", "not allowed");
  } else if (too_many_of != NULL && strcmp(held->topic, too_many_of) == 0) {
    rc = sip_err_named(&err, SIP_ETOOBIG, "MSG_SIZE_TOO_LARGE", "the batch is too large");
  } else {
    struct seen *seen = &w->seen[w->seen_count++];

    CHECK(w->seen_count < SEEN_MAX);
    memcpy(seen->topic, held->topic, sizeof seen->topic);
    memcpy(seen->value, held->value, sizeof seen->value);
    memcpy(seen->id, held->id, sizeof seen->id);
    seen->timestamp_ms = held->timestamp_ms;
    seen->headers = held->headers;
  }
  held->on_report(held->arg, rc, rc < 0 ? -1 : 0, rc < 0 ? -1 : (int64_t)w->seen_count, &err);
  free(held);
}

static inline void world_on_idle(uv_idle_t *idle)
{
  struct world *w = idle->data;
  char too_many[24] = "";

  (void)uv_idle_stop(idle);
  if (w->held_count > 0 && w->batch_limit > 0) {
    const struct held *first = SIP_CONTAINER(w->held.next, struct held, link);

    if (world_of_topic(w, first->topic) > w->batch_limit) {
      (void)snprintf(too_many, sizeof too_many, "%s", first->topic);
    }
  }
  for (size_t n = w->held_count; n > 0; n--) {
    world_answer(w, too_many[0] == '\0' ? NULL : too_many);
  }
}

/* Every record that it holds fails, as when the client is closed. */
static inline void world_purge(struct world *w)
{
  struct sip_err err = { 0 };

  (void)sip_err_set(&err, UV_ECANCELED, "closed");
  while (w->held_count > 0) {
    struct held *held = SIP_CONTAINER(sip_list_shift(&w->held), struct held, link);

    w->held_count--;
    held->on_report(held->arg, UV_ECANCELED, -1, -1, &err);
    free(held);
  }
}

static inline void world_start(struct world *w)
{
  memset(w, 0, sizeof *w);
  CHECK_INT(uv_loop_init(&w->loop), 0);
  (void)snprintf(w->dir, sizeof w->dir, "/tmp/sipeat-outbox-XXXXXX");
  CHECK(mkdtemp(w->dir) != NULL);
  (void)snprintf(w->path, sizeof w->path, "%s/outbox.db", w->dir);
  sip_list_init(&w->held);
  CHECK_INT(uv_idle_init(&w->loop, &w->answers), 0);
  w->answers.data = w;
}

static inline void world_end(struct world *w)
{
  static const char *const names[] = { "", "-wal", "-shm", "-lock" };

  uv_close((uv_handle_t *)&w->answers, NULL);
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    char path[128];

    (void)snprintf(path, sizeof path, "%s%s", w->path, names[i]);
    (void)unlink(path);
  }
  CHECK_INT(rmdir(w->dir), 0);
  SIP_TEST_END(&w->loop);
}

static inline struct sip_outbox *world_outbox(struct world *w, uint64_t max_bytes,
                                              enum sip_outbox_when_full when_full)
{
  const struct sip_outbox_settings settings = { w->path, max_bytes, when_full };
  struct sip_outbox *outbox = NULL;
  struct sip_err err = { 0 };

  CHECK_INT(sip_outbox_new(&outbox, &settings, &err), 0);
  return outbox;
}

static inline struct sip_outbox_client *world_client(struct world *w, struct sip_outbox *outbox)
{
  static const struct sip_producer_ops ops = { .send = world_send };
  const struct sip_outlet onward = { &ops, w };
  struct sip_outbox_client *client = NULL;
  struct sip_err err = { 0 };

  CHECK_INT(sip_outbox_attach(&client, outbox, &w->loop, &onward, &err), 0);
  return client;
}

static inline void world_on_report(void *arg, int status, int32_t partition, int64_t offset,
                                   const struct sip_err *err)
{
  struct world *w = arg;

  (void)partition;
  (void)offset;
  w->reported++;
  w->failed += status < 0;
  if (status < 0) {
    (void)snprintf(w->last_name, sizeof w->last_name, "%s", err->name);
  }
  if (w->asked != NULL) {
    const struct sip_output *lost = sip_outbox_operations()->lost(w->asked);

    CHECK_INT(lost != NULL, status < 0); /* only of one that failed */
    if (lost != NULL) {
      CHECK_STR(lost->topic, "a");
      CHECK_INT(lost->key.len, 1);
      CHECK_INT(lost->header_count, 2);
      CHECK_STR(lost->headers[1].name, "null");
    }
  }
}

/* Puts one record in. @return what send gave; its error's name is in last_name */
static inline int world_put(struct world *w, struct sip_outbox_client *client, const char *topic,
                            const char *value)
{
  const struct sip_header headers[] = { { "a", { "1", 1 } }, { "null", { NULL, 0 } } };
  const struct sip_output output = { .topic = topic,
                                     .key = { "k", 1 },
                                     .value = { value, strlen(value) },
                                     .headers = headers,
                                     .header_count = 2,
                                     .partition = -1 };
  struct sip_err err = { 0 };
  int rc = sip_outbox_operations()->send(client, &output, world_on_report, w, &err);

  if (rc < 0) {
    (void)snprintf(w->last_name, sizeof w->last_name, "%s", err.name);
  }
  return rc;
}

static inline void world_put_many(struct world *w, struct sip_outbox_client *client,
                                  const char *topic, int from, int count)
{
  for (int i = from; i < from + count; i++) {
    char value[24];

    (void)snprintf(value, sizeof value, "%d", i);
    CHECK_INT(world_put(w, client, topic, value), 0);
  }
}

struct limit {
  uint64_t end_ms;
  const char *what;
};

static inline void world_on_look(uv_timer_t *timer)
{
  const struct limit *limit = timer->data;

  if (uv_now(timer->loop) > limit->end_ms) {
    SIP_TEST_FAIL("did not come: %s", limit->what);
  }
}

/* Turns the loop until the condition, which the outbox's thread may bring about, holds; fails after
   60 s: the longest pause of a topic is 30. */
#define WORLD_UNTIL(w, condition)                                                                  \
  do {                                                                                             \
    struct limit limit_ = { uv_now(&(w)->loop) + 60000, #condition };                              \
    uv_timer_t look_;                                                                              \
    (void)uv_timer_init(&(w)->loop, &look_);                                                       \
    look_.data = &limit_;                                                                          \
    (void)uv_timer_start(&look_, world_on_look, 2, 2);                                             \
    while (!(condition)) {                                                                         \
      (void)uv_run(&(w)->loop, UV_RUN_ONCE);                                                       \
    }                                                                                              \
    uv_close((uv_handle_t *)&look_, NULL);                                                         \
    (void)uv_run(&(w)->loop, UV_RUN_NOWAIT);                                                       \
  } while (0)

/* Ends it as the program does. The loop is run until the client has gone. */
static inline void world_close(struct world *w, struct sip_outbox *outbox,
                               struct sip_outbox_client *client)
{
  sip_outbox_detach(client);
  world_purge(w);
  (void)uv_idle_stop(&w->answers);
  (void)uv_run(&w->loop, UV_RUN_DEFAULT);
  sip_outbox_free(outbox);
}

static inline struct sip_outbox_status world_status(struct sip_outbox *outbox)
{
  struct sip_outbox_status status;

  sip_outbox_status(outbox, &status);
  return status;
}

#endif
