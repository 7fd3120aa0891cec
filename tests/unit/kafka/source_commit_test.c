/* source_commit_test.c - a commit that a rebalance overtakes is sent again, with its metadata. */
#include "kafka/source.h"

#include "kafka/source_state.h"
#include "kafka_fixture.h"

#include <librdkafka/rdkafka_mock.h>

enum { OFFSET_COMMIT = 8 /* the request's key */, PARTITIONS = 2 };

struct cluster {
  rd_kafka_t *rk;
  rd_kafka_mock_cluster_t *mock;
};

struct owner {
  struct sip_source *source;
  const struct sip_source_ops *ops;
  size_t assigned, revoked, errors, closed, seen;
  bool keep_revoked; /* do not give back by itself */
  int64_t next_offset[PARTITIONS];
  char metadata[PARTITIONS][64];
};

static void on_readable(void *arg)
{
  struct owner *owner = arg;
  struct sip_record records[16];
  size_t count;

  while ((count = owner->ops->take(owner->source, records, 16)) > 0) {
    for (size_t i = 0; i < count; i++) {
      owner->ops->release(&records[i]);
    }
    owner->seen += count;
  }
}

static void on_assigned(void *arg, const struct sip_assigned *partitions, size_t count)
{
  struct owner *owner = arg;

  owner->assigned += count;
  for (size_t i = 0; i < count; i++) {
    int32_t number = partitions[i].name.partition;

    owner->next_offset[number] = partitions[i].next_offset;
    (void)snprintf(owner->metadata[number], sizeof owner->metadata[number], "%.*s",
                   (int)partitions[i].metadata.len,
                   partitions[i].metadata.data == NULL ? "" : partitions[i].metadata.data);
  }
}

static void on_revoked(void *arg, const struct sip_partition *partitions, size_t count, bool lost)
{
  struct owner *owner = arg;

  (void)partitions;
  owner->revoked += count;
  if (!lost && !owner->keep_revoked) {
    owner->ops->give_back(owner->source);
  }
}

static void on_error(void *arg, const struct sip_err *err, bool fatal)
{
  struct owner *owner = arg;

  (void)err;
  (void)fatal;
  owner->errors++;
}

static void on_closed(void *arg)
{
  struct owner *owner = arg;

  owner->closed++;
  owner->source = NULL;
}

static const struct sip_source_sink sink = { on_readable, on_assigned, on_revoked,
                                             on_error,    on_closed,   NULL };

static void open_source(struct fixture *fixture, struct owner *owner)
{
  const char *topics[] = { "numbers" };
  struct sip_source_spec spec = {
    .group = "g", .topics = topics, .topic_count = 1, .start_at = SIP_START_BEGINNING
  };
  const struct sip_port *port = sip_kafka_port(fixture->kafka);

  *owner = (struct owner){ .ops = port->source };
  CHECK_INT(owner->ops->open(port->driver, &spec, &sink, owner, &owner->source, NULL), 0);
}

static void close_source(struct fixture *fixture, struct owner *owner)
{
  owner->ops->close(owner->source);
  fixture_wait(fixture, &owner->closed, 1, 20000);
}

static void cluster_start(struct cluster *cluster, struct fixture *fixture)
{
  char text[512];

  cluster->rk = rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), text, sizeof text);
  CHECK(cluster->rk != NULL);
  cluster->mock = rd_kafka_mock_cluster_new(cluster->rk, 1);
  CHECK(cluster->mock != NULL);
  CHECK_INT(rd_kafka_mock_topic_create(cluster->mock, "numbers", PARTITIONS, 1), 0);
  fixture_init(fixture, rd_kafka_mock_cluster_bootstraps(cluster->mock));
  /* Long enough for a starved machine: who loses the session has nothing to commit. */
  CHECK_INT(sip_kafka_settings_set(fixture->settings, "session.timeout.ms", "5000", NULL), 0);
  CHECK_INT(sip_embedded_broker_settings(rd_kafka_mock_cluster_bootstraps(cluster->mock),
                                         fixture->settings, NULL),
            0);
  fixture_engine(fixture);
}

static void cluster_stop(struct cluster *cluster, struct fixture *fixture)
{
  fixture_deinit(fixture);
  rd_kafka_mock_cluster_destroy(cluster->mock);
  rd_kafka_destroy(cluster->rk);
}

