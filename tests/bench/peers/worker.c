/* worker.c - the benchmark's work in plain C, as fast as librdkafka and cJSON make it.
 *
 * worker BROKERS GROUP IN OUT LINGER_MS
 * Takes what has come, parses, routes by type, builds the output, produces without waiting, and
 * stores for each partition the offset behind which every output is acknowledged. One thread
 * besides librdkafka's; ends on SIGTERM. The queue limits are high because librdkafka before 2.2
 * stops fetching for a second when its queue is full. */
#include <cjson/cJSON.h>
#include <librdkafka/rdkafka.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PARTITIONS 64u
#define WINDOW     (1u << 20) /* events of a partition from the oldest unfinished one on */
#define BATCH      2000

struct progress {
  int64_t next; /* the lowest offset that is not finished */
  int64_t stored;
  uint8_t *done; /* of WINDOW offsets */
};

struct worker {
  rd_kafka_t *consumer, *producer;
  rd_kafka_topic_t *out;
  const char *in;
  struct progress progress[PARTITIONS];
};

static volatile sig_atomic_t stopped;

static void on_signal(int number)
{
  stopped = number;
}

static void die(const char *what, const char *why)
{
  (void)fprintf(stderr, "worker: %s: %s\n", what, why);
  exit(1);
}

static void worker_on_report(rd_kafka_t *producer, const rd_kafka_message_t *message, void *opaque)
{
  struct worker *worker = opaque;
  uint64_t origin = (uint64_t)(uintptr_t)message->_private; /* partition and offset of the input */
  struct progress *progress = &worker->progress[origin >> 48];

  (void)producer;
  if (message->err != 0) {
    die("an output", rd_kafka_err2str(message->err));
  }
  progress->done[(origin & 0xffffffffffff) % WINDOW] = 1;
  while (progress->done[(uint64_t)progress->next % WINDOW]) {
    progress->done[(uint64_t)progress->next++ % WINDOW] = 0;
  }
}

static rd_kafka_conf_t *settings(const char *const pairs[][2])
{
  rd_kafka_conf_t *conf = rd_kafka_conf_new();
  char why[256];

  for (; (*pairs)[0] != NULL; pairs++) {
    if (rd_kafka_conf_set(conf, (*pairs)[0], (*pairs)[1], why, sizeof why) != RD_KAFKA_CONF_OK) {
      die((*pairs)[0], why);
    }
  }
  return conf;
}

static void worker_open(struct worker *worker, char **argv)
{
  const char *const reading[][2] = {
    { "bootstrap.servers", argv[1] },
    { "group.id", argv[2] },
    { "auto.offset.reset", "earliest" },
    { "enable.auto.offset.store", "false" },
    { "auto.commit.interval.ms", "1000" },
    { "queued.min.messages", "1000000" }, /* it waits for a second whenever it has them */
    { "queued.max.messages.kbytes", "1000000" },
    { NULL, NULL },
  };
  const char *const writing[][2] = {
    { "bootstrap.servers", argv[1] },
    { "enable.idempotence", "true" },
    { "acks", "all" },
    { "linger.ms", argv[5] },
    { "partitioner", "murmur2_random" },
    { "queue.buffering.max.messages", "500000" },
    { NULL, NULL },
  };
  rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
  rd_kafka_conf_t *conf;
  char why[256];

  worker->consumer = rd_kafka_new(RD_KAFKA_CONSUMER, settings(reading), why, sizeof why);
  if (worker->consumer == NULL) {
    die("consumer", why);
  }
  (void)rd_kafka_poll_set_consumer(worker->consumer);
  conf = settings(writing);
  rd_kafka_conf_set_opaque(conf, worker);
  rd_kafka_conf_set_dr_msg_cb(conf, worker_on_report);
  worker->producer = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof why);
  if (worker->producer == NULL) {
    die("producer", why);
  }
  worker->out = rd_kafka_topic_new(worker->producer, argv[4], NULL);
  worker->in = argv[3];
  rd_kafka_topic_partition_list_add(topics, worker->in, RD_KAFKA_PARTITION_UA);
  if (worker->out == NULL || rd_kafka_subscribe(worker->consumer, topics) != 0) {
    die(worker->in, "cannot be subscribed to");
  }
  rd_kafka_topic_partition_list_destroy(topics);
}

static const char *text_of(const cJSON *object, const char *name)
{
  const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));

  if (text == NULL) {
    die(name, "an event without it");
  }
  return text;
}

