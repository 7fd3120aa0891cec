/* project.c - a projection without sipeat: reads a topic from its beginning to its end, decodes the
 * JSON, and keeps what each customer has ordered in SQLite.
 *
 * project BROKERS TOPIC DATABASE BATCH
 * Rows and positions of BATCH events are one transaction in WAL mode with synchronous=FULL. With
 * DATABASE "-" it only reads. Prints {"events": …, "seconds": …}. */
#include <cjson/cJSON.h>
#include <librdkafka/rdkafka.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PARTITIONS 64
#define TAKE       1000

struct project {
  rd_kafka_t *consumer;
  rd_kafka_queue_t *queue;
  const char *topic;
  sqlite3 *db; /* NULL: only reads */
  sqlite3_stmt *add, *position, *begin, *commit;
  int64_t next[PARTITIONS], end[PARTITIONS];
  int partitions;
  int64_t events, batch;
};

static void die(const char *what, const char *why)
{
  (void)fprintf(stderr, "project: %s: %s\n", what, why);
  exit(1);
}

static double now_s(void)
{
  struct timespec now;

  (void)clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static sqlite3_stmt *prepared(struct project *project, const char *sql)
{
  sqlite3_stmt *statement = NULL;

  if (sqlite3_prepare_v2(project->db, sql, -1, &statement, NULL) != SQLITE_OK) {
    die(sql, sqlite3_errmsg(project->db));
  }
  return statement;
}

static void run(struct project *project, sqlite3_stmt *statement)
{
  if (sqlite3_step(statement) != SQLITE_DONE || sqlite3_reset(statement) != SQLITE_OK) {
    die("sqlite", sqlite3_errmsg(project->db));
  }
}

static void open_database(struct project *project, const char *path)
{
  if (sqlite3_open_v2(path, &project->db,
                      SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
                      NULL) != SQLITE_OK ||
      sqlite3_exec(project->db,
                   "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
                   "CREATE TABLE customers (customer TEXT PRIMARY KEY, orders BIGINT NOT NULL,"
                   "  cents BIGINT NOT NULL, last TEXT NOT NULL);"
                   "CREATE TABLE positions (partition BIGINT PRIMARY KEY, next BIGINT NOT NULL);",
                   NULL, NULL, NULL) != SQLITE_OK) {
    die(path, sqlite3_errmsg(project->db));
  }
  project->add = prepared(
    project, "INSERT INTO customers VALUES (?, 1, ?, ?) ON CONFLICT (customer) DO UPDATE SET"
             "  orders = orders + 1, cents = cents + excluded.cents, last = excluded.last");
  project->position =
    prepared(project, "INSERT INTO positions VALUES (?, ?)"
                      "  ON CONFLICT (partition) DO UPDATE SET next = excluded.next");
  project->begin = prepared(project, "BEGIN IMMEDIATE");
  project->commit = prepared(project, "COMMIT");
}

static void set(rd_kafka_conf_t *conf, const char *name, const char *value)
{
  char why[256];

  if (rd_kafka_conf_set(conf, name, value, why, sizeof why) != RD_KAFKA_CONF_OK) {
    die(name, why);
  }
}

static void open_topic(struct project *project, const char *brokers)
{
  rd_kafka_conf_t *conf = rd_kafka_conf_new();
  rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(PARTITIONS);
  const struct rd_kafka_metadata *metadata = NULL;
  rd_kafka_topic_t *topic;
  char why[256];

  set(conf, "bootstrap.servers", brokers);
  set(conf, "group.id", "project");
  set(conf, "enable.auto.commit", "false");
  set(conf, "auto.offset.reset", "earliest");
  set(conf, "queued.min.messages", "200000");
  set(conf, "queued.max.messages.kbytes", "1000000");
  project->consumer = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof why);
  if (project->consumer == NULL) {
    die("consumer", why);
  }
  (void)rd_kafka_poll_set_consumer(project->consumer);
  topic = rd_kafka_topic_new(project->consumer, project->topic, NULL);
  if (rd_kafka_metadata(project->consumer, 0, topic, &metadata, 10000) != 0 ||
      metadata->topics[0].partition_cnt > PARTITIONS) {
    die(project->topic, "no metadata, or too many partitions");
  }
  project->partitions = metadata->topics[0].partition_cnt;
  for (int i = 0; i < project->partitions; i++) {
    rd_kafka_topic_partition_list_add(list, project->topic, i)->offset = RD_KAFKA_OFFSET_BEGINNING;
    if (rd_kafka_query_watermark_offsets(project->consumer, project->topic, i, &project->next[i],
                                         &project->end[i], 10000) != 0) {
      die(project->topic, "no offsets");
    }
  }
  if (rd_kafka_assign(project->consumer, list) != 0) {
    die(project->topic, "not assigned");
  }
  project->queue = rd_kafka_queue_get_consumer(project->consumer);
  rd_kafka_metadata_destroy(metadata);
  rd_kafka_topic_destroy(topic);
  rd_kafka_topic_partition_list_destroy(list);
}