/* A commit waits for a moment in which no rebalance is told. */
static void turn_until_sent(struct fixture *fixture, const struct owner *owner)
{
  while (owner->source->commits == 0) {
    CHECK(uv_run(&fixture->loop, UV_RUN_ONCE) != 0);
  }
}

static void turn_until_answered(struct fixture *fixture, const struct owner *owner)
{
  while (owner->source->commits > 0) {
    CHECK(uv_run(&fixture->loop, UV_RUN_ONCE) != 0);
  }
}

/* Commits 5 of both partitions, and the broker answers so. */
static void commit_with(struct fixture *fixture, struct cluster *cluster, struct owner *owner,
                        rd_kafka_resp_err_t res, const char *metadata)
{
  for (int32_t i = 0; i < PARTITIONS; i++) {
    const struct sip_partition partition = { "numbers", i };

    owner->ops->store(owner->source, &partition, 5, metadata);
  }
  rd_kafka_mock_push_request_errors(cluster->mock, OFFSET_COMMIT, 1, res);
  owner->ops->commit(owner->source);
  turn_until_sent(fixture, owner);
  turn_until_answered(fixture, owner);
  CHECK(sip_source_commits(owner->source, NULL)); /* what failed waits for the next time */
}

/* The group may be rebalancing: until a commit is taken. */
static void commit_again(struct fixture *fixture, struct owner *owner)
{
  while (sip_source_commits(owner->source, NULL)) {
    owner->ops->commit(owner->source);
    CHECK(uv_run(&fixture->loop, UV_RUN_ONCE) != 0);
  }
}

/* A second member is on its way, and the broker has begun another generation meanwhile: what was
 * not committed in the old one is kept, with its metadata, for the next. */
static void a_generation_ends_while_a_commit_is_on_its_way(struct fixture *fixture,
                                                           struct cluster *cluster,
                                                           struct owner *owner)
{
  struct owner other;

  owner->keep_revoked = true;
  open_source(fixture, &other);
  fixture_wait(fixture, &owner->revoked, 1, 20000);
  commit_with(fixture, cluster, owner, RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION, "overtaken");
  CHECK_INT(owner->revoked, 1);
  CHECK_INT(owner->source->owned->cnt, PARTITIONS);
  for (int i = 0; i < PARTITIONS; i++) {
    CHECK_INT(owner->source->owned->elems[i].offset, 5);
    CHECK_STR(owner->source->owned->elems[i].metadata, "overtaken");
  }
  owner->keep_revoked = false;
  owner->ops->give_back(owner->source);
  fixture_wait(fixture, &other.assigned, 1, 20000);
  close_source(fixture, &other);
}

int main(void)
{
  const struct sip_partition first = { "numbers", 0 };
  const rd_kafka_topic_partition_t *elem;
  struct owner owner, again;
  struct cluster cluster;
  struct fixture fixture;

  cluster_start(&cluster, &fixture);
  open_source(&fixture, &owner);
  fixture_wait(&fixture, &owner.assigned, PARTITIONS, 20000);
  commit_with(&fixture, &cluster, &owner, RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS, "old");
  CHECK_INT(owner.errors, 0);
  commit_with(&fixture, &cluster, &owner, RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, "older");
  CHECK_INT(owner.errors, 1); /* this one does not pass by itself */
  commit_again(&fixture, &owner);
  a_generation_ends_while_a_commit_is_on_its_way(&fixture, &cluster, &owner);
  close_source(&fixture, &owner);

  open_source(&fixture, &again);
  fixture_wait(&fixture, &again.assigned, PARTITIONS, 20000);
  for (int i = 0; i < PARTITIONS; i++) {
    CHECK_INT(again.next_offset[i], 5);
    CHECK(again.metadata[i][0] != '\0');
  }
  again.ops->store(again.source, &first, 6, "old");
  rd_kafka_mock_push_request_errors(cluster.mock, OFFSET_COMMIT, 1,
                                    RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS);
  again.ops->commit(again.source);
  turn_until_sent(&fixture, &again);
  again.ops->store(again.source, &first, 7, "newer"); /* stays when the other one comes back */
  turn_until_answered(&fixture, &again);
  elem = rd_kafka_topic_partition_list_find(again.source->owned, "numbers", 0);
  CHECK(elem != NULL);
  CHECK_INT(elem->offset, 7);
  CHECK_STR(elem->metadata, "newer");
  close_source(&fixture, &again);
  cluster_stop(&cluster, &fixture);
  return 0;
}
