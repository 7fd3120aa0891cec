/* transaction.c - one transactional producer on the loop.
 *
 * librdkafka's calls about transactions block, so each end of a transaction is a job on the work
 * pool: a list of steps, the last of which begins the next transaction. A step that librdkafka
 * calls retriable is repeated, with the same arguments; one that requires an abort is told to the
 * owner; any other failure makes the producer useless, and the owner is told that. While a job
 * runs, the loop goes on serving reports: without that, commit and abort would wait for ever. */
#include "kafka/transaction.h"

#include "core/base.h"
#include "core/log.h"
#include "kafka/client.h"
#include "kafka/errors.h"
#include "kafka/producer.h"
#include "kafka/source_state.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  TRANSACTION_EVENTS_PER_TURN = 64,
  TRANSACTION_TIMEOUT_MS = 20000,
  TRANSACTION_STEP_MS = 5000,     /* a step blocks a thread of the pool for so long at most */
  TRANSACTION_OFFSETS_MS = 10000, /* not resumable: its time is the whole of it */
  TRANSACTION_AGAIN_MS = 300
};

static const struct sip_client_property transaction_properties[] = {
  { "partitioner", "murmur2_random", false },
  { "queue.buffering.max.kbytes", "65536", false },
  { "topic.metadata.refresh.interval.ms", "10000", false },
  { "topic.metadata.propagation.max.ms", "10000", false },
  { "transaction.timeout.ms", "20000", false },
  { "enable.idempotence", "true", true },
  { "acks", "all", true },
};

enum step { STEP_NONE, STEP_INIT, STEP_OFFSETS, STEP_COMMIT, STEP_ABORT, STEP_BEGIN };
enum phase { PHASE_ENDING, PHASE_OPEN, PHASE_BROKEN, PHASE_LOST };

struct report {
  sip_report_fn fn;
  void *arg;
};

struct sip_transactor {
  struct sip_client client;
  struct sip_transactor_sink sink;
  void *owner; /* borrowed: until on_closed */
  char *group;
  size_t pending; /* records that wait for their report */
  enum phase phase;
  enum step step; /* what the job does, or did last */
  bool working, closing, destroying;
  bool used;     /* the broker may know of the open transaction */
  bool embedded; /* the broker takes the offsets of a transaction and forgets them */
  bool told;     /* that a step does not get on */
  struct sip_work work;
  uv_timer_t again; /* repeats a step */
  rd_kafka_topic_partition_list_t *offsets;
  rd_kafka_consumer_group_metadata_t *member;
  struct sip_source *source; /* borrowed: of the commit that runs */
  rd_kafka_error_t *error;   /* of the step that failed */
  struct sip_err why;        /* of the phase broken or lost */
  bool tell;                 /* the owner does not know of that phase yet */
  bool opened;               /* was open at least once */
};

/* --- on the pool --- */

/* A consumer that has lost its group has neither generation nor member id, and the broker takes
 * offsets in the name of nobody without a question (GroupMetadataManager, commits of old clients).
 * What is written there: the magic, the generation in 4 bytes, group, member id. */
static rd_kafka_error_t *member_check(const rd_kafka_consumer_group_metadata_t *member)
{
  static const char magic[] = "CGMDv2:";
  enum { MAGIC = sizeof magic - 1 };
  rd_kafka_error_t *error;
  void *bytes = NULL;
  int32_t generation = -1;
  size_t size = 0;

  if (member == NULL) {
    return rd_kafka_error_new(RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID, "not a member of the group");
  }
  error = rd_kafka_consumer_group_metadata_write(member, &bytes, &size);
  if (error != NULL) {
    return error;
  }
  if (size > MAGIC + sizeof generation && memcmp(bytes, magic, MAGIC) == 0) {
    memcpy(&generation, (char *)bytes + MAGIC, sizeof generation);
  }
  rd_kafka_mem_free(NULL, bytes);
  return generation >= 0 ? NULL
                         : rd_kafka_error_new(RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID,
                                              "no longer a member of the group");
}

static rd_kafka_error_t *send_offsets(struct sip_transactor *transactor)
{
  rd_kafka_error_t *error = member_check(transactor->member);

  return error != NULL
           ? error
           : rd_kafka_send_offsets_to_transaction(transactor->client.rk, transactor->offsets,
                                                  transactor->member, TRANSACTION_OFFSETS_MS);
}

