/* kafka_admin_lua.c - topics and groups from Lua, each call on the work pool.
 *
 *   admin("topics")                 {{name, partitions = {{id, leader, replicas, in_sync}…}}…}
 *   admin("describe_topics")        the same with low and high in each partition
 *   admin("describe_topic", name)   one of these
 *   admin("offsets_at", name, ms)   likewise, low being the offset for that time
 *   admin("create_topic", name, partitions, replication, {{name, value}…})   {name, partitions}
 *   admin("delete_topic", name)     true
 *   admin("groups")                 {{name, state, members}…}
 *   admin("describe_group", name)   {name, state, members, offsets = {…}}
 *   admin("describe_groups", names?)  all of them, or those
 *   admin("members", group)         {protocol, members = {{id, client_id, host, partitions}…}}
 *   admin("reset_group", group, topic, "beginning" | "end" | "offset" | "time", value)
 *                                   {offsets = {…}}; reset_plan likewise, and changes nothing
 *   admin("cluster")                {id, controller, embedded, brokers = {{id, host, port, …}…}}
 *   admin("topic_configuration", name), admin("broker_configuration", id)   {{name, value, …}…}
 *
 * Each or nil, message, code. A cancelled call runs to its end and its result is dropped. Loop
 * thread. */
#include "kafka/admin.h"
#include "kafka/kafka.h"
#include "kafka/kafka_lua.h"
#include "vm/job.h"
#include "vm/permissions.h"
#include "vm/vm.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

enum { CONFIG_LIMIT = 64, GROUP_LIMIT = 1000 };

enum job_kind {
  JOB_TOPICS,
  JOB_DESCRIBE_TOPICS,
  JOB_DESCRIBE_TOPIC,
  JOB_OFFSETS_AT,
  JOB_CREATE,
  JOB_DELETE,
  JOB_GROUPS,
  JOB_DESCRIBE_GROUP,
  JOB_DESCRIBE_GROUPS,
  JOB_MEMBERS,
  JOB_RESET,
  JOB_RESET_PLAN,
  JOB_CLUSTER,
  JOB_TOPIC_CONFIGURATION,
  JOB_BROKER_CONFIGURATION
};

static const char *const job_names[] = {
  "topics",     "describe_topics",     "describe_topic",
  "offsets_at", "create_topic",        "delete_topic",
  "groups",     "describe_group",      "describe_groups",
  "members",    "reset_group",         "reset_plan",
  "cluster",    "topic_configuration", "broker_configuration",
  NULL
};

struct job {
  struct sip_job base;
  enum job_kind kind;
  struct sip_kafka_settings *settings;
  char *name, *topic;
  char **names; /* of groups; NULL: all of them */
  size_t name_count;
  int partitions, replication;
  struct sip_kafka_config config[CONFIG_LIMIT]; /* owned texts */
  size_t config_count;
  enum sip_kafka_reset_to to;
  int64_t value;
  /* results */
  struct sip_kafka_topic_list *topics;
  struct sip_kafka_group_list *groups;
  struct sip_kafka_offset_list *offsets;
  struct sip_kafka_offset_list **all_offsets; /* one for each of `groups` */
  struct sip_kafka_member_list *members;
  struct sip_kafka_cluster *cluster;
  struct sip_kafka_setting_list *configuration;
  int rc;
  struct sip_err err;
};

static void job_free(struct sip_job *base)
{
  struct job *job = (struct job *)base;

  sip_kafka_settings_free(job->settings);
  for (size_t i = 0; i < job->config_count; i++) {
    free((char *)job->config[i].name);
    free((char *)job->config[i].value);
  }
  free(job->name);
  free(job->topic);
  for (size_t i = 0; i < job->name_count; i++) {
    free(job->names[i]);
  }
  free(job->names);
  sip_kafka_topic_list_free(job->topics);
  sip_kafka_offset_lists_free(job->all_offsets, job->groups == NULL ? 0 : job->groups->count);
  sip_kafka_group_list_free(job->groups);
  sip_kafka_offset_list_free(job->offsets);
  sip_kafka_member_list_free(job->members);
  sip_kafka_cluster_free(job->cluster);
  sip_kafka_setting_list_free(job->configuration);
  free(job);
}

