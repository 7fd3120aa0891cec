/* kafka_producer_lua.c - sending from Lua.
 *
 * send(topic, key?, value?, headers?, partition?, timestamp_ms?, outbox?) -> sent | nil, message,
 * code
 *   hands the record over, with `outbox` to the local disk; headers is a list of {name, value?}.
 * Fails at once with "_QUEUE_FULL" when the local queue is full, "MSG_SIZE_TOO_LARGE" and the like.
 * sent:wait() -> {topic, partition, offset} | nil, message, code waits for the acknowledgement, or
 * gives what came already; of the outbox {topic, queued = true}. One waiter at a time ("EBUSY"). A
 * send that nobody waits for is delivered all the same.
 * post(record, outbox?) -> true | nil, message, code: as send, for a record whose report nobody
 * wants: a failure is logged. false for a record that is not plain: no table, unknown or wrong
 * fields, or headers that are no list. Loop thread. */
#include "core/log.h"
#include "kafka/kafka.h"
#include "kafka/kafka_lua.h"
#include "vm/lazy.h"
#include "vm/permissions.h"
#include "vm/task.h"
#include "vm/vm.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

static const char SENT[] = "sipeat.kafka.sent";

enum { HEADER_LIMIT = 1024 };

/* Freed by whoever comes last: the box's __gc, or the report. */
struct sent {
  struct sip_wait wait;
  bool waiting, reported, collected;
  int status;
  int32_t partition;
  int64_t offset;
  struct sip_err *err; /* NULL unless it failed and there was memory */
};

static void sent_free(struct sent *sent)
{
  free(sent->err);
  free(sent);
}

static int sent_gc(lua_State *L)
{
  struct sent **box = luaL_checkudata(L, 1, SENT);
  struct sent *sent = *box;

  *box = NULL;
  if (sent != NULL && sent->reported) {
    sent_free(sent);
  } else if (sent != NULL) {
    sent->collected = true;
  }
  return 0;
}

static void sent_on_report(void *arg, int status, int32_t partition, int64_t offset,
                           const struct sip_err *err)
{
  struct sent *sent = arg;

  sent->reported = true;
  if (sent->collected) {
    sent_free(sent);
    return;
  }
  sent->status = status;
  sent->partition = partition;
  sent->offset = offset;
  if (status < 0) {
    sent->err = malloc(sizeof *sent->err);
    if (sent->err != NULL) {
      *sent->err = *err;
    }
  }
  if (sent->waiting) {
    sip_wake(&sent->wait, 0);
  }
}

static int sent_push(lua_State *L, const struct sent *sent, int box)
{
  if (sent->status < 0) {
    return sent->err != NULL ? sip_push_err(L, sent->err) : sip_push_error(L, sent->status, "send");
  }
  lua_createtable(L, 0, 3);
  lua_getiuservalue(L, box, 1);
  lua_setfield(L, -2, "topic");
  if (sent->partition < 0) { /* it is in the outbox, and has no place in the topic yet */
    lua_pushboolean(L, 1);
    lua_setfield(L, -2, "queued");
    return 1;
  }
  lua_pushinteger(L, sent->partition);
  lua_setfield(L, -2, "partition");
  lua_pushinteger(L, sent->offset);
  lua_setfield(L, -2, "offset");
  return 1;
}

static int sent_finish(lua_State *L, struct sip_wait *wait)
{
  struct sent *sent = SIP_CONTAINER(wait, struct sent, wait);
  int status = wait->status;

  sent->waiting = false;
  if (status < 0) {
    return sip_push_error(L, status, "send (the record may still be written)");
  }
  return sent_push(L, sent, 1);
}

static int l_wait(lua_State *L)
{
  struct sent *sent = *(struct sent **)luaL_checkudata(L, 1, SENT);

  if (sent == NULL) {
    return luaL_error(L, "send: used after close");
  }
  lua_settop(L, 1);
  if (sent->reported) {
    return sent_push(L, sent, 1);
  }
  if (sent->waiting) {
    return sip_push_error(L, SIP_EBUSY, "send: another task waits already");
  }
  sip_wait_init(&sent->wait, NULL, sent_finish);
  sent->waiting = true;
  return sip_await(L, &sent->wait, SIP_FOREVER);
}

/* An optional text argument as a slice; nil is no data at all. */
static struct sip_slice opt_slice(lua_State *L, int arg)
{
  struct sip_slice slice = { NULL, 0 };

  if (!lua_isnoneornil(L, arg)) {
    slice.data = luaL_checklstring(L, arg, &slice.len);
  }
  return slice;
}

/* Pushes the block that the headers of the table at `arg` are in. */
static const struct sip_header *read_headers(lua_State *L, int arg, size_t *count)
{
  struct sip_header *headers;

  *count = 0;
  if (lua_isnoneornil(L, arg)) {
    lua_pushnil(L);
    return NULL;
  }
  luaL_checktype(L, arg, LUA_TTABLE);
  sip_lazy_fill(L, arg);
  *count = lua_rawlen(L, arg);
  luaL_argcheck(L, *count <= HEADER_LIMIT, arg, "more than 1024 headers");
  headers = lua_newuserdatauv(L, (*count + 1) * sizeof *headers, 0);
  for (size_t i = 0; i < *count; i++) {
    if (lua_rawgeti(L, arg, (lua_Integer)i + 1) != LUA_TTABLE) {
      luaL_argerror(L, arg, "a header is a list {name, value}");
    }
    sip_lazy_fill(L, -1);
    if (lua_rawgeti(L, -1, 1) != LUA_TSTRING) {
      luaL_argerror(L, arg, "a header's name is text");
    }
    headers[i].name = lua_tostring(L, -1); /* the table holds it */
    headers[i].value = (struct sip_slice){ NULL, 0 };
    if (lua_rawgeti(L, -2, 2) != LUA_TNIL) {
      luaL_argcheck(L, lua_type(L, -1) == LUA_TSTRING, arg, "a header's value is text or nil");
      headers[i].value.data = lua_tolstring(L, -1, &headers[i].value.len);
    }
    lua_pop(L, 3);
  }
  return headers;
}

