/* log_test.c - the log of events in memory, through the port that the flow engine uses. */
#include "memory/log.h"

#include "core/clock.h"
#include "support/test.h"

enum { MOST = 16 };

struct member {
  struct sip_source *source;
  int assigned, readable, closed, ends, errors;
  int64_t next_offset; /* of the last assignment */
  char metadata[32];
  int64_t end; /* the last one told */
};

struct writer {
  struct sip_transactor *transactor;
  int open, committed, lost, closed;
};

struct world {
  uv_loop_t loop;
  struct sip_clock clock;
  struct sip_memory_log *log;
  const struct sip_port *port;
  int reports;
  int64_t reported;
};

static void on_readable(void *owner)
{
  ((struct member *)owner)->readable++;
}

static void on_assigned(void *owner, const struct sip_assigned *partitions, size_t count)
{
  struct member *member = owner;

  member->assigned += (int)count;
  if (count > 0) {
    member->next_offset = partitions[0].next_offset;
    (void)snprintf(member->metadata, sizeof member->metadata, "%.*s",
                   (int)partitions[0].metadata.len, partitions[0].metadata.data);
  }
}

static void on_error(void *owner, const struct sip_err *err, bool fatal)
{
  (void)err;
  (void)fatal;
  ((struct member *)owner)->errors++;
}

static void on_closed(void *owner)
{
  ((struct member *)owner)->closed++;
}

static void on_end(void *owner, const struct sip_partition *partition, int64_t offset)
{
  struct member *member = owner;

  CHECK_INT(partition->partition, 0);
  member->ends++;
  member->end = offset;
}

static const struct sip_source_sink sink = { .on_readable = on_readable,
                                             .on_assigned = on_assigned,
                                             .on_error = on_error,
                                             .on_closed = on_closed,
                                             .on_end = on_end };

static void writer_on_open(void *owner)
{
  ((struct writer *)owner)->open++;
}

static void writer_on_committed(void *owner)
{
  ((struct writer *)owner)->committed++;
}

static void writer_on_failed(void *owner, const struct sip_err *err)
{
  (void)err;
  ((struct writer *)owner)->lost++;
}

static void writer_on_closed(void *owner)
{
  ((struct writer *)owner)->closed++;
}

static const struct sip_transactor_sink writer_sink = { .on_open = writer_on_open,
                                                        .on_committed = writer_on_committed,
                                                        .on_broken = writer_on_failed,
                                                        .on_lost = writer_on_failed,
                                                        .on_closed = writer_on_closed };

static void on_report(void *arg, int status, int32_t partition, int64_t offset,
                      const struct sip_err *err)
{
  struct world *w = arg;

  (void)err;
  CHECK_INT(status, 0);
  CHECK_INT(partition, 0);
  w->reports++;
  w->reported = offset;
}

static void turn(struct world *w)
{
  (void)uv_run(&w->loop, UV_RUN_DEFAULT);
}

static void world_start(struct world *w)
{
  struct sip_err err;

  memset(w, 0, sizeof *w);
  CHECK_INT(uv_loop_init(&w->loop), 0);
  sip_clock_init(&w->clock, &w->loop);
  sip_clock_make_virtual(&w->clock, 5000);
  CHECK_INT(sip_memory_log_new(&w->log, &w->loop, &w->clock, &err), 0);
  w->port = sip_memory_log_port(w->log);
}

static void world_end(struct world *w)
{
  sip_memory_log_free(w->log);
  SIP_TEST_END(&w->loop);
}

static void join(struct world *w, struct member *member, const char *group, const char *topic,
                 enum sip_start_at start_at)
{
  const struct sip_source_spec spec = {
    .group = group, .topics = &topic, .topic_count = 1, .start_at = start_at, .start_ms = 6000
  };
  struct sip_err err;

  memset(member, 0, sizeof *member);
  CHECK_INT(w->port->source->open(w->port->driver, &spec, &sink, member, &member->source, &err), 0);
  CHECK_INT(member->assigned, 0); /* not from inside of the call */
  turn(w);
}

static void leave(struct world *w, struct member *member)
{
  w->port->source->close(member->source);
  CHECK_INT(member->closed, 0);
  turn(w);
  CHECK_INT(member->closed, 1);
}

