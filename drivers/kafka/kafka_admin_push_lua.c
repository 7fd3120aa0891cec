/* kafka_admin_push_lua.c - what the admin calls found, as Lua has it. Loop thread. */
#include "kafka/admin.h"
#include "kafka/kafka_lua.h"

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

void sip_l_push_topic(lua_State *L, const struct sip_kafka_topic_info *topic)
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

void sip_l_push_group(lua_State *L, const struct sip_kafka_group_info *group)
{
  lua_createtable(L, 0, 4);
  lua_pushstring(L, group->name);
  lua_setfield(L, -2, "name");
  lua_pushstring(L, group->state);
  lua_setfield(L, -2, "state");
  set_integer(L, "members", (lua_Integer)group->members);
}

void sip_l_set_offsets(lua_State *L, const struct sip_kafka_offset_list *list)
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
    set_known(L, "target", info->target);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  lua_setfield(L, -2, "offsets");
}

static void set_text(lua_State *L, const char *name, const char *text)
{
  if (text != NULL) {
    lua_pushstring(L, text);
    lua_setfield(L, -2, name);
  }
}

static void set_flag(lua_State *L, const char *name, bool value)
{
  lua_pushboolean(L, value);
  lua_setfield(L, -2, name);
}

void sip_l_push_cluster(lua_State *L, const struct sip_kafka_cluster *cluster)
{
  lua_createtable(L, 0, 4);
  set_text(L, "id", cluster->id);
  set_known(L, "controller", cluster->controller);
  set_flag(L, "embedded", cluster->embedded);
  lua_createtable(L, (int)cluster->count, 0);
  for (size_t i = 0; i < cluster->count; i++) {
    const struct sip_kafka_broker *broker = &cluster->brokers[i];

    lua_createtable(L, 0, 5);
    set_integer(L, "id", broker->id);
    set_text(L, "host", broker->host);
    set_integer(L, "port", broker->port);
    set_integer(L, "leaders", (lua_Integer)broker->leaders);
    set_integer(L, "replicas", (lua_Integer)broker->replicas);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  lua_setfield(L, -2, "brokers");
}

void sip_l_push_settings(lua_State *L, const struct sip_kafka_setting_list *list)
{
  lua_createtable(L, (int)list->count, 0);
  for (size_t i = 0; i < list->count; i++) {
    const struct sip_kafka_setting *setting = &list->settings[i];

    lua_createtable(L, 0, 6);
    set_text(L, "name", setting->name);
    set_text(L, "value", setting->value);
    set_text(L, "source", setting->source);
    set_flag(L, "default", setting->is_default);
    set_flag(L, "read_only", setting->read_only);
    set_flag(L, "sensitive", setting->sensitive);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
}

static void push_member(lua_State *L, const struct sip_kafka_member *member)
{
  lua_createtable(L, 0, 4);
  set_text(L, "id", member->id);
  set_text(L, "client_id", member->client_id);
  set_text(L, "host", member->host);
  lua_createtable(L, (int)member->partition_count, 0);
  for (size_t i = 0; i < member->partition_count; i++) {
    lua_createtable(L, 0, 2);
    set_text(L, "topic", member->partitions[i].topic);
    set_integer(L, "partition", member->partitions[i].partition);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  lua_setfield(L, -2, "partitions");
}

void sip_l_push_members(lua_State *L, const struct sip_kafka_member_list *list)
{
  lua_createtable(L, 0, 2);
  set_text(L, "protocol", list->protocol);
  lua_createtable(L, (int)list->count, 0);
  for (size_t i = 0; i < list->count; i++) {
    push_member(L, &list->members[i]);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  lua_setfield(L, -2, "members");
}
