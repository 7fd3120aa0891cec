/* kafka_admin_lua.c - topics and groups from Lua, each call on the work pool.
 *
 * admin("topics") -> {{name, partitions = {…}}…}
 * admin("describe_topic", name) -> {name, partitions = {{id, leader, replicas, in_sync, low,
 * high}…}} admin("create_topic", name, partitions, replication, {{name, value}…}) -> {name,
 * partitions} admin("delete_topic", name) -> true admin("groups") -> {{name, state, members}…}
 * admin("describe_group", name) -> {name, state, members, offsets = {…}}
 * admin("reset_group", group, topic, "beginning" | "end" | "offset" | "time", value) -> {offsets =
 * {…}} Each or nil, message, code. A cancelled call runs to its end and its result is dropped. Loop
 * thread. */
#include "core/work.h"
#include "kafka/admin.h"
#include "kafka/kafka.h"
#include "kafka/kafka_lua.h"
#include "vm/task.h"
#include "vm/vm.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

static const char JOB[] = "sipeat.kafka.admin";

enum { CONFIG_LIMIT = 64 };

enum job_kind {
  JOB_TOPICS,
  JOB_DESCRIBE_TOPIC,
  JOB_CREATE,
  JOB_DELETE,
  JOB_GROUPS,
  JOB_DESCRIBE_GROUP,
  JOB_RESET
};

static const char *const job_names[] = { "topics", "describe_topic", "create_topic", "delete_topic",
                                         "groups", "describe_group", "reset_group",  NULL };

/* Freed by whoever comes last: the box's __gc, or the end of the work. */
struct job {
  struct sip_wait wait;
  struct sip_work work;
  bool running, collected;
  enum job_kind kind;
  struct sip_kafka_settings *settings;
  char *name, *topic;
  int partitions, replication;
  struct sip_kafka_config config[CONFIG_LIMIT]; /* owned texts */
  size_t config_count;
  enum sip_kafka_reset_to to;
  int64_t value;
  /* results */
  struct sip_kafka_topic_list *topics;
  struct sip_kafka_group_list *groups;
  struct sip_kafka_offset_list *offsets;
  int rc;
  struct sip_err err;
};

static void job_free(struct job *job)
{
  sip_kafka_settings_free(job->settings);
  for (size_t i = 0; i < job->config_count; i++) {
    free((char *)job->config[i].name);
    free((char *)job->config[i].value);
  }
  free(job->name);
  free(job->topic);
  sip_kafka_topic_list_free(job->topics);
  sip_kafka_group_list_free(job->groups);
  sip_kafka_offset_list_free(job->offsets);
  free(job);
}

static int job_gc(lua_State *L)
{
  struct job **box = luaL_checkudata(L, 1, JOB);
  struct job *job = *box;

  *box = NULL;
  if (job != NULL && job->running) {
    job->collected = true;
    sip_work_cancel(&job->work);
  } else if (job != NULL) {
    job_free(job);
  }
  return 0;
}

static int job_group(struct job *job, struct sip_kafka_admin *admin)
{
  int rc = sip_kafka_admin_groups(admin, job->name, &job->groups, &job->err);

  return rc < 0 ? rc : sip_kafka_admin_group_offsets(admin, job->name, &job->offsets, &job->err);
}

/* Pool thread. */
static void job_run(struct sip_work *work)
{
  struct job *job = SIP_CONTAINER(work, struct job, work);
  struct sip_kafka_admin *admin = NULL;
  struct sip_kafka_new_topic topic = { .name = job->name,
                                       .partitions = job->partitions,
                                       .replication = job->replication,
                                       .config = job->config,
                                       .config_count = job->config_count };

  job->rc = sip_kafka_admin_open(&admin, job->settings, 0, &job->err);
  if (job->rc < 0) {
    return;
  }
  switch (job->kind) {
  case JOB_TOPICS:
    job->rc = sip_kafka_admin_topics(admin, NULL, false, &job->topics, &job->err);
    break;
  case JOB_DESCRIBE_TOPIC:
    job->rc = sip_kafka_admin_topics(admin, job->name, true, &job->topics, &job->err);
    break;
  case JOB_CREATE:
    job->rc = sip_kafka_admin_create_topic(admin, &topic, &job->partitions, &job->err);
    break;
  case JOB_DELETE:
    job->rc = sip_kafka_admin_delete_topic(admin, job->name, &job->err);
    break;
  case JOB_GROUPS:
    job->rc = sip_kafka_admin_groups(admin, NULL, &job->groups, &job->err);
    break;
  case JOB_DESCRIBE_GROUP:
    job->rc = job_group(job, admin);
    break;
  case JOB_RESET:
    job->rc = sip_kafka_admin_reset_group(admin, job->name, job->topic, job->to, job->value,
                                          &job->offsets, &job->err);
    break;
  }
  sip_kafka_admin_close(admin);
}

