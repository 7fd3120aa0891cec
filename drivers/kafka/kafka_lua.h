#ifndef SIP_KAFKA_LUA_H
#define SIP_KAFKA_LUA_H
/* kafka_lua.h - the Lua module of this driver, sipeat.core.kafka, and the port for the flow engine.
 * Loop thread. */
#include "core/err.h"

#include <lua.h>
#include <stdbool.h>

struct sip_kafka;
struct sip_kafka_cluster;
struct sip_kafka_group_info;
struct sip_kafka_member_list;
struct sip_kafka_offset_list;
struct sip_kafka_setting_list;
struct sip_kafka_settings;
struct sip_kafka_topic_info;
struct sip_metrics_shard;
struct sip_outlet;
struct sip_port;
struct sip_sieve;
struct sip_vm;

/** Provides the driver's modules to `require`; opens nothing yet. @return 0 or a negative code */
int sip_kafka_lua_start(struct sip_vm *vm, struct sip_err *err);

/** Which cluster: copied. Before the first use. @return 0, SIP_EBUSY or UV_ENOMEM */
int sip_kafka_lua_configure(struct sip_vm *vm, const struct sip_kafka_settings *settings,
                            struct sip_err *err);

/** Where its clients count, before the first of them. @return 0 or a negative code */
int sip_kafka_lua_count(struct sip_vm *vm, struct sip_metrics_shard *shard, struct sip_err *err);

/** What the flow engine takes, from start until stop. */
const struct sip_port *sip_kafka_lua_port(struct sip_vm *vm);

/** Names the outbox, for `outbox = true`; ops NULL: there is none. */
void sip_kafka_lua_set_outbox(struct sip_vm *vm, const struct sip_outlet *outbox);

/** Whether a broker answers, for /ready. */
bool sip_kafka_lua_connected(struct sip_vm *vm);

/** Stops the engines: open operations end with UV_ECANCELED, no callback starts work afterwards,
 * and the rest closes in the loop's next turns; records that were sent have five seconds to be
 * acknowledged. Call before sip_vm_free. Harmless when nothing was opened. */
void sip_kafka_lua_stop(struct sip_vm *vm);

/* --- for this driver's bindings --- */

/** The engine; throws after stop. */
struct sip_kafka *sip_kafka_of(lua_State *L);

/* Functions of sipeat.core.kafka, each described where it is. */
int sip_l_kafka_send(lua_State *L); /* kafka_producer_lua.c */
int sip_l_kafka_post(lua_State *L);
int sip_l_kafka_consumer(lua_State *L); /* kafka_consumer_lua.c */
int sip_l_kafka_reader(lua_State *L);   /* kafka_consumer_lua.c */
int sip_l_kafka_admin(lua_State *L);    /* kafka_admin_lua.c */

/** kafka_sieve_lua.c: the sieve of the table at `arg`, into a place that is freed when this or what
 * follows throws; nothing without a table. */
void sip_l_check_sieve(lua_State *L, int arg, struct sip_sieve **out);

/** json_match{text, relation, path =, number?} -> function(json) -> boolean: see
 * kafka_json_match_lua.c. */
int sip_l_json_match(lua_State *L);

/** The test that the table at `arg` describes. Throws for anything else.
 * @return 0 or UV_ENOMEM */
struct sip_json_match;
int sip_l_check_json_match(lua_State *L, int arg, struct sip_json_match **out);

/* kafka_admin_push_lua.c: push one value, or set the field "offsets" of the table on top. Throw. */
void sip_l_push_topic(lua_State *L, const struct sip_kafka_topic_info *topic);
void sip_l_push_group(lua_State *L, const struct sip_kafka_group_info *group);
void sip_l_set_offsets(lua_State *L, const struct sip_kafka_offset_list *list);
void sip_l_push_cluster(lua_State *L, const struct sip_kafka_cluster *cluster);
void sip_l_push_settings(lua_State *L, const struct sip_kafka_setting_list *list);
void sip_l_push_members(lua_State *L, const struct sip_kafka_member_list *list);

#endif
