/* check.c - reads the outputs of a run and says whether they are complete, right and in order.
 *
 * check BROKERS TOPIC PARTITIONS COUNT KEYS FIRST [SENT]
 * Each output is parsed and compared in all of its five fields. Prints one JSON object: how many
 * records, how many events are missing, repeated, wrong or behind a later one of their key; when
 * the broker appended the first and the last one (topics with
 * message.timestamp.type=LogAppendTime); and with SENT (see fill.c) quantiles of the time from
 * leaving fill.c to being appended, in microseconds. The broker's clock has milliseconds: half of
 * one is added. Events before number FIRST are warm-up: their outputs are compared, but their times
 * do not count.
 */
#include "order.h"

#include <cjson/cJSON.h>
#include <librdkafka/rdkafka.h>
#include <math.h>
#include <stdlib.h>

struct check {
  rd_kafka_t *consumer;
  rd_kafka_topic_partition_list_t *assignment;
  uint32_t partitions, count, keys, first;
  uint32_t records, distinct, repeated, wrong, disordered;
  uint8_t *seen;     /* of each event */
  uint32_t *last;    /* of each key: number of its last output, plus one */
  int64_t *sent_us;  /* NULL: not asked for */
  int64_t *delay_us; /* of each output in time */
  uint32_t delays;
  int64_t first_ms, last_ms;
  char example[512]; /* the first wrong output */
};

static void die(const char *what, const char *why)
{
  (void)fprintf(stderr, "check: %s: %s\n", what, why);
  exit(1);
}

static void *zeroed(size_t count, size_t size)
{
  void *memory = calloc(count, size);

  if (memory == NULL) {
    die("memory", "there is none");
  }
  return memory;
}

static void check_open(struct check *check, const char *brokers, const char *topic)
{
  const char *settings[][2] = {
    { "bootstrap.servers", brokers },     { "group.id", "check" },
    { "enable.partition.eof", "true" },   { "enable.auto.commit", "false" },
    { "queued.min.messages", "1000000" }, { "auto.offset.reset", "earliest" },
  };
  rd_kafka_conf_t *conf = rd_kafka_conf_new();
  char why[256];

  for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) {
    if (rd_kafka_conf_set(conf, settings[i][0], settings[i][1], why, sizeof why) !=
        RD_KAFKA_CONF_OK) {
      die(settings[i][0], why);
    }
  }
  check->consumer = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof why);
  if (check->consumer == NULL) {
    die("consumer", why);
  }
  (void)rd_kafka_poll_set_consumer(check->consumer);
  check->assignment = rd_kafka_topic_partition_list_new((int)check->partitions);
  for (uint32_t i = 0; i < check->partitions; i++) {
    rd_kafka_topic_partition_list_add(check->assignment, topic, (int32_t)i)->offset =
      RD_KAFKA_OFFSET_BEGINNING;
  }
  if (rd_kafka_assign(check->consumer, check->assignment) != 0) {
    die(topic, "cannot be read");
  }
}

static int is_text(const cJSON *body, const char *name, const char *form, unsigned value)
{
  const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(body, name));
  char wanted[32];

  (void)snprintf(wanted, sizeof wanted, form, value);
  return text != NULL && strcmp(text, wanted) == 0;
}

/* The number of the event whose output this is; -1 when anything in it is wrong. */
static int64_t check_value(const struct check *check, const cJSON *body,
                           const rd_kafka_message_t *message)
{
  const char *id = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(body, "id"));
  const char *status = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(body, "status"));
  const cJSON *amount = cJSON_GetObjectItemCaseSensitive(body, "amount");
  char key[ORDER_KEY];
  uint32_t number;

  if (id == NULL || strlen(id) != 12 || strncmp(id, "e-", 2) != 0) {
    return -1;
  }
  number = (uint32_t)strtoul(id + 2, NULL, 10);
  if (number >= check->count || cJSON_GetArraySize(body) != 5 ||
      !is_text(body, "order", "o-%010u", (unsigned)number) ||
      !is_text(body, "customer", "c-%07u", (unsigned)order_key(number, check->keys)) ||
      status == NULL || strcmp(status, order_type(number)->status) != 0 ||
      !cJSON_IsNumber(amount) ||
      fabs(amount->valuedouble * 100 - order_type(number)->sign * (double)order_cents(number)) >
        1e-6) {
    return -1;
  }
  order_key_text(key, number, check->keys);
  if (message->key_len != strlen(key) || memcmp(message->key, key, message->key_len) != 0) {
    return -1;
  }
  return (int64_t)number;
}

static void check_time(struct check *check, uint32_t number, int64_t at_ms)
{
  check->first_ms = check->first_ms == 0 || at_ms < check->first_ms ? at_ms : check->first_ms;
  check->last_ms = at_ms > check->last_ms ? at_ms : check->last_ms;
  if (check->sent_us != NULL) {
    check->delay_us[check->delays++] = at_ms * 1000 + 500 - check->sent_us[number];
  }
}

