/* kafka_consumer_lua.c - consumers and readers in Lua: one source each, records one by one.
 *
 *   consumer(group, topics, from?) -> c | nil, message, code     a member of a consumer group
 *   reader(topic, from?, spans?, only?, sieve?) -> c | nil, message, code   a topic without a group
 *     from: "beginning" (default), "end", or ms since 1970-01-01 UTC, for partitions without a
 *     committed offset. spans: for each partition, the first one being partition 0, {first offset?,
 *     offset to stop before?}, or false when it is not read. only: partitions beyond them are not.
 *     sieve: what does not pass it is passed over (kafka_sieve_lua.c).
 *   c:next(timeout_ms?) -> record | nil, message, code
 *     "ETIMEDOUT"; "END" when a reader has read everything for now; "EAGAIN" when the record that
 *     woke the task has gone with its partition: call again; "EBUSY" when another task waits;
 *     "CLOSED"; "PASSED" when so many records were passed over that others shall run: call again
 *   c:passed() -> number   how many records the sieve has passed over
 *   c:take(max, timeout_ms?) -> {record…} | as next   what there is, up to max records or some
 *     megabytes; waits for the first one
 *   c:store(topic, partition, next_offset) -> true   committed within a second, and at close
 *   c:close() -> true | nil, message, code           waits until the group has been left
 *   record = {topic, partition, offset, timestamp, timestamp_type, key?, value?,
 *     headers = {{name, value?}…}}
 *
 * Loop thread. */
#include "core/log.h"
#include "kafka/kafka.h"
#include "kafka/kafka_lua.h"
#include "kafka/sieve.h"
#include "kafka/source.h"
#include "vm/permissions.h"
#include "vm/task.h"
#include "vm/vm.h"

#include <lauxlib.h>
#include <stdlib.h>

static const char CONSUMER[] = "sipeat.kafka.consumer";

enum {
  TOPIC_LIMIT = 256,
  PARTITION_LIMIT = 100000,
  TAKE_BYTES = 8 << 20,
  HELD = 64,
  PASS_LIMIT = 4096,       /* of a sieve in one call: one to three milliseconds */
  PASS_BYTES = 1024 * 1024 /* likewise, of values */
};

/* Freed by whoever comes last: the box's __gc, or on_closed. */
struct consumer {
  struct sip_source *source; /* NULL once it is gone */
  const struct sip_source_ops *ops;
  struct sip_wait next, close;
  bool in_next, in_close; /* a task waits */
  bool closing, collected, reader, told_end;
  lua_Integer wanted;         /* by take; 0: next waits */
  size_t held_at, held_count; /* those between the two were taken and are not pushed yet */
  struct sip_record held[HELD];
  struct sip_sieve *sieve; /* NULL: every record is wanted */
  size_t passed;           /* over by it */
  bool crowded;            /* there may be more to pass over */
  struct sip_err failed;   /* code 0: it did not */
};

static void consumer_begin_close(struct consumer *consumer)
{
  while (consumer->held_at < consumer->held_count) {
    consumer->ops->release(&consumer->held[consumer->held_at++]);
  }
  if (!consumer->closing) {
    consumer->closing = true;
    consumer->ops->close(consumer->source);
  }
  if (consumer->in_next) {
    sip_wake(&consumer->next, SIP_ECLOSED);
  }
}

static void consumer_free(struct consumer *consumer)
{
  if (consumer != NULL) {
    sip_sieve_free(consumer->sieve);
  }
  free(consumer);
}

static int consumer_gc(lua_State *L)
{
  struct consumer **box = luaL_checkudata(L, 1, CONSUMER);
  struct consumer *consumer = *box;

  *box = NULL;
  if (consumer != NULL && consumer->source != NULL) {
    consumer->collected = true;
    consumer_begin_close(consumer);
  } else {
    consumer_free(consumer);
  }
  return 0;
}

