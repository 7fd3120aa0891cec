/* source_test.c - a group member reads what was written, goes on where it stored, and lets go when
 * asked. */
#include "kafka/source.h"

#include "kafka/producer.h"
#include "kafka_fixture.h"

#include <inttypes.h>

enum { MAX_SEEN = 4096 };

/* One owner of a source, which counts what it is told. */
struct owner {
  struct fixture *fixture;
  struct sip_source *source;
  const struct sip_source_ops *ops;
  size_t assigned, revoked, lost, errors, fatal, closed, readable;
  size_t partitions; /* held now */
  size_t seen, headers;
  bool hold;         /* leave records where they are */
  bool keep_revoked; /* do not give back by itself */
  bool store;        /* store each record when it is taken */
  char values[MAX_SEEN][16];
  int64_t offsets[MAX_SEEN];
  struct sip_err err;
  size_t ends;
  int64_t end;
  int64_t next_offset; /* of the last assignment, when it was of one partition */
  char metadata[5000];
};

static void take_all(struct owner *owner)
{
  struct sip_record records[16];
  size_t count;

  while ((count = owner->ops->take(owner->source, records, 16)) > 0) {
    for (size_t i = 0; i < count; i++) {
      struct sip_partition partition = { records[i].topic, records[i].partition };

      CHECK(owner->seen < MAX_SEEN);
      (void)snprintf(owner->values[owner->seen], sizeof owner->values[0], "%.*s",
                     (int)records[i].value.len,
                     records[i].value.data == NULL ? "" : records[i].value.data);
      owner->offsets[owner->seen++] = records[i].offset;
      if (owner->store) {
        owner->ops->store(owner->source, &partition, records[i].offset + 1, NULL);
      }
      owner->ops->release(&records[i]);
    }
  }
}

static void on_readable(void *arg)
{
  struct owner *owner = arg;

  owner->readable++;
  if (!owner->hold) {
    take_all(owner);
  }
}

static void on_assigned(void *arg, const struct sip_assigned *partitions, size_t count)
{
  struct owner *owner = arg;

  if (count == 1) {
    owner->next_offset = partitions[0].next_offset;
    (void)snprintf(owner->metadata, sizeof owner->metadata, "%.*s", (int)partitions[0].metadata.len,
                   partitions[0].metadata.data == NULL ? "" : partitions[0].metadata.data);
  }
  owner->assigned++;
  owner->partitions += count;
}

static void on_revoked(void *arg, const struct sip_partition *partitions, size_t count, bool lost)
{
  struct owner *owner = arg;

  CHECK(partitions[0].topic != NULL);
  owner->revoked++;
  owner->lost += lost;
  owner->partitions -= count;
  if (!lost && !owner->keep_revoked) {
    owner->ops->give_back(owner->source);
  }
}

static void on_error(void *arg, const struct sip_err *err, bool fatal)
{
  struct owner *owner = arg;

  owner->errors++;
  owner->fatal += fatal;
  owner->err = *err;
}

static void on_closed(void *arg)
{
  struct owner *owner = arg;

  owner->closed++;
  owner->source = NULL;
}

static void on_end(void *arg, const struct sip_partition *partition, int64_t offset)
{
  struct owner *owner = arg;

  CHECK_STR(partition->topic, "numbers");
  if (owner->partitions == 1) { /* never before what lies in front of it was taken */
    CHECK(owner->seen == 0 || offset <= owner->offsets[owner->seen - 1] + 1);
    owner->end = offset;
  }
  owner->ends++;
}

static const struct sip_source_sink sink = { on_readable, on_assigned, on_revoked,
                                             on_error,    on_closed,   on_end };

static void open_source(struct owner *owner, const char *group, const char *topic,
                        enum sip_start_at start_at, int64_t start_ms)
{
  const char *topics[] = { topic };
  struct sip_source_spec spec = {
    .group = group, .topics = topics, .topic_count = 1, .start_at = start_at, .start_ms = start_ms
  };
  const struct sip_port *port = sip_kafka_port(owner->fixture->kafka);
  struct sip_err err = { 0 };

  owner->ops = port->source;
  CHECK_INT(owner->ops->open(port->driver, &spec, &sink, owner, &owner->source, &err), 0);
}

static void close_source(struct owner *owner)
{
  owner->ops->close(owner->source);
  fixture_wait(owner->fixture, &owner->closed, 1, 10000);
}