static void put(struct world *w, const char *topic, const char *value)
{
  const struct sip_header headers[] = { { "h", { "1", 1 } }, { "null", { NULL, 0 } } };
  const struct sip_output output = { .topic = topic,
                                     .key = { "k", 1 },
                                     .value = { value, strlen(value) },
                                     .headers = headers,
                                     .header_count = 2,
                                     .partition = -1 };
  struct sip_err err;
  int64_t offset;

  CHECK_INT(sip_memory_log_append(w->log, &output, &offset, &err), 0);
}

static void a_member_takes_what_is_written_and_goes_on_where_its_group_was(void)
{
  struct sip_record records[MOST];
  struct sip_header header;
  struct member member;
  struct world w;

  world_start(&w);
  put(&w, "t", "one");
  join(&w, &member, "g", "t", SIP_START_BEGINNING);
  CHECK_INT(member.assigned, 1);
  CHECK_INT(member.next_offset, -1);
  CHECK_INT(member.readable, 1);
  put(&w, "t", "two");
  put(&w, "other", "x");
  CHECK_INT(w.port->source->take(member.source, records, MOST), 2);
  CHECK_STR(records[0].topic, "t");
  CHECK(records[1].offset == 1 && records[1].timestamp_ms == 5000);
  CHECK(records[1].value.len == 3 && memcmp(records[1].value.data, "two", 3) == 0);
  CHECK_INT(w.port->source->header_count(&records[0]), 2);
  header = w.port->source->header(&records[0], 1);
  CHECK_STR(header.name, "null");
  CHECK(header.value.data == NULL);
  turn(&w);
  CHECK_INT(member.end, 2);
  w.port->source->store(member.source, &(struct sip_partition){ "t", 0 }, 1, "beyond");
  for (int i = 0; i < 2; i++) {
    w.port->source->release(&records[i]);
  }
  CHECK_INT(sip_memory_log_committed(w.log, "g", "t"), 1);
  CHECK_INT(sip_memory_log_committed(w.log, "other", "t"), -1);
  leave(&w, &member);
  join(&w, &member, "g", "t", SIP_START_END);
  CHECK_INT(member.next_offset, 1);
  CHECK_STR(member.metadata, "beyond");
  CHECK_INT(w.port->source->take(member.source, records, MOST), 1);
  CHECK_INT(records[0].offset, 1);
  leave(&w, &member);
  world_end(&w);
}

static void a_pattern_takes_topics_that_come_later(void)
{
  struct sip_record records[MOST];
  struct member member;
  struct world w;

  world_start(&w);
  join(&w, &member, "g", "^a[.].+$", SIP_START_END);
  CHECK_INT(member.assigned, 0);
  put(&w, "b.x", "no");
  put(&w, "a.x", "yes");
  turn(&w);
  CHECK_INT(member.assigned, 1);
  CHECK_INT(w.port->source->take(member.source, records, MOST), 1); /* from its first record on */
  CHECK_STR(records[0].topic, "a.x");
  leave(&w, &member);
  world_end(&w);
}

static void where_a_group_begins(void)
{
  struct sip_record records[MOST];
  struct member member;
  struct world w;

  world_start(&w);
  put(&w, "t", "at 5000");
  join(&w, &member, "end", "t", SIP_START_END);
  CHECK_INT(w.port->source->take(member.source, records, MOST), 0);
  leave(&w, &member);
  w.clock.now_ns = 1000 * UINT64_C(1000000);
  put(&w, "t", "at 6000");
  join(&w, &member, "time", "t", SIP_START_TIME);
  CHECK_INT(w.port->source->take(member.source, records, MOST), 1);
  CHECK_INT(records[0].offset, 1);
  leave(&w, &member);
  world_end(&w);
}

static void a_partition_that_is_paused_gives_nothing(void)
{
  const struct sip_partition name = { "t", 0 };
  struct sip_record records[MOST];
  struct member member;
  struct world w;

  world_start(&w);
  join(&w, &member, "g", "t", SIP_START_BEGINNING);
  w.port->source->pause(member.source, &name);
  put(&w, "t", "one");
  turn(&w);
  CHECK_INT(member.readable, 0);
  CHECK_INT(w.port->source->take(member.source, records, MOST), 0);
  w.port->source->resume(member.source, &name);
  turn(&w);
  CHECK_INT(member.readable, 1);
  CHECK_INT(w.port->source->take(member.source, records, MOST), 1);
  leave(&w, &member);
  world_end(&w);
}