static const char *text_of(const cJSON *object, const char *name)
{
  const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));

  if (text == NULL) {
    die(name, "an event without it");
  }
  return text;
}

static void write_row(struct project *project, const rd_kafka_message_t *message)
{
  cJSON *body = cJSON_ParseWithLength(message->payload, message->len);
  const cJSON *data = cJSON_GetObjectItemCaseSensitive(body, "data");
  double total = cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(data, "total"));

  (void)sqlite3_bind_text(project->add, 1, text_of(data, "customerId"), -1, SQLITE_STATIC);
  (void)sqlite3_bind_int64(project->add, 2, (int64_t)(total * 100 + 0.5));
  (void)sqlite3_bind_text(project->add, 3, text_of(body, "type"), -1, SQLITE_STATIC);
  run(project, project->add);
  cJSON_Delete(body);
}

static void commit(struct project *project)
{
  for (int i = 0; i < project->partitions; i++) {
    (void)sqlite3_bind_int(project->position, 1, i);
    (void)sqlite3_bind_int64(project->position, 2, project->next[i]);
    run(project, project->position);
  }
  run(project, project->commit);
}

static void handle(struct project *project, const rd_kafka_message_t *message)
{
  if (message->err != 0) {
    die("read", rd_kafka_message_errstr(message));
  }
  if (project->db != NULL) {
    if (project->events % project->batch == 0) {
      run(project, project->begin);
    }
    write_row(project, message);
  }
  project->events++;
  project->next[message->partition] = message->offset + 1;
  if (project->db != NULL && project->events % project->batch == 0) {
    commit(project);
  }
}

static int is_done(const struct project *project)
{
  for (int i = 0; i < project->partitions; i++) {
    if (project->next[i] < project->end[i]) {
      return 0;
    }
  }
  return 1;
}

int main(int argc, char **argv)
{
  struct project project = { 0 };
  double began_s;

  if (argc != 5) {
    die("usage", "project BROKERS TOPIC DATABASE BATCH");
  }
  project.topic = argv[2];
  project.batch = strtol(argv[4], NULL, 10);
  began_s = now_s();
  if (strcmp(argv[3], "-") != 0) {
    open_database(&project, argv[3]);
  }
  open_topic(&project, argv[1]);
  while (!is_done(&project)) {
    rd_kafka_message_t *messages[TAKE];
    ssize_t count = rd_kafka_consume_batch_queue(project.queue, 100, messages, TAKE);

    for (ssize_t i = 0; i < count; i++) {
      handle(&project, messages[i]);
      rd_kafka_message_destroy(messages[i]);
    }
  }
  if (project.db != NULL && project.events % project.batch != 0) {
    commit(&project);
  }
  (void)printf("{\"events\": %lld, \"seconds\": %.3f}\n", (long long)project.events,
               now_s() - began_s);
  rd_kafka_queue_destroy(project.queue);
  (void)rd_kafka_consumer_close(project.consumer);
  rd_kafka_destroy(project.consumer);
  (void)sqlite3_finalize(project.add);
  (void)sqlite3_finalize(project.position);
  (void)sqlite3_finalize(project.begin);
  (void)sqlite3_finalize(project.commit);
  (void)sqlite3_close(project.db);
  return 0;
}