static void on_report(void *arg, int status, int32_t partition, int64_t offset,
                      const struct sip_err *err)
{
  (void)partition;
  (void)offset;
  (void)err;
  CHECK_INT(status, 0);
  ++*(size_t *)arg;
}

/* Writes "0", "1", … to a partition, one second apart from `first_ms`. */
static void write_to(struct fixture *fixture, const char *topic, int32_t partition, int from,
                     int to, int64_t first_ms)
{
  static const struct sip_header headers[] = {
    { "a", { "1", 1 } }, { "a", { "\0\xff", 2 } }, { "null", { NULL, 0 } }, { "empty", { "", 0 } }
  };
  const struct sip_port *port = sip_kafka_port(fixture->kafka);
  size_t reports = 0;

  for (int i = from; i < to; i++) {
    char value[16];
    struct sip_output output = { .topic = topic,
                                 .partition = partition,
                                 .value = { value, (size_t)snprintf(value, sizeof value, "%d", i) },
                                 .headers = headers,
                                 .header_count = 4,
                                 .timestamp_ms = first_ms == 0 ? 0 : first_ms + 1000 * i };

    CHECK_INT(port->producer.ops->send(port->producer.driver, &output, on_report, &reports, NULL),
              0);
  }
  fixture_wait(fixture, &reports, (size_t)(to - from), 10000);
}

static void write_numbers(struct fixture *fixture, const char *topic, int from, int to,
                          int64_t first_ms)
{
  write_to(fixture, topic, 0, from, to, first_ms);
}

static void start(struct fixture *fixture, struct owner *owner, const char *topic, int partitions)
{
  fixture_init(fixture, NULL);
  CHECK_INT(sip_embedded_broker_create_topic(fixture->broker, topic, partitions, NULL), 0);
  fixture_engine(fixture);
  *owner = (struct owner){ .fixture = fixture };
}

static void a_reopened_group_goes_on_after_what_was_stored(void)
{
  static struct owner owner, again;
  struct fixture fixture;

  start(&fixture, &owner, "numbers", 1);
  write_numbers(&fixture, "numbers", 0, 10, 0);
  owner.store = true;
  open_source(&owner, "g", "numbers", SIP_START_BEGINNING, 0);
  fixture_wait(&fixture, &owner.seen, 10, 15000);
  CHECK_STR(owner.values[0], "0");
  CHECK_STR(owner.values[9], "9");
  CHECK_INT(owner.offsets[9], 9);
  while (owner.end < 10) {
    size_t ends = owner.ends;

    fixture_wait(&fixture, &owner.ends, ends + 1, 10000);
  }
  CHECK_INT(owner.end, 10);
  close_source(&owner);
  CHECK_INT(owner.errors, 0);
  write_numbers(&fixture, "numbers", 10, 13, 0);
  again = (struct owner){ .fixture = &fixture };
  open_source(&again, "g", "numbers", SIP_START_BEGINNING, 0);
  fixture_wait(&fixture, &again.seen, 3, 15000);
  CHECK_STR(again.values[0], "10");
  close_source(&again);
  fixture_deinit(&fixture);
}

static void what_was_not_stored_comes_again(void)
{
  static struct owner owner, again;
  struct fixture fixture;
  struct sip_partition partition = { "numbers", 0 };

  start(&fixture, &owner, "numbers", 1);
  write_numbers(&fixture, "numbers", 0, 5, 0);
  open_source(&owner, "g", "numbers", SIP_START_BEGINNING, 0);
  fixture_wait(&fixture, &owner.seen, 5, 15000);
  owner.ops->store(owner.source, &partition, 2, "beside it");
  close_source(&owner);
  again = (struct owner){ .fixture = &fixture };
  open_source(&again, "g", "numbers", SIP_START_BEGINNING, 0);
  fixture_wait(&fixture, &again.seen, 3, 15000);
  CHECK_STR(again.values[0], "2");
  CHECK_INT(again.next_offset, 2);
  CHECK_STR(again.metadata, "beside it");
  close_source(&again);
  fixture_deinit(&fixture);
}