/* One step. @return NULL when it is done */
static rd_kafka_error_t *step_run(struct sip_transactor *transactor)
{
  rd_kafka_t *rk = transactor->client.rk;

  switch (transactor->step) {
  case STEP_INIT:
    return rd_kafka_init_transactions(rk, TRANSACTION_STEP_MS);
  case STEP_OFFSETS:
    return send_offsets(transactor);
  case STEP_COMMIT:
    return rd_kafka_commit_transaction(rk, TRANSACTION_STEP_MS);
  case STEP_ABORT:
    return rd_kafka_abort_transaction(rk, TRANSACTION_STEP_MS);
  case STEP_BEGIN:
    return rd_kafka_begin_transaction(rk);
  default:
    return NULL;
  }
}

static enum step step_after(enum step step)
{
  switch (step) {
  case STEP_OFFSETS:
    return STEP_COMMIT;
  case STEP_INIT:
  case STEP_COMMIT:
  case STEP_ABORT:
    return STEP_BEGIN;
  default:
    return STEP_NONE;
  }
}

static void transactor_run(struct sip_work *work)
{
  struct sip_transactor *transactor = SIP_CONTAINER(work, struct sip_transactor, work);
  rd_kafka_t *rk = transactor->client.rk;

  while (transactor->error == NULL && transactor->step != STEP_NONE) {
    if (transactor->step == STEP_INIT) {
      transactor->embedded = sip_kafka_is_embedded(rk, TRANSACTION_STEP_MS);
    }
    transactor->error = step_run(transactor);
    if (transactor->error == NULL) {
      transactor->step = step_after(transactor->step);
    }
  }
}

/* --- on the loop --- */

static void transactor_forget_commit(struct sip_transactor *transactor)
{
  if (transactor->offsets != NULL) {
    rd_kafka_topic_partition_list_destroy(transactor->offsets);
    transactor->offsets = NULL;
  }
  if (transactor->member != NULL) {
    rd_kafka_consumer_group_metadata_destroy(transactor->member);
    transactor->member = NULL;
  }
  transactor->source = NULL;
}

static void transactor_on_freed(uv_handle_t *timer)
{
  struct sip_transactor *transactor =
    SIP_CONTAINER((uv_timer_t *)timer, struct sip_transactor, again);

  if (transactor->closing) { /* otherwise it never opened */
    transactor->sink.on_closed(transactor->owner);
  }
  free(transactor->group);
  free(transactor);
}

static void transactor_on_destroyed(struct sip_client *client)
{
  struct sip_transactor *transactor = SIP_CONTAINER(client, struct sip_transactor, client);

  uv_close((uv_handle_t *)&transactor->again, transactor_on_freed);
}

/* After close: once nothing runs and every report has come. */
static void transactor_end_if_idle(struct sip_transactor *transactor)
{
  if (transactor->closing && !transactor->working && transactor->pending == 0 &&
      !transactor->destroying) {
    transactor->destroying = true;
    transactor_forget_commit(transactor);
    sip_client_destroy(&transactor->client, 0, transactor_on_destroyed);
  }
}

/* What is on its way is reported as cancelled; nothing more can be done. */
static void transactor_purge(struct sip_transactor *transactor)
{
  if (transactor->pending > 0) {
    (void)rd_kafka_purge(transactor->client.rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT |
                                                  RD_KAFKA_PURGE_F_NON_BLOCKING);
  }
}

/* Both are told from a turn of their own. */
static void transactor_lost(struct sip_transactor *transactor)
{
  if (transactor->phase != PHASE_LOST) {
    transactor->phase = PHASE_LOST;
    transactor->tell = true;
    sip_client_again(&transactor->client);
  }
}

static void transactor_broken(struct sip_transactor *transactor)
{
  if (transactor->phase == PHASE_OPEN || transactor->phase == PHASE_ENDING) {
    transactor->phase = PHASE_BROKEN;
    transactor->tell = true;
    sip_client_again(&transactor->client);
  }
}

/* The group goes on without this member. */
static bool is_about_membership(rd_kafka_resp_err_t res)
{
  return res == RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION ||
         res == RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID || res == RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID;
}

static const char *step_name(enum step step)
{
  static const char *const names[] = {
    "", "getting a producer id", "sending the offsets", "commit", "abort", "begin"
  };

  return names[step];
}

static void transactor_on_done(struct sip_work *work, int status);