/* The groups that were named, or all. */
static int job_groups(struct job *job, struct sip_kafka_admin *admin)
{
  int rc = job->names == NULL ? sip_kafka_admin_groups(admin, job->name, &job->groups, &job->err)
                              : sip_kafka_admin_groups_named(admin, job->names, job->name_count,
                                                             &job->groups, &job->err);

  return rc < 0 ? rc
                : sip_kafka_admin_group_offsets(admin, job->groups, &job->all_offsets, &job->err);
}

static int job_cluster(struct job *job, struct sip_kafka_admin *admin)
{
  switch (job->kind) {
  case JOB_TOPICS:
  case JOB_DESCRIBE_TOPICS:
    return sip_kafka_admin_topics(admin, NULL, job->kind == JOB_DESCRIBE_TOPICS, &job->topics,
                                  &job->err);
  case JOB_DESCRIBE_TOPIC:
    return sip_kafka_admin_topics(admin, job->name, true, &job->topics, &job->err);
  case JOB_OFFSETS_AT:
    return sip_kafka_admin_offsets_at(admin, job->name, job->value, &job->topics, &job->err);
  case JOB_DELETE:
    return sip_kafka_admin_delete_topic(admin, job->name, &job->err);
  case JOB_CLUSTER:
    return sip_kafka_admin_cluster(admin, &job->cluster, &job->err);
  default:
    return sip_kafka_admin_configuration(admin, job->kind == JOB_BROKER_CONFIGURATION, job->name,
                                         &job->configuration, &job->err);
  }
}

/* Pool thread. */
static void job_run(struct sip_job *base)
{
  struct job *job = (struct job *)base;
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
  case JOB_CREATE:
    job->rc = sip_kafka_admin_create_topic(admin, &topic, &job->partitions, &job->err);
    break;
  case JOB_GROUPS:
    job->rc = sip_kafka_admin_groups(admin, NULL, &job->groups, &job->err);
    break;
  case JOB_DESCRIBE_GROUP:
  case JOB_DESCRIBE_GROUPS:
    job->rc = job_groups(job, admin);
    break;
  case JOB_MEMBERS:
    job->rc = sip_kafka_admin_members(admin, job->name, &job->members, &job->err);
    break;
  case JOB_RESET:
    job->rc = sip_kafka_admin_reset_group(admin, job->name, job->topic, job->to, job->value,
                                          &job->offsets, &job->err);
    break;
  case JOB_RESET_PLAN:
    job->rc = sip_kafka_admin_reset_plan(admin, job->name, job->topic, job->to, job->value,
                                         &job->offsets, &job->err);
    break;
  default:
    job->rc = job_cluster(job, admin);
  }
  sip_kafka_admin_close(admin);
}

/* The group and where it stands. */
static void push_described(lua_State *L, const struct job *job, size_t i)
{
  sip_l_push_group(L, &job->groups->groups[i]);
  sip_l_set_offsets(L, job->all_offsets[i]);
}