static void headers_keep_bytes_nulls_and_repeats(void)
{
  static struct owner owner;
  struct fixture fixture;
  struct sip_record record;
  struct sip_header header;

  start(&fixture, &owner, "numbers", 1);
  write_numbers(&fixture, "numbers", 0, 1, 1700000000000);
  owner.hold = true;
  open_source(&owner, "g", "numbers", SIP_START_BEGINNING, 0);
  fixture_wait(&fixture, &owner.readable, 1, 15000);
  CHECK_INT(owner.ops->take(owner.source, &record, 1), 1);
  CHECK_INT(owner.ops->header_count(&record), 4);
  header = owner.ops->header(&record, 1);
  CHECK_STR(header.name, "a");
  CHECK_INT(header.value.len, 2);
  CHECK(memcmp(header.value.data, "\0\xff", 2) == 0);
  header = owner.ops->header(&record, 2);
  CHECK_STR(header.name, "null");
  CHECK(header.value.data == NULL);
  header = owner.ops->header(&record, 3);
  CHECK(header.value.data != NULL && header.value.len == 0);
  CHECK(record.key.data == NULL);
  CHECK_INT(record.timestamp_ms, 1700000000000);
  /* Close waits for the record. */
  owner.ops->close(owner.source);
  CHECK_INT(owner.closed, 0);
  owner.ops->release(&record);
  fixture_wait(&fixture, &owner.closed, 1, 10000);
  fixture_deinit(&fixture);
}

static void a_start_time_skips_what_is_older(void)
{
  static struct owner owner;
  struct fixture fixture;

  start(&fixture, &owner, "numbers", 2);
  write_numbers(&fixture, "numbers", 0, 10, 0);
  open_source(&owner, "g", "numbers", SIP_START_TIME, 0);
  fixture_wait(&fixture, &owner.seen, 10, 20000);
  close_source(&owner);
  fixture_deinit(&fixture);
}

static void from_the_end_only_new_records_come(void)
{
  static struct owner owner;
  struct fixture fixture;

  start(&fixture, &owner, "numbers", 1);
  write_numbers(&fixture, "numbers", 0, 5, 0);
  open_source(&owner, "g", "numbers", SIP_START_END, 0);
  fixture_wait(&fixture, &owner.assigned, 1, 15000);
  for (int i = 5; owner.seen == 0 && i < 40; i++) { /* until the end has been looked up */
    write_numbers(&fixture, "numbers", i, i + 1, 0);
  }
  fixture_wait(&fixture, &owner.seen, 1, 10000);
  CHECK(atoi(owner.values[0]) >= 5);
  close_source(&owner);
  fixture_deinit(&fixture);
}

static void a_paused_partition_gives_nothing_until_resumed(void)
{
  static struct owner owner;
  struct fixture fixture;
  struct sip_partition partition = { "numbers", 0 };

  start(&fixture, &owner, "numbers", 1);
  write_numbers(&fixture, "numbers", 0, 3, 0);
  open_source(&owner, "g", "numbers", SIP_START_BEGINNING, 0);
  fixture_wait(&fixture, &owner.seen, 3, 15000);
  owner.ops->pause(owner.source, &partition);
  write_numbers(&fixture, "numbers", 3, 6, 0);
  write_numbers(&fixture, "other", 0, 50, 0); /* gives the fetcher its time */
  CHECK_INT(owner.seen, 3);
  owner.ops->resume(owner.source, &partition);
  fixture_wait(&fixture, &owner.seen, 6, 10000);
  CHECK_STR(owner.values[3], "3");
  close_source(&owner);
  fixture_deinit(&fixture);
}

static void a_second_member_gets_its_share_when_the_first_gives_back(void)
{
  static struct owner first, second;
  struct fixture fixture;

  start(&fixture, &first, "numbers", 4);
  first.keep_revoked = true;
  first.store = true;
  second = (struct owner){ .fixture = &fixture };
  open_source(&first, "g", "numbers", SIP_START_BEGINNING, 0);
  fixture_wait(&fixture, &first.partitions, 4, 15000);
  open_source(&second, "g", "numbers", SIP_START_BEGINNING, 0);
  fixture_wait(&fixture, &first.revoked, 1, 20000);
  CHECK_INT(first.lost, 0);
  CHECK_INT(second.partitions, 0); /* not before they are given back */
  first.keep_revoked = false;
  first.ops->give_back(first.source);
  fixture_wait(&fixture, &second.partitions, 2, 30000);
  CHECK_INT(first.partitions, 2);
  close_source(&first);
  close_source(&second);
  fixture_deinit(&fixture);
}