static void job_done(struct sip_work *work, int status)
{
  struct job *job = SIP_CONTAINER(work, struct job, work);

  job->running = false;
  if (job->collected) {
    job_free(job);
  } else {
    sip_wake(&job->wait, status);
  }
}

static void set_integer(lua_State *L, const char *name, lua_Integer value)
{
  lua_pushinteger(L, value);
  lua_setfield(L, -2, name);
}

static void set_known(lua_State *L, const char *name, lua_Integer value)
{
  if (value >= 0) {
    set_integer(L, name, value);
  }
}

static void push_topic(lua_State *L, const struct sip_kafka_topic_info *topic)
{
  lua_createtable(L, 0, 2);
  lua_pushstring(L, topic->name);
  lua_setfield(L, -2, "name");
  lua_createtable(L, (int)topic->partition_count, 0);
  for (size_t i = 0; i < topic->partition_count; i++) {
    const struct sip_kafka_partition_info *partition = &topic->partitions[i];

    lua_createtable(L, 0, 6);
    set_integer(L, "id", partition->id);
    set_known(L, "leader", partition->leader);
    set_integer(L, "replicas", partition->replicas);
    set_integer(L, "in_sync", partition->in_sync);
    set_known(L, "low", partition->low);
    set_known(L, "high", partition->high);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  lua_setfield(L, -2, "partitions");
}

static void push_group(lua_State *L, const struct sip_kafka_group_info *group)
{
  lua_createtable(L, 0, 4);
  lua_pushstring(L, group->name);
  lua_setfield(L, -2, "name");
  lua_pushstring(L, group->state);
  lua_setfield(L, -2, "state");
  set_integer(L, "members", (lua_Integer)group->members);
}

/* Sets the field "offsets" of the table on top. */
static void set_offsets(lua_State *L, const struct sip_kafka_offset_list *list)
{
  lua_createtable(L, (int)list->count, 0);
  for (size_t i = 0; i < list->count; i++) {
    const struct sip_kafka_offset_info *info = &list->offsets[i];

    lua_createtable(L, 0, 6);
    lua_pushstring(L, info->topic);
    lua_setfield(L, -2, "topic");
    set_integer(L, "partition", info->partition);
    set_known(L, "committed", info->committed);
    set_known(L, "low", info->low);
    set_known(L, "high", info->high);
    set_integer(L, "lag", info->lag);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  lua_setfield(L, -2, "offsets");
}

static void push_result(lua_State *L, const struct job *job)
{
  switch (job->kind) {
  case JOB_TOPICS:
    lua_createtable(L, (int)job->topics->count, 0);
    for (size_t i = 0; i < job->topics->count; i++) {
      push_topic(L, &job->topics->topics[i]);
      lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return;
  case JOB_DESCRIBE_TOPIC:
    push_topic(L, &job->topics->topics[0]);
    return;
  case JOB_CREATE:
    lua_createtable(L, 0, 2);
    lua_pushstring(L, job->name);
    lua_setfield(L, -2, "name");
    set_integer(L, "partitions", job->partitions);
    return;
  case JOB_DELETE:
    lua_pushboolean(L, 1);
    return;
  case JOB_GROUPS:
    lua_createtable(L, (int)job->groups->count, 0);
    for (size_t i = 0; i < job->groups->count; i++) {
      push_group(L, &job->groups->groups[i]);
      lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return;
  case JOB_DESCRIBE_GROUP:
    push_group(L, &job->groups->groups[0]);
    set_offsets(L, job->offsets);
    return;
  case JOB_RESET:
    lua_createtable(L, 0, 1);
    set_offsets(L, job->offsets);
    return;
  }
}

static int job_finish(lua_State *L, struct sip_wait *wait)
{
  struct job *job = SIP_CONTAINER(wait, struct job, wait);

  if (wait->status < 0) {
    return sip_push_error(L, wait->status, "kafka admin");
  }
  if (job->rc < 0) {
    return sip_push_err(L, &job->err);
  }
  push_result(L, job);
  return 1;
}

static bool job_copy(char **to, const char *text)
{
  *to = strdup(text);
  return *to != NULL;
}

/* The configuration of a new topic, a list of {name, value} at `arg`. */
static void job_read_config(lua_State *L, struct job *job, int arg)
{
  size_t count = lua_isnoneornil(L, arg) ? 0 : lua_rawlen(L, arg);

  luaL_argcheck(L, count <= CONFIG_LIMIT, arg, "more than 64 settings");
  for (size_t i = 0; i < count; i++) {
    struct sip_kafka_config *config = &job->config[i];
    const char *name, *value;

    luaL_argcheck(L, lua_rawgeti(L, arg, (lua_Integer)i + 1) == LUA_TTABLE, arg,
                  "a setting is {name, value}");
    (void)lua_rawgeti(L, -1, 1);
    (void)lua_rawgeti(L, -2, 2);
    name = luaL_checkstring(L, -2);
    value = luaL_checkstring(L, -1);
    job->config_count = i + 1; /* job_free takes what is there */
    if (!job_copy((char **)&config->name, name) || !job_copy((char **)&config->value, value)) {
      luaL_error(L, "kafka admin: out of memory");
    }
    lua_pop(L, 3);
  }
}

/* Arguments begin at 2. */
static void job_read(lua_State *L, struct job *job)
{
  static const char *const targets[] = { "beginning", "end", "offset", "time", NULL };
  bool ok = true;

  if (job->kind != JOB_TOPICS && job->kind != JOB_GROUPS) {
    ok = job_copy(&job->name, luaL_checkstring(L, 2));
  }
  if (ok && job->kind == JOB_CREATE) {
    job->partitions = (int)luaL_optinteger(L, 3, 0);
    job->replication = (int)luaL_optinteger(L, 4, 0);
    job_read_config(L, job, 5);
  } else if (ok && job->kind == JOB_RESET) {
    ok = job_copy(&job->topic, luaL_checkstring(L, 3));
    job->to = (enum sip_kafka_reset_to)luaL_checkoption(L, 4, NULL, targets);
    job->value = luaL_optinteger(L, 5, 0);
  }
  if (!ok) {
    luaL_error(L, "kafka admin: out of memory");
  }
}

int sip_l_kafka_admin(lua_State *L)
{
  struct sip_kafka *kafka = sip_kafka_of(L);
  enum job_kind kind = (enum job_kind)luaL_checkoption(L, 1, NULL, job_names);
  struct sip_err err;
  struct job **box;
  struct job *job;
  int rc;

  if (sip_kafka_ready(kafka, &err) < 0) {
    return sip_push_err(L, &err);
  }
  lua_settop(L, 5);
  box = sip_box_new(L, JOB, job_gc); /* index 6 */
  job = calloc(1, sizeof *job);
  if (job == NULL) {
    return luaL_error(L, "kafka admin: out of memory");
  }
  *box = job;
  job->kind = kind;
  job_read(L, job);
  if (sip_kafka_settings_copy(&job->settings, sip_kafka_settings(kafka), &err) < 0) {
    return sip_push_err(L, &err);
  }
  sip_wait_init(&job->wait, NULL, job_finish);
  rc = sip_work_start(sip_kafka_loop(kafka), &job->work, job_run, job_done);
  if (rc < 0) {
    return sip_push_error(L, rc, "kafka admin");
  }
  job->running = true;
  return sip_await(L, &job->wait, SIP_FOREVER);
}