static void push_topics(lua_State *L, const struct job *job)
{
  lua_createtable(L, (int)job->topics->count, 0);
  for (size_t i = 0; i < job->topics->count; i++) {
    sip_l_push_topic(L, &job->topics->topics[i]);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
}

static void push_groups(lua_State *L, const struct job *job)
{
  lua_createtable(L, (int)job->groups->count, 0);
  for (size_t i = 0; i < job->groups->count; i++) {
    if (job->kind == JOB_GROUPS) {
      sip_l_push_group(L, &job->groups->groups[i]);
    } else {
      push_described(L, job, i);
    }
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
}

static void push_result(lua_State *L, const struct job *job)
{
  switch (job->kind) {
  case JOB_TOPICS:
  case JOB_DESCRIBE_TOPICS:
    push_topics(L, job);
    return;
  case JOB_DESCRIBE_TOPIC:
  case JOB_OFFSETS_AT:
    sip_l_push_topic(L, &job->topics->topics[0]);
    return;
  case JOB_CREATE:
    lua_createtable(L, 0, 2);
    lua_pushstring(L, job->name);
    lua_setfield(L, -2, "name");
    lua_pushinteger(L, job->partitions);
    lua_setfield(L, -2, "partitions");
    return;
  case JOB_DELETE:
    lua_pushboolean(L, 1);
    return;
  case JOB_GROUPS:
  case JOB_DESCRIBE_GROUPS:
    push_groups(L, job);
    return;
  case JOB_DESCRIBE_GROUP:
    push_described(L, job, 0);
    return;
  case JOB_MEMBERS:
    sip_l_push_members(L, job->members);
    return;
  case JOB_RESET:
  case JOB_RESET_PLAN:
    lua_createtable(L, 0, 1);
    sip_l_set_offsets(L, job->offsets);
    return;
  case JOB_CLUSTER:
    sip_l_push_cluster(L, job->cluster);
    return;
  case JOB_TOPIC_CONFIGURATION:
  case JOB_BROKER_CONFIGURATION:
    sip_l_push_settings(L, job->configuration);
    return;
  }
}

static int job_finish(lua_State *L, struct sip_job *base)
{
  struct job *job = (struct job *)base;

  if (job->rc < 0) {
    return sip_push_err(L, &job->err);
  }
  push_result(L, job);
  return 1;
}

static const struct sip_job_kind job_class = { "kafka admin", sizeof(struct job), job_run,
                                               job_finish, job_free };

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

/* The names of groups, a list at `arg`; nil: all of them. */
static void job_read_names(lua_State *L, struct job *job, int arg)
{
  size_t count = lua_isnoneornil(L, arg) ? 0 : lua_rawlen(L, arg);

  luaL_argcheck(L, count <= GROUP_LIMIT, arg, "more than 1000 groups");
  if (lua_isnoneornil(L, arg)) {
    return;
  }
  job->names = calloc(count + 1, sizeof *job->names);
  for (size_t i = 0; job->names != NULL && i < count; i++) {
    luaL_argcheck(L, lua_rawgeti(L, arg, (lua_Integer)i + 1) == LUA_TSTRING, arg, "names are text");
    if (!job_copy(&job->names[i], lua_tostring(L, -1))) {
      luaL_error(L, "kafka admin: out of memory");
    }
    job->name_count = i + 1;
    lua_pop(L, 1);
  }
  if (job->names == NULL) {
    luaL_error(L, "kafka admin: out of memory");
  }
}

/* A name is that of a topic or of a group; what lists all of them is for everybody. */
static void job_permit(lua_State *L, enum job_kind kind)
{
  bool group = kind == JOB_DESCRIBE_GROUP || kind == JOB_MEMBERS || kind == JOB_RESET ||
               kind == JOB_RESET_PLAN;

  if (lua_type(L, 2) == LUA_TSTRING) {
    sip_permit(L, group ? SIP_PERMIT_GROUP : SIP_PERMIT_TOPIC, lua_tostring(L, 2));
  }
}

/* Arguments begin at 2. */
static void job_read(lua_State *L, struct job *job)
{
  static const char *const targets[] = { "beginning", "end", "offset", "time", NULL };
  bool ok = true;

  job_permit(L, job->kind);
  switch (job->kind) {
  case JOB_TOPICS:
  case JOB_DESCRIBE_TOPICS:
  case JOB_GROUPS:
  case JOB_CLUSTER:
    return;
  case JOB_DESCRIBE_GROUPS:
    job_read_names(L, job, 2);
    return;
  default:
    ok = job_copy(&job->name, luaL_checkstring(L, 2));
  }
  if (ok && job->kind == JOB_OFFSETS_AT) {
    job->value = luaL_checkinteger(L, 3);
  } else if (ok && job->kind == JOB_CREATE) {
    job->partitions = (int)luaL_optinteger(L, 3, 0);
    job->replication = (int)luaL_optinteger(L, 4, 0);
    job_read_config(L, job, 5);
  } else if (ok && (job->kind == JOB_RESET || job->kind == JOB_RESET_PLAN)) {
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
  struct job *job;

  if (sip_kafka_ready(kafka, &err) < 0) {
    return sip_push_err(L, &err);
  }
  lua_settop(L, 5);
  job = sip_job_new(L, &job_class); /* index 6 */
  job->kind = kind;
  job_read(L, job);
  if (sip_kafka_settings_copy(&job->settings, sip_kafka_settings(kafka), &err) < 0) {
    return sip_push_err(L, &err);
  }
  return sip_job_await(L, &job->base);
}