static void a_pattern_that_is_none_opens_nothing(void)
{
  const char *topic = "^(";
  const struct sip_source_spec spec = { .group = "g", .topics = &topic, .topic_count = 1 };
  struct sip_source *source = NULL;
  struct member member = { 0 };
  struct sip_err err;
  struct world w;

  world_start(&w);
  CHECK_INT(w.port->source->open(w.port->driver, &spec, &sink, &member, &source, &err),
            SIP_ECONFIG);
  CHECK_HAS(err.message, "^(");
  CHECK(source == NULL);
  world_end(&w);
}

static void an_output_is_reported_later(void)
{
  const struct sip_output output = { .topic = "out", .value = { "v", 1 }, .partition = -1 };
  struct sip_err err;
  struct world w;

  world_start(&w);
  put(&w, "out", "before");
  CHECK_INT(w.port->producer.ops->send(w.port->producer.driver, &output, on_report, &w, &err), 0);
  CHECK_INT(w.reports, 0);
  turn(&w);
  CHECK_INT(w.reports, 1);
  CHECK_INT(w.reported, 1);
  CHECK_INT(sip_memory_topic_count(sip_memory_log_find(w.log, "out")), 2);
  world_end(&w);
}

static size_t count_of(const struct world *w, const char *topic)
{
  const struct sip_memory_topic *found = sip_memory_log_find(w->log, topic);

  return found == NULL ? 0 : sip_memory_topic_count(found);
}

static void outputs_of_a_transaction_stand_there_once_it_is_committed(void)
{
  const struct sip_output output = { .topic = "out", .value = { "v", 1 }, .partition = -1 };
  const struct sip_next_offset next = { { "t", 0 }, 7 };
  const struct sip_transactor_ops *ops;
  struct writer writer = { 0 };
  struct member member;
  struct sip_err err;
  struct world w;

  world_start(&w);
  ops = w.port->transactor;
  put(&w, "t", "in");
  join(&w, &member, "g", "t", SIP_START_BEGINNING);
  CHECK_INT(ops->open(w.port->driver, "g", &writer_sink, &writer, &writer.transactor, &err), 0);
  CHECK_INT(ops->send(writer.transactor, &output, on_report, &w, &err), SIP_EQUEUEFULL);
  turn(&w);
  CHECK_INT(writer.open, 1);
  CHECK_INT(ops->send(writer.transactor, &output, on_report, &w, &err), 0);
  turn(&w);
  CHECK_INT(w.reports, 1);
  CHECK_INT(count_of(&w, "out"), 0);
  ops->roll_back(writer.transactor);
  turn(&w);
  CHECK_INT(writer.open, 2);
  CHECK_INT(ops->send(writer.transactor, &output, on_report, &w, &err), 0);
  turn(&w);
  ops->commit(writer.transactor, member.source, &next, 1);
  CHECK_INT(writer.committed, 0); /* not from inside of the call */
  turn(&w);
  CHECK(writer.committed == 1 && writer.open == 3 && writer.lost == 0);
  CHECK_INT(count_of(&w, "out"), 1);
  CHECK_INT(sip_memory_log_committed(w.log, "g", "t"), 7);
  CHECK_INT(ops->send(writer.transactor, &output, on_report, &w, &err), 0);
  ops->close(writer.transactor);
  turn(&w);
  CHECK_INT(writer.closed, 1);
  CHECK_INT(w.reports, 3);
  CHECK_INT(count_of(&w, "out"), 1);
  leave(&w, &member);
  world_end(&w);
}

int main(void)
{
  a_member_takes_what_is_written_and_goes_on_where_its_group_was();
  a_pattern_takes_topics_that_come_later();
  where_a_group_begins();
  a_partition_that_is_paused_gives_nothing();
  a_pattern_that_is_none_opens_nothing();
  an_output_is_reported_later();
  outputs_of_a_transaction_stand_there_once_it_is_committed();
  return 0;
}