static const struct sip_outlet *outlet_of(lua_State *L, bool outbox)
{
  const struct sip_port *port = sip_kafka_port(sip_kafka_of(L));
  const struct sip_outlet *outlet = outbox ? &port->outbox : &port->producer;

  if (outlet->ops == NULL) {
    luaL_error(L, "send: this program has no outbox (sipeat run and sipeat dev have)");
  }
  return outlet;
}

static void post_on_report(void *arg, int status, int32_t partition, int64_t offset,
                           const struct sip_err *err)
{
  (void)arg, (void)partition, (void)offset;
  if (status < 0) {
    sip_log(SIP_LOG_ERROR, "kafka", NULL, "a record that was posted is not written: %s",
            err->message);
  }
}

/* The texts of a record, by the length of their names. @return NULL for a field of another kind */
static struct sip_slice *text_field(const char *name, size_t len, struct sip_slice *topic,
                                    struct sip_output *output)
{
  switch (len) {
  case 3:
    return memcmp(name, "key", len) == 0 ? &output->key : NULL;
  case 5:
    return memcmp(name, "topic", len) == 0   ? topic
           : memcmp(name, "value", len) == 0 ? &output->value
                                             : NULL;
  default:
    return NULL;
  }
}

/* A field of a record, name and value on top of the stack; @return whether it is plain */
static bool read_field(lua_State *L, struct sip_output *output, int *headers)
{
  struct sip_slice topic = { NULL, 0 }, *text;
  const char *name;
  size_t len;

  if (lua_type(L, -2) != LUA_TSTRING) {
    return false;
  }
  name = lua_tolstring(L, -2, &len);
  text = text_field(name, len, &topic, output);
  if (text != NULL) {
    if (lua_type(L, -1) != LUA_TSTRING) {
      return false;
    }
    text->data = lua_tolstring(L, -1, &text->len); /* the record holds it */
    output->topic = text == &topic ? topic.data : output->topic;
    return true;
  }
  if (strcmp(name, "partition") == 0) {
    output->partition = (int32_t)lua_tointeger(L, -1);
    return lua_isinteger(L, -1) && output->partition == lua_tointeger(L, -1) &&
           output->partition >= -1;
  }
  if (strcmp(name, "timestamp") == 0) {
    output->timestamp_ms = lua_tointeger(L, -1);
    return lua_isinteger(L, -1) && output->timestamp_ms >= 0;
  }
  if (strcmp(name, "headers") == 0 && lua_istable(L, -1) && *headers == 0) {
    lua_pushvalue(L, -1);
    lua_insert(L, -3); /* below name and value, where it stays */
    *headers = lua_gettop(L) - 2;
    return lua_rawlen(L, *headers) > 0;
  }
  return false;
}

int sip_l_kafka_post(lua_State *L)
{
  const struct sip_outlet *outlet = outlet_of(L, lua_toboolean(L, 2));
  struct sip_output output = { .topic = NULL, .partition = -1 };
  int rc, headers = 0;
  struct sip_err err;

  lua_settop(L, 1);
  lua_pushnil(L);
  while (lua_istable(L, 1) && lua_next(L, 1) != 0) {
    if (!read_field(L, &output, &headers)) {
      output.topic = NULL;
      break;
    }
    lua_pop(L, 1);
  }
  if (output.topic == NULL) {
    lua_pushboolean(L, 0);
    return 1;
  }
  sip_permit(L, SIP_PERMIT_TOPIC, output.topic);
  if (headers != 0) {
    output.headers = read_headers(L, headers, &output.header_count);
  }
  rc = outlet->ops->send(outlet->driver, &output, post_on_report, NULL, &err);
  if (rc < 0) {
    return sip_push_err(L, &err);
  }
  lua_pushboolean(L, 1);
  return 1;
}

int sip_l_kafka_send(lua_State *L)
{
  const struct sip_outlet *outlet = outlet_of(L, lua_toboolean(L, 7));
  struct sip_output output = { .topic = luaL_checkstring(L, 1) };
  struct sip_err err;
  struct sent **box;
  int rc;

  sip_permit(L, SIP_PERMIT_TOPIC, output.topic);
  output.key = opt_slice(L, 2);
  output.value = opt_slice(L, 3);
  output.partition = (int32_t)luaL_optinteger(L, 5, -1);
  output.timestamp_ms = luaL_optinteger(L, 6, 0);
  lua_settop(L, 6);
  output.headers = read_headers(L, 4, &output.header_count); /* index 7 */
  {
    static const luaL_Reg methods[] = { { "wait", l_wait }, { NULL, NULL } };

    box = sip_box_class(L, SENT, sent_gc, methods); /* index 8 */
  }
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, 8, 1);
  *box = calloc(1, sizeof **box);
  if (*box == NULL) {
    return luaL_error(L, "send: out of memory");
  }
  rc = outlet->ops->send(outlet->driver, &output, sent_on_report, *box, &err);
  if (rc < 0) {
    (*box)->reported = true; /* no report follows: the box alone owns it */
    return sip_push_err(L, &err);
  }
  return 1;
}