static void consumer_on_readable(void *arg)
{
  struct consumer *consumer = arg;

  consumer->told_end = false;
  if (consumer->in_next) {
    sip_wake(&consumer->next, 0);
  }
}

static void consumer_on_assigned(void *arg, const struct sip_assigned *partitions, size_t count)
{
  (void)arg;
  (void)partitions;
  (void)count;
}

/* What was handed out and not stored comes again at the partition's next owner. */
static void consumer_on_revoked(void *arg, const struct sip_partition *partitions, size_t count,
                                bool lost)
{
  struct consumer *consumer = arg;

  (void)partitions;
  (void)count;
  if (!lost) {
    consumer->ops->give_back(consumer->source);
  }
}

static void consumer_on_error(void *arg, const struct sip_err *err, bool fatal)
{
  struct consumer *consumer = arg;

  if (!fatal) {
    sip_log(SIP_LOG_WARN, "kafka", NULL, "%s", err->message);
    return;
  }
  consumer->failed = *err;
  if (consumer->in_next) {
    sip_wake(&consumer->next, 0);
  }
}

static void consumer_on_closed(void *arg)
{
  struct consumer *consumer = arg;

  consumer->source = NULL;
  consumer->closing = true;
  if (consumer->collected) {
    consumer_free(consumer);
    return;
  }
  if (consumer->in_next) {
    sip_wake(&consumer->next, SIP_ECLOSED);
  }
  if (consumer->in_close) {
    sip_wake(&consumer->close, 0);
  }
}

static void set_slice(lua_State *L, const char *name, const struct sip_slice *slice)
{
  if (slice->data != NULL) {
    lua_pushlstring(L, slice->data, slice->len);
    lua_setfield(L, -2, name);
  }
}