/* The output of an event: JSON in `text`; returns its length. */
static size_t transform(const rd_kafka_message_t *message, char *text, size_t room)
{
  static const struct {
    const char *type, *status;
    int sign;
  } routes[] = {
    { "order.created", "accepted", 1 },
    { "order.paid", "settled", 1 },
    { "order.shipped", "closed", 1 },
    { "order.cancelled", "refunded", -1 },
  };
  cJSON *body = cJSON_ParseWithLength(message->payload, message->len), *output;
  const cJSON *data = cJSON_GetObjectItemCaseSensitive(body, "data");
  const char *type = text_of(body, "type");
  size_t i = 0;

  while (strcmp(routes[i].type, type) != 0) {
    if (++i == sizeof routes / sizeof routes[0]) {
      die(type, "no such type");
    }
  }
  output = cJSON_CreateObject();
  (void)cJSON_AddStringToObject(output, "id", text_of(body, "id"));
  (void)cJSON_AddStringToObject(output, "order", text_of(data, "orderId"));
  (void)cJSON_AddStringToObject(output, "customer", text_of(data, "customerId"));
  (void)cJSON_AddStringToObject(output, "status", routes[i].status);
  (void)cJSON_AddNumberToObject(
    output, "amount",
    routes[i].sign * cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(data, "total")));
  if (!cJSON_PrintPreallocated(output, text, (int)room, 0)) {
    die("an output", "larger than expected");
  }
  cJSON_Delete(output);
  cJSON_Delete(body);
  return strlen(text);
}

/* Where a partition stands; its window begins at the first event that comes of it. */
static struct progress *worker_progress(struct worker *worker, const rd_kafka_message_t *message)
{
  struct progress *progress;

  if (message->partition < 0 || message->partition >= (int32_t)PARTITIONS) {
    die("read", "a partition beyond those that this program has room for");
  }
  progress = &worker->progress[message->partition];
  if (progress->done == NULL) {
    progress->done = calloc(WINDOW, 1);
    progress->next = progress->stored = message->offset;
    if (progress->done == NULL) {
      die("read", "no memory");
    }
  }
  return progress;
}

static void worker_handle(struct worker *worker, const rd_kafka_message_t *message)
{
  struct progress *progress;
  uintptr_t origin;
  char text[1024];
  size_t length;

  if (message->err != 0) {
    die("read", rd_kafka_message_errstr(message));
  }
  progress = worker_progress(worker, message);
  length = transform(message, text, sizeof text);
  origin = (uintptr_t)message->partition << 48 | (uintptr_t)message->offset;
  while (message->offset - progress->next >= (int64_t)WINDOW) {
    (void)rd_kafka_poll(worker->producer, 10);
  }
  while (rd_kafka_produce(worker->out, RD_KAFKA_PARTITION_UA, RD_KAFKA_MSG_F_COPY, text, length,
                          message->key, message->key_len, (void *)origin) != 0) {
    if (rd_kafka_last_error() != RD_KAFKA_RESP_ERR__QUEUE_FULL) {
      die("produce", rd_kafka_err2str(rd_kafka_last_error()));
    }
    (void)rd_kafka_poll(worker->producer, 10);
  }
}

/* The client commits what is stored once a second, and when it closes. */
static void worker_store(struct worker *worker)
{
  rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)PARTITIONS);

  for (uint32_t i = 0; i < PARTITIONS; i++) {
    struct progress *progress = &worker->progress[i];
    if (progress->next != progress->stored) {
      rd_kafka_topic_partition_list_add(list, worker->in, (int32_t)i)->offset = progress->next;
      progress->stored = progress->next;
    }
  }
  if (list->cnt > 0 && rd_kafka_offsets_store(worker->consumer, list) != 0) {
    die("offsets", "cannot be stored");
  }
  rd_kafka_topic_partition_list_destroy(list);
}

static void worker_run(struct worker *worker)
{
  while (!stopped) {
    rd_kafka_message_t *message = rd_kafka_consumer_poll(worker->consumer, 5);
    for (int taken = 0; message != NULL;) {
      worker_handle(worker, message);
      rd_kafka_message_destroy(message);
      message = ++taken < BATCH ? rd_kafka_consumer_poll(worker->consumer, 0) : NULL;
    }
    (void)rd_kafka_poll(worker->producer, 0);
    worker_store(worker);
  }
}

int main(int argc, char **argv)
{
  struct sigaction action = { .sa_handler = on_signal };
  struct worker worker = { 0 };

  if (argc != 6) {
    die("usage", "worker BROKERS GROUP IN OUT LINGER_MS");
  }
  (void)sigaction(SIGTERM, &action, NULL);
  worker_open(&worker, argv);
  worker_run(&worker);
  (void)rd_kafka_flush(worker.producer, 10000);
  worker_store(&worker);
  (void)rd_kafka_consumer_close(worker.consumer);
  rd_kafka_topic_destroy(worker.out);
  rd_kafka_destroy(worker.producer);
  rd_kafka_destroy(worker.consumer);
  for (uint32_t i = 0; i < PARTITIONS; i++) {
    free(worker.progress[i].done);
  }
  return 0;
}