static void check_note(struct check *check, uint32_t number, int64_t at_ms)
{
  uint32_t key = order_key(number, check->keys);

  if (check->seen[number]) {
    check->repeated++;
    return;
  }
  check->seen[number] = 1;
  check->distinct++;
  if (number >= check->first) {
    check_time(check, number, at_ms);
  }
  if (check->last[key] > number) {
    check->disordered++;
  }
  check->last[key] = number + 1;
}

static void check_record(struct check *check, const rd_kafka_message_t *message)
{
  int64_t at_ms = rd_kafka_message_timestamp(message, NULL);
  cJSON *body = cJSON_ParseWithLength(message->payload, message->len);
  int64_t number = body == NULL ? -1 : check_value(check, body, message);

  check->records++;
  if (number >= 0) {
    check_note(check, (uint32_t)number, at_ms);
  } else if (check->wrong++ == 0) {
    (void)snprintf(check->example, sizeof check->example, "%.*s", (int)message->len,
                   (const char *)message->payload);
  }
  cJSON_Delete(body);
}

static void check_read(struct check *check)
{
  uint32_t ended = 0;

  while (ended < check->partitions) {
    rd_kafka_message_t *message = rd_kafka_consumer_poll(check->consumer, 30000);
    if (message == NULL) {
      die("read", "nothing comes for 30 s");
    }
    if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
      ended++;
    } else if (message->err != 0) {
      die("read", rd_kafka_message_errstr(message));
    } else {
      check_record(check, message);
    }
    rd_kafka_message_destroy(message);
  }
}

static void check_load(struct check *check, const char *path)
{
  FILE *file = fopen(path, "rb");

  check->sent_us = zeroed(check->count, sizeof *check->sent_us);
  check->delay_us = zeroed(check->count, sizeof *check->delay_us);
  if (file == NULL ||
      fread(check->sent_us, sizeof *check->sent_us, check->count, file) != check->count) {
    die(path, "cannot be read");
  }
  (void)fclose(file);
}

static int by_value(const void *a, const void *b)
{
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

  return (x > y) - (x < y);
}

static void check_report(struct check *check)
{
  cJSON *report = cJSON_CreateObject();
  char *text;

  (void)cJSON_AddNumberToObject(report, "records", check->records);
  (void)cJSON_AddNumberToObject(report, "missing", check->count - check->distinct);
  (void)cJSON_AddNumberToObject(report, "repeated", check->repeated);
  (void)cJSON_AddNumberToObject(report, "wrong", check->wrong);
  (void)cJSON_AddNumberToObject(report, "disordered", check->disordered);
  (void)cJSON_AddNumberToObject(report, "first_ms", (double)check->first_ms);
  (void)cJSON_AddNumberToObject(report, "last_ms", (double)check->last_ms);
  (void)cJSON_AddStringToObject(report, "example", check->example);
  if (check->delays > 0) {
    uint32_t last = check->delays - 1;
    qsort(check->delay_us, check->delays, sizeof *check->delay_us, by_value);
    (void)cJSON_AddNumberToObject(report, "p50_us", (double)check->delay_us[last / 2]);
    (void)cJSON_AddNumberToObject(report, "p99_us",
                                  (double)check->delay_us[(uint64_t)last * 99 / 100]);
    (void)cJSON_AddNumberToObject(report, "p999_us",
                                  (double)check->delay_us[(uint64_t)last * 999 / 1000]);
  }
  text = cJSON_PrintUnformatted(report);
  if (text == NULL) {
    die("memory", "there is none");
  }
  (void)puts(text);
  cJSON_free(text);
  cJSON_Delete(report);
}

int main(int argc, char **argv)
{
  struct check check = { 0 };

  if (argc != 7 && argc != 8) {
    die("usage", "check BROKERS TOPIC PARTITIONS COUNT KEYS FIRST [SENT]");
  }
  check.partitions = (uint32_t)strtoul(argv[3], NULL, 10);
  check.count = (uint32_t)strtoul(argv[4], NULL, 10);
  check.keys = (uint32_t)strtoul(argv[5], NULL, 10);
  check.first = (uint32_t)strtoul(argv[6], NULL, 10);
  if (check.partitions == 0 || check.count == 0 || check.keys == 0) {
    die("usage", "PARTITIONS, COUNT and KEYS are at least 1");
  }
  check.seen = zeroed(check.count, sizeof *check.seen);
  check.last = zeroed(check.keys, sizeof *check.last);
  if (argc == 8) {
    check_load(&check, argv[7]);
  }
  check_open(&check, argv[1], argv[2]);
  check_read(&check);
  check_report(&check);
  rd_kafka_topic_partition_list_destroy(check.assignment);
  (void)rd_kafka_consumer_close(check.consumer);
  rd_kafka_destroy(check.consumer);
  free(check.seen);
  free(check.last);
  free(check.sent_us);
  free(check.delay_us);
  return 0;
}