static void transactor_work(struct sip_transactor *transactor)
{
  transactor->working = true;
  if (sip_work_start(transactor->again.loop, &transactor->work, transactor_run,
                     transactor_on_done) < 0) {
    transactor->working = false; /* a loop that takes no work is about to end */
    (void)sip_err_set(&transactor->why, SIP_ECLOSED, "group %s: the program is stopping",
                      transactor->group);
    transactor_lost(transactor);
  }
}

static void transactor_on_again(uv_timer_t *timer)
{
  struct sip_transactor *transactor = SIP_CONTAINER(timer, struct sip_transactor, again);

  if (!transactor->closing) {
    transactor_work(transactor);
  }
}

static void transactor_begin_job(struct sip_transactor *transactor, enum step step)
{
  transactor->phase = PHASE_ENDING;
  transactor->step = step;
  transactor->told = false;
  transactor_work(transactor);
}

/* The embedded broker keeps offsets only when they are committed without a transaction. */
static void transactor_commit_plainly(struct sip_transactor *transactor)
{
  if (transactor->embedded && transactor->source != NULL && !transactor->source->closing) {
    (void)rd_kafka_commit(transactor->source->client.rk, transactor->offsets, 1);
  }
}

static void transactor_on_open(struct sip_transactor *transactor)
{
  bool committed = transactor->offsets != NULL, first = !transactor->opened;

  transactor->phase = PHASE_OPEN;
  transactor->used = false;
  transactor->opened = true;
  if (first && transactor->embedded) {
    sip_log(SIP_LOG_WARN, "kafka", NULL,
            "group %s: the embedded broker shows what an aborted transaction wrote, and commits "
            "offsets apart from the outputs; exactly once needs a real Kafka",
            transactor->group);
  }
  if (committed) {
    transactor_commit_plainly(transactor);
    transactor_forget_commit(transactor);
    transactor->sink.on_committed(transactor->owner);
  }
  transactor->sink.on_open(transactor->owner);
}

/* What to do about the step that failed. */
static void transactor_sort_out(struct sip_transactor *transactor)
{
  rd_kafka_error_t *error = transactor->error;
  bool fatal = rd_kafka_error_is_fatal(error) != 0;
  bool requires_abort = rd_kafka_error_txn_requires_abort(error) != 0;
  bool retriable = rd_kafka_error_is_retriable(error) != 0;
  bool outside = is_about_membership(rd_kafka_error_code(error));

  transactor->error = NULL;
  if (retriable && !fatal && !requires_abort) {
    if (!transactor->told) {
      transactor->told = true;
      sip_log(SIP_LOG_WARN, "kafka", NULL, "group %s: transaction: %s: %s; trying again",
              transactor->group, step_name(transactor->step), rd_kafka_error_string(error));
    }
    rd_kafka_error_destroy(error);
    (void)uv_timer_start(&transactor->again, transactor_on_again, TRANSACTION_AGAIN_MS,
                         0); /* the callback is set */
    return;
  }
  (void)sip_kafka_err_object(&transactor->why, error, "group %s: transaction: %s",
                             transactor->group, step_name(transactor->step));
  transactor_forget_commit(transactor);
  if (fatal || outside || !requires_abort) {
    transactor_lost(transactor);
  } else {
    transactor_broken(transactor);
  }
}

/* Goes on with the close once no job runs. */
static void transactor_finish(struct sip_transactor *transactor)
{
  transactor_forget_commit(transactor);
  if (transactor->used && transactor->phase != PHASE_LOST) {
    transactor->used = false; /* one try */
    transactor->step = STEP_ABORT;
    transactor_work(transactor);
    return;
  }
  transactor_purge(transactor);
  sip_client_again(&transactor->client);
}

static void transactor_on_done(struct sip_work *work, int status)
{
  struct sip_transactor *transactor = SIP_CONTAINER(work, struct sip_transactor, work);

  (void)status; /* nobody cancels it */
  transactor->working = false;
  if (transactor->closing) {
    if (transactor->error != NULL) { /* what is open ends by its timeout */
      rd_kafka_error_destroy(transactor->error);
      transactor->error = NULL;
    }
    transactor->step = STEP_NONE;
    transactor_finish(transactor);
  } else if (transactor->error != NULL) {
    transactor_sort_out(transactor);
  } else if (transactor->phase == PHASE_ENDING) {
    transactor_on_open(transactor);
  }
}

/* --- reports and errors --- */