static void a_partition_that_comes_back_is_not_paused(void)
{
  enum { PARTITIONS = 4, EACH = 3 };
  static struct owner first, second;
  struct fixture fixture;

  start(&fixture, &first, "numbers", PARTITIONS);
  second = (struct owner){ .fixture = &fixture };
  open_source(&first, "g", "numbers", SIP_START_BEGINNING, 0);
  fixture_wait(&fixture, &first.partitions, PARTITIONS, 15000);
  for (int32_t i = 0; i < PARTITIONS; i++) {
    first.ops->pause(first.source, &(struct sip_partition){ "numbers", i });
  }
  open_source(&second, "g", "numbers", SIP_START_BEGINNING, 0);
  fixture_wait(&fixture, &second.partitions, PARTITIONS / 2, 30000);
  close_source(&second);
  fixture_wait(&fixture, &first.partitions, PARTITIONS, 30000);
  for (int32_t i = 0; i < PARTITIONS; i++) {
    write_to(&fixture, "numbers", i, 0, EACH, 0);
  }
  fixture_wait(&fixture, &first.seen, PARTITIONS / 2 * EACH, 10000);
  CHECK_INT(first.seen, PARTITIONS / 2 * EACH); /* those that stayed are paused still */
  close_source(&first);
  fixture_deinit(&fixture);
}

static void a_pattern_finds_topics(void)
{
  static struct owner owner;
  struct fixture fixture;

  start(&fixture, &owner, "numbers.a", 1);
  write_numbers(&fixture, "numbers.a", 0, 2, 0);
  open_source(&owner, "g", "^numbers\\..*", SIP_START_BEGINNING, 0);
  fixture_wait(&fixture, &owner.seen, 2, 20000);
  close_source(&owner);
  fixture_deinit(&fixture);
}

static void an_unreachable_broker_does_not_hold_up_the_close(void)
{
  static struct owner owner;
  struct fixture fixture;
  uint64_t began;

  fixture_init(&fixture, "127.0.0.1:1");
  fixture_engine(&fixture);
  owner = (struct owner){ .fixture = &fixture };
  open_source(&owner, "g", "numbers", SIP_START_BEGINNING, 0);
  CHECK(!sip_kafka_connected(fixture.kafka));
  began = uv_hrtime();
  close_source(&owner);
  CHECK_INT(owner.errors, 0);
  CHECK((uv_hrtime() - began) / 1000000 < 8000);
  fixture_deinit(&fixture);
}

static void closing_the_engine_closes_sources_that_hold_an_unanswered_revoke(void)
{
  static struct owner first, second;
  struct fixture fixture;

  start(&fixture, &first, "numbers", 2);
  first.keep_revoked = true;
  second = (struct owner){ .fixture = &fixture };
  open_source(&first, "g", "numbers", SIP_START_BEGINNING, 0);
  fixture_wait(&fixture, &first.partitions, 2, 15000);
  open_source(&second, "g", "numbers", SIP_START_BEGINNING, 0);
  fixture_wait(&fixture, &first.revoked, 1, 20000);
  sip_kafka_close(fixture.kafka, 1000);
  fixture.kafka = NULL;
  (void)uv_run(&fixture.loop, UV_RUN_DEFAULT);
  CHECK_INT(first.closed, 1);
  CHECK_INT(second.closed, 1);
  fixture_deinit(&fixture);
}

/* librdkafka 2.0.2 aborts when such a handle is destroyed (its issue 4312). */
static void a_member_may_close_before_its_first_assignment(void)
{
  static struct owner owner, busy;
  struct fixture fixture;

  start(&fixture, &owner, "numbers", 1);
  open_source(&owner, "g", "numbers", SIP_START_BEGINNING, 0);
  close_source(&owner); /* before it asked to join */
  owner = (struct owner){ .fixture = &fixture };
  busy = (struct owner){ .fixture = &fixture };
  open_source(&busy, "other", "numbers", SIP_START_BEGINNING, 0);
  open_source(&owner, "g", "numbers", SIP_START_BEGINNING, 0);
  write_numbers(&fixture, "numbers", 0, 200, 0); /* gives it the time to ask */
  close_source(&owner);
  CHECK_INT(owner.assigned, 0);
  close_source(&busy);
  fixture_deinit(&fixture);
}

int main(void)
{
  a_member_may_close_before_its_first_assignment();
  a_reopened_group_goes_on_after_what_was_stored();
  what_was_not_stored_comes_again();
  headers_keep_bytes_nulls_and_repeats();
  a_start_time_skips_what_is_older();
  from_the_end_only_new_records_come();
  a_paused_partition_gives_nothing_until_resumed();
  a_second_member_gets_its_share_when_the_first_gives_back();
  a_partition_that_comes_back_is_not_paused();
  a_pattern_finds_topics();
  an_unreachable_broker_does_not_hold_up_the_close();
  closing_the_engine_closes_sources_that_hold_an_unanswered_revoke();
  return 0;
}