static void push_record(lua_State *L, const struct consumer *consumer)
{
  const struct sip_record *record = &consumer->held[consumer->held_at];
  size_t count = consumer->ops->header_count(record);

  lua_createtable(L, 0, 8);
  lua_pushstring(L, record->topic);
  lua_setfield(L, -2, "topic");
  lua_pushinteger(L, record->partition);
  lua_setfield(L, -2, "partition");
  lua_pushinteger(L, record->offset);
  lua_setfield(L, -2, "offset");
  lua_pushinteger(L, record->timestamp_ms);
  lua_setfield(L, -2, "timestamp");
  lua_pushstring(L, record->log_append_time ? "LogAppendTime" : "CreateTime");
  lua_setfield(L, -2, "timestamp_type");
  set_slice(L, "key", &record->key);
  set_slice(L, "value", &record->value);
  lua_createtable(L, (int)count, 0);
  for (size_t i = 0; i < count; i++) {
    struct sip_header header = consumer->ops->header(record, i);

    lua_createtable(L, 2, 0);
    lua_pushstring(L, header.name);
    lua_rawseti(L, -2, 1);
    if (header.value.data != NULL) {
      lua_pushlstring(L, header.value.data, header.value.len);
      lua_rawseti(L, -2, 2);
    }
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  lua_setfield(L, -2, "headers");
}

/* What does not pass the sieve goes; the others move together. @return the bytes looked at */
static size_t consumer_sift(struct consumer *consumer)
{
  size_t kept = 0, bytes = 0;

  for (size_t i = 0; i < consumer->held_count; i++) {
    bytes += consumer->held[i].value.len;
    if (sip_sieve_passes(consumer->sieve, consumer->ops, &consumer->held[i])) {
      consumer->held[kept++] = consumer->held[i];
    } else {
      consumer->ops->release(&consumer->held[i]);
    }
  }
  consumer->passed += consumer->held_count - kept;
  consumer->held_count = kept;
  return bytes;
}

/* As consumer_hold, of what passes the sieve; `crowded` is set when it gave up for this turn. */
static bool consumer_hold_sifted(struct consumer *consumer)
{
  size_t before = consumer->passed, bytes = 0;

  while (consumer->held_at == consumer->held_count && !consumer->closing) {
    if (consumer->passed - before >= PASS_LIMIT || bytes >= PASS_BYTES) {
      consumer->crowded = true;
      return false;
    }
    consumer->held_at = 0;
    consumer->held_count = consumer->ops->take(consumer->source, consumer->held, HELD);
    if (consumer->held_count == 0) {
      return false;
    }
    bytes += consumer_sift(consumer);
  }
  return consumer->held_at < consumer->held_count;
}

/* Takes up to `max` records, unless some are held. @return whether there are any */
static bool consumer_hold(struct consumer *consumer, size_t max)
{
  if (consumer->sieve != NULL) {
    return consumer_hold_sifted(consumer);
  }
  if (consumer->held_at == consumer->held_count && !consumer->closing) {
    consumer->held_at = 0;
    consumer->held_count =
      consumer->ops->take(consumer->source, consumer->held, max < HELD ? max : HELD);
  }
  return consumer->held_at < consumer->held_count;
}

/* Pushes the first one held. May throw: then the next call has it. */
static void push_held(lua_State *L, struct consumer *consumer)
{
  push_record(L, consumer);
  consumer->ops->release(&consumer->held[consumer->held_at]);
  consumer->held_at++;
}

/* Pushes a list of what there is, up to `wanted`; nothing when there is none. */
static bool push_taken(lua_State *L, struct consumer *consumer)
{
  lua_Integer count = 0, wanted = consumer->wanted;
  size_t bytes = 0;

  if (!consumer_hold(consumer, (size_t)wanted)) {
    return false;
  }
  lua_createtable(L, wanted < HELD ? (int)wanted : HELD, 0);
  do {
    bytes += consumer->held[consumer->held_at].value.len;
    push_held(L, consumer);
    lua_rawseti(L, -2, ++count);
  } while (count < wanted && bytes < TAKE_BYTES &&
           consumer_hold(consumer, (size_t)(wanted - count)));
  return true;
}

/* Pushes what there is: a record, or a list for take, or why there is none; 0 when a task has to
 * wait. */
static int next_now(lua_State *L, struct consumer *consumer)
{
  if (consumer->wanted > 0 ? push_taken(L, consumer) : consumer_hold(consumer, 1)) {
    if (consumer->wanted == 0) {
      push_held(L, consumer);
    }
    return 1;
  }
  if (consumer->crowded) {
    consumer->crowded = false;
    lua_pushnil(L);
    lua_pushliteral(L, "next: records were passed over, and there are more");
    lua_pushliteral(L, "PASSED");
    return 3;
  }
  if (consumer->failed.code < 0) {
    return sip_push_err(L, &consumer->failed);
  }
  if (consumer->closing) {
    return sip_push_error(L, SIP_ECLOSED, "next: the consumer is closed");
  }
  if (consumer->reader && !consumer->told_end && sip_source_at_end(consumer->source)) {
    consumer->told_end = true; /* the next call waits for what is written after it */
    lua_pushnil(L);
    lua_pushliteral(L, "next: the end of the topic");
    lua_pushliteral(L, "END");
    return 3;
  }
  return 0;
}

static int next_finish(lua_State *L, struct sip_wait *wait)
{
  struct consumer *consumer = SIP_CONTAINER(wait, struct consumer, next);
  int status = wait->status, results;

  consumer->in_next = false;
  if (status < 0) {
    return sip_push_error(L, status, "next");
  }
  results = next_now(L, consumer);
  if (results == 0) {
    lua_pushnil(L);
    lua_pushliteral(L, "next: the record has gone with its partition");
    lua_pushliteral(L, "EAGAIN");
    results = 3;
  }
  return results;
}

static struct consumer *check_consumer(lua_State *L)
{
  struct consumer *consumer = *(struct consumer **)luaL_checkudata(L, 1, CONSUMER);

  luaL_argcheck(L, consumer != NULL, 1, "the consumer was closed by its <close>");
  return consumer;
}

static int next_or_take(lua_State *L, lua_Integer wanted, lua_Integer timeout_ms)
{
  struct consumer *consumer = check_consumer(L);
  int results;

  lua_settop(L, 1);
  if (consumer->in_next) {
    return sip_push_error(L, SIP_EBUSY, "next: another task waits already");
  }
  consumer->wanted = wanted;
  results = next_now(L, consumer);
  if (results > 0) {
    return results;
  }
  sip_wait_init(&consumer->next, NULL, next_finish);
  consumer->in_next = true;
  return sip_await(L, &consumer->next, timeout_ms < 0 ? SIP_FOREVER : (uint64_t)timeout_ms);
}

static int l_next(lua_State *L)
{
  return next_or_take(L, 0, luaL_optinteger(L, 2, -1));
}

static int l_take(lua_State *L)
{
  lua_Integer wanted = luaL_checkinteger(L, 2);

  luaL_argcheck(L, wanted >= 1 && wanted <= 1000000, 2, "1 to 1,000,000 records");
  return next_or_take(L, wanted, luaL_optinteger(L, 3, -1));
}

static int l_passed(lua_State *L)
{
  lua_pushinteger(L, (lua_Integer)check_consumer(L)->passed);
  return 1;
}

static int l_store(lua_State *L)
{
  struct consumer *consumer = check_consumer(L);
  struct sip_partition partition = { luaL_checkstring(L, 2), (int32_t)luaL_checkinteger(L, 3) };
  lua_Integer next_offset = luaL_checkinteger(L, 4);

  if (consumer->source == NULL || consumer->closing) {
    return sip_push_error(L, SIP_ECLOSED, "commit: the consumer is closed");
  }
  consumer->ops->store(consumer->source, &partition, next_offset, NULL);
  lua_pushboolean(L, 1);
  return 1;
}

static int close_finish(lua_State *L, struct sip_wait *wait)
{
  struct consumer *consumer = SIP_CONTAINER(wait, struct consumer, close);
  int status = wait->status;

  consumer->in_close = false;
  if (status < 0) {
    return sip_push_error(L, status, "close");
  }
  lua_pushboolean(L, 1);
  return 1;
}

static int l_close(lua_State *L)
{
  struct consumer *consumer = check_consumer(L);

  lua_settop(L, 1);
  if (consumer->source == NULL) {
    lua_pushboolean(L, 1);
    return 1;
  }
  if (consumer->in_close) {
    return sip_push_error(L, SIP_EBUSY, "close: another task waits already");
  }
  consumer_begin_close(consumer);
  sip_wait_init(&consumer->close, NULL, close_finish);
  consumer->in_close = true;
  return sip_await(L, &consumer->close, SIP_FOREVER);
}

static const struct sip_source_sink consumer_sink = {
  consumer_on_readable, consumer_on_assigned, consumer_on_revoked,
  consumer_on_error,    consumer_on_closed,   NULL,
};

/* "beginning", "end" or milliseconds. */
static enum sip_start_at check_from(lua_State *L, int arg, int64_t *start_ms)
{
  static const char *const names[] = { "beginning", "end", NULL };

  *start_ms = 0;
  if (lua_isinteger(L, arg)) {
    *start_ms = lua_tointeger(L, arg);
    return SIP_START_TIME;
  }
  return luaL_checkoption(L, arg, "beginning", names) == 0 ? SIP_START_BEGINNING : SIP_START_END;
}

/* Pushes the box and its consumer. */
static struct consumer *push_consumer(lua_State *L)
{
  static const luaL_Reg methods[] = {
    { "next", l_next },   { "take", l_take },   { "passed", l_passed },
    { "store", l_store }, { "close", l_close }, { NULL, NULL },
  };
  struct consumer **box = sip_box_class(L, CONSUMER, consumer_gc, methods);

  *box = calloc(1, sizeof **box);
  if (*box == NULL) {
    luaL_error(L, "kafka consumer: out of memory");
  }
  (*box)->ops = sip_source_operations();
  return *box;
}

int sip_l_kafka_consumer(lua_State *L)
{
  struct sip_kafka *kafka = sip_kafka_of(L);
  struct sip_source_spec spec = { .group = luaL_checkstring(L, 1) };
  const char *topics[TOPIC_LIMIT];
  struct consumer *consumer;
  struct sip_err err;

  luaL_checktype(L, 2, LUA_TTABLE);
  sip_permit(L, SIP_PERMIT_GROUP, spec.group);
  spec.topic_count = lua_rawlen(L, 2);
  luaL_argcheck(L, spec.topic_count > 0 && spec.topic_count <= TOPIC_LIMIT, 2, "1 to 256 topics");
  spec.start_at = check_from(L, 3, &spec.start_ms);
  lua_settop(L, 3);
  for (size_t i = 0; i < spec.topic_count; i++) {
    luaL_argcheck(L, lua_rawgeti(L, 2, (lua_Integer)i + 1) == LUA_TSTRING, 2, "a topic is text");
    topics[i] = lua_tostring(L, -1); /* the table holds it */
    sip_permit(L, SIP_PERMIT_TOPIC, topics[i]);
    lua_pop(L, 1);
  }
  spec.topics = topics;
  consumer = push_consumer(L);
  if (consumer->ops->open(kafka, &spec, &consumer_sink, consumer, &consumer->source, &err) < 0) {
    return sip_push_err(L, &err);
  }
  return 1;
}

/* The i-th item of the table on top, or `fallback`. */
static int64_t span_field(lua_State *L, int i, int64_t fallback)
{
  int64_t value;

  (void)lua_rawgeti(L, -1, i);
  value = luaL_optinteger(L, -1, fallback);
  lua_pop(L, 1);
  return value;
}

/* The spans of the list at `arg`; pushes the block that they are in. */
static const struct sip_source_span *check_spans(lua_State *L, int arg, size_t *count)
{
  struct sip_source_span *spans;

  *count = lua_isnoneornil(L, arg) ? 0 : lua_rawlen(L, arg);
  luaL_argcheck(L, *count <= PARTITION_LIMIT, arg, "too many partitions");
  spans = lua_newuserdatauv(L, (*count + 1) * sizeof *spans, 0);
  for (size_t i = 0; i < *count; i++) {
    spans[i] = (struct sip_source_span){ SIP_SPAN_START, SIP_SPAN_OPEN, true };
    if (lua_rawgeti(L, arg, (lua_Integer)i + 1) == LUA_TTABLE) {
      spans[i].from = span_field(L, 1, SIP_SPAN_START);
      spans[i].to = span_field(L, 2, SIP_SPAN_OPEN);
      spans[i].left_out = false;
    }
    lua_pop(L, 1);
  }
  return spans;
}

int sip_l_kafka_reader(lua_State *L)
{
  struct sip_kafka *kafka = sip_kafka_of(L);
  struct sip_source_direct spec = { .topic = luaL_checkstring(L, 1) };
  struct consumer *consumer;
  struct sip_err err;

  sip_permit(L, SIP_PERMIT_TOPIC, spec.topic);
  spec.start_at = check_from(L, 2, &spec.start_ms);
  spec.only_spans = lua_toboolean(L, 4);
  lua_settop(L, 5);
  spec.spans = check_spans(L, 3, &spec.span_count); /* stays on the stack */
  consumer = push_consumer(L);
  consumer->reader = true;
  sip_l_check_sieve(L, 5, &consumer->sieve);
  if (sip_source_open_direct(kafka, &spec, &consumer_sink, consumer, &consumer->source, &err) < 0) {
    return sip_push_err(L, &err);
  }
  return 1;
}