/* Words for "not this record is wrong, but its transaction". */
static bool is_about_transaction(rd_kafka_resp_err_t res)
{
  switch (res) {
  case RD_KAFKA_RESP_ERR__FATAL:
  case RD_KAFKA_RESP_ERR__FENCED:
  case RD_KAFKA_RESP_ERR__STATE:
  case RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH:
  case RD_KAFKA_RESP_ERR_PRODUCER_FENCED:
  case RD_KAFKA_RESP_ERR_INVALID_TXN_STATE:
  case RD_KAFKA_RESP_ERR_INVALID_PRODUCER_ID_MAPPING:
  case RD_KAFKA_RESP_ERR_UNKNOWN_PRODUCER_ID:
  case RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS:
    return true;
  default:
    return false;
  }
}

static void transactor_report(struct sip_transactor *transactor, const rd_kafka_message_t *message)
{
  struct report report = *(struct report *)message->_private;
  struct sip_err err = { 0 };
  char why[256];
  int rc = 0;

  free(message->_private);
  transactor->pending--;
  if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
    rc = sip_kafka_err(&err, message->err, NULL, "send to %s", rd_kafka_topic_name(message->rkt));
    if (is_about_transaction(message->err) ||
        rd_kafka_fatal_error(transactor->client.rk, why, sizeof why) != 0) {
      rc = err.code = UV_ECANCELED;
    }
  }
  report.fn(report.arg, rc, message->partition, message->offset, &err);
}

static void transactor_on_error(struct sip_transactor *transactor, rd_kafka_event_t *event)
{
  rd_kafka_resp_err_t res = rd_kafka_event_error(event);

  if (rd_kafka_event_error_is_fatal(event)) {
    (void)sip_kafka_err(&transactor->why, res, rd_kafka_event_error_string(event),
                        "group %s: transactional producer", transactor->group);
    if (!transactor->working) { /* otherwise the step fails, and says more */
      transactor_lost(transactor);
    }
  } else if (!sip_kafka_err_is_connection(res)) {
    sip_log(SIP_LOG_WARN, "kafka", NULL, "group %s: transactional producer: %s", transactor->group,
            rd_kafka_event_error_string(event));
  }
}

static void transactor_tell(struct sip_transactor *transactor)
{
  if (!transactor->tell || transactor->closing) {
    return;
  }
  transactor->tell = false;
  if (transactor->phase == PHASE_LOST) {
    transactor->sink.on_lost(transactor->owner, &transactor->why);
  } else if (transactor->phase == PHASE_BROKEN) {
    transactor->sink.on_broken(transactor->owner, &transactor->why);
  }
}

static void transactor_on_events(struct sip_client *client)
{
  struct sip_transactor *transactor = SIP_CONTAINER(client, struct sip_transactor, client);

  for (int i = 0; i < TRANSACTION_EVENTS_PER_TURN; i++) {
    rd_kafka_event_t *event = sip_client_poll(client);
    const rd_kafka_message_t *message;

    if (event == NULL) {
      transactor_tell(transactor);
      transactor_end_if_idle(transactor);
      return;
    }
    if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_DR) {
      while ((message = rd_kafka_event_message_next(event)) != NULL) {
        transactor_report(transactor, message);
      }
    } else if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_ERROR) {
      transactor_on_error(transactor, event);
    }
    rd_kafka_event_destroy(event);
  }
  sip_client_again(client);
}

/* --- the operations --- */

static int transactor_name(const char *group, char *out, size_t size, struct sip_err *err)
{
  uint64_t number[2];
  int rc = uv_random(NULL, NULL, number, sizeof number, 0, NULL);

  if (rc < 0) {
    return sip_err_set(err, rc, "group %s: a random transactional.id: %s", group, uv_strerror(rc));
  }
  (void)snprintf(out, size, "sipeat-%.200s-%016" PRIx64 "%016" PRIx64, group, number[0], number[1]);
  return 0;
}

static int transactor_open_client(struct sip_transactor *transactor, struct sip_kafka *kafka,
                                  struct sip_err *err)
{
  enum { COUNT = sizeof transaction_properties / sizeof transaction_properties[0] };
  struct sip_client_property properties[COUNT + 1];
  char name[300];
  const struct sip_client_spec spec = { .type = RD_KAFKA_PRODUCER,
                                        .events = RD_KAFKA_EVENT_DR,
                                        .properties = properties,
                                        .property_count = COUNT + 1,
                                        .on_events = transactor_on_events };
  int rc = transactor_name(transactor->group, name, sizeof name, err);

  if (rc < 0) {
    return rc;
  }
  memcpy(properties, transaction_properties, sizeof transaction_properties);
  properties[COUNT] = (struct sip_client_property){ "transactional.id", name, true };
  return sip_client_open(&transactor->client, kafka, &spec, err);
}

static int transactor_open(void *driver, const char *group, const struct sip_transactor_sink *sink,
                           void *owner, struct sip_transactor **out, struct sip_err *err)
{
  struct sip_transactor *transactor = calloc(1, sizeof *transactor);
  int rc;

  if (transactor != NULL) {
    transactor->group = strdup(group);
  }
  if (transactor == NULL || transactor->group == NULL) {
    free(transactor);
    return sip_err_set(err, UV_ENOMEM, "group %s: transactional producer: out of memory", group);
  }
  transactor->sink = *sink;
  transactor->owner = owner;
  rc = transactor_open_client(transactor, driver, err);
  if (rc < 0) {
    free(transactor->group);
    free(transactor);
    return rc;
  }
  (void)uv_timer_init(sip_kafka_loop(driver), &transactor->again); /* always 0 */
  transactor_begin_job(transactor, STEP_INIT);
  *out = transactor;
  return 0;
}

/* Refused because of the transaction and not of the record: the owner is told, and the sender waits
 * until it is dealt with. */
static int transactor_refused(struct sip_transactor *transactor, bool fatal, struct sip_err *err)
{
  transactor->why = *err;
  if (fatal) {
    transactor_lost(transactor);
  } else {
    transactor_broken(transactor);
  }
  return SIP_EQUEUEFULL;
}

static int transactor_send(struct sip_transactor *transactor, const struct sip_output *output,
                           sip_report_fn on_report, void *arg, struct sip_err *err)
{
  rd_kafka_resp_err_t res;
  struct report *report;
  bool fatal;
  int rc;

  if (transactor->phase != PHASE_OPEN || transactor->closing) {
    return SIP_EQUEUEFULL;
  }
  report = malloc(sizeof *report);
  if (report == NULL) {
    return sip_err_set(err, UV_ENOMEM, "send to %s: out of memory", output->topic);
  }
  *report = (struct report){ on_report, arg };
  rc = sip_kafka_produce(transactor->client.rk, NULL, output, report, &res, &fatal, err);
  if (rc == 0) {
    transactor->pending++;
    transactor->used = true;
    return 0;
  }
  free(report);
  return fatal || is_about_transaction(res) ? transactor_refused(transactor, fatal, err) : rc;
}

static void transactor_commit(struct sip_transactor *transactor, struct sip_source *source,
                              const struct sip_next_offset *offsets, size_t count)
{
  transactor->offsets = rd_kafka_topic_partition_list_new((int)count);
  for (size_t i = 0; i < count; i++) {
    rd_kafka_topic_partition_list_add(transactor->offsets, offsets[i].partition.topic,
                                      offsets[i].partition.partition)
      ->offset = offsets[i].offset;
  }
  /* Here and not in the job: it is the generation in which the partitions are ours. */
  transactor->member = rd_kafka_consumer_group_metadata(source->client.rk);
  transactor->source = source;
  transactor->used = true;
  transactor_begin_job(transactor, STEP_OFFSETS);
}

static void transactor_roll_back(struct sip_transactor *transactor)
{
  if (transactor->phase != PHASE_LOST && !transactor->working && !transactor->closing) {
    transactor->tell = false;
    transactor_begin_job(transactor, STEP_ABORT);
  }
}

static void transactor_close(struct sip_transactor *transactor)
{
  if (transactor->closing) {
    return;
  }
  transactor->closing = true;
  (void)uv_timer_stop(&transactor->again); /* always 0 */
  if (!transactor->working) {
    transactor_finish(transactor);
  }
}

static uint64_t transactor_limit_ms(const struct sip_transactor *transactor)
{
  char value[32];
  size_t size = sizeof value;
  const rd_kafka_conf_t *conf = rd_kafka_conf(transactor->client.rk);

  if (rd_kafka_conf_get(conf, "transaction.timeout.ms", value, &size) != RD_KAFKA_CONF_OK) {
    return TRANSACTION_TIMEOUT_MS;
  }
  return strtoull(value, NULL, 10);
}

const struct sip_transactor_ops *sip_transactor_operations(void)
{
  static const struct sip_transactor_ops operations = {
    .open = transactor_open,
    .send = transactor_send,
    .commit = transactor_commit,
    .roll_back = transactor_roll_back,
    .close = transactor_close,
    .limit_ms = transactor_limit_ms,
  };

  return &operations;
}
