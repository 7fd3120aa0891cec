/* kafka_lua.c - module sipeat.core.kafka: the engine of a vm, and the table of its functions.
 *
 * connected() -> boolean: a broker answers
 * cluster() -> the cluster's id; nil as long as no broker has told it
 * pending() -> integer: records that wait for their acknowledgement
 * send, post, consumer, reader, admin: see kafka_producer_lua.c, kafka_consumer_lua.c,
 * kafka_admin_lua.c. Loop thread. */
#include "kafka/kafka_lua.h"

#include "kafka/kafka.h"
#include "vm/vm.h"

#include <lauxlib.h>

enum { STOP_FLUSH_MS = 5000 };

static const char service; /* its address is the key */

struct sip_kafka *sip_kafka_of(lua_State *L)
{
  struct sip_kafka *kafka = sip_vm_service(L, &service);

  if (kafka == NULL) {
    luaL_error(L, "kafka: the program is stopping");
  }
  return kafka;
}

static int l_connected(lua_State *L)
{
  lua_pushboolean(L, sip_kafka_connected(sip_kafka_of(L)));
  return 1;
}

static int l_cluster(lua_State *L)
{
  char id[128];

  if (!sip_kafka_cluster(sip_kafka_of(L), id, sizeof id)) {
    return 0;
  }
  lua_pushstring(L, id);
  return 1;
}

static int l_brokers(lua_State *L)
{
  const struct sip_kafka_settings *settings = sip_kafka_settings(sip_kafka_of(L));

  lua_pushstring(L, settings == NULL ? NULL : sip_kafka_settings_brokers(settings));
  return 1;
}

/* The longest time of an attempt, in ms, that the tuning gives to flows; nil: none. */
static int l_processing_ms(lua_State *L)
{
  const struct sip_kafka_settings *settings = sip_kafka_settings(sip_kafka_of(L));
  uint64_t ms = settings == NULL ? 0 : sip_kafka_settings_processing_ms(settings);

  if (ms == 0) {
    return 0;
  }
  lua_pushinteger(L, (lua_Integer)ms);
  return 1;
}

static int l_pending(lua_State *L)
{
  lua_pushinteger(L, (lua_Integer)sip_kafka_pending(sip_kafka_of(L)));
  return 1;
}

/* trouble() -> why no broker answers, with a hint; nil when one does */
static int l_trouble(lua_State *L)
{
  char text[512];
  const struct sip_kafka_health *health = sip_kafka_health(sip_kafka_of(L));

  if (health == NULL || !sip_kafka_health_reason(health, text, sizeof text)) {
    return 0;
  }
  lua_pushstring(L, text);
  return 1;
}

static int luaopen_kafka(lua_State *L)
{
  static const luaL_Reg functions[] = {
    { "connected", l_connected },
    { "trouble", l_trouble },
    { "cluster", l_cluster },
    { "brokers", l_brokers },
    { "pending", l_pending },
    { "processing_ms", l_processing_ms },
    { "send", sip_l_kafka_send },
    { "post", sip_l_kafka_post },
    { "json_match", sip_l_json_match },
    { "consumer", sip_l_kafka_consumer },
    { "reader", sip_l_kafka_reader },
    { "admin", sip_l_kafka_admin },
    { NULL, NULL },
  };

  luaL_newlib(L, functions);
  return 1;
}

static struct sip_kafka *engine(struct sip_vm *vm)
{
  return sip_vm_service(sip_vm_state(vm), &service);
}

int sip_kafka_lua_start(struct sip_vm *vm, struct sip_err *err)
{
  struct sip_kafka *kafka = NULL;
  int rc = sip_vm_provide(vm, "sipeat.core.kafka", luaopen_kafka, err);

  if (rc == 0) {
    rc = sip_kafka_new(&kafka, sip_vm_loop(sip_vm_state(vm)), err);
  }
  if (rc == 0) {
    rc = sip_vm_set_service(vm, &service, kafka);
    if (rc < 0) {
      sip_kafka_close(kafka, 0);
      (void)sip_err_set(err, rc, "kafka: out of memory");
    }
  }
  return rc;
}

int sip_kafka_lua_configure(struct sip_vm *vm, const struct sip_kafka_settings *settings,
                            struct sip_err *err)
{
  return sip_kafka_configure(engine(vm), settings, err);
}

int sip_kafka_lua_count(struct sip_vm *vm, struct sip_metrics_shard *shard, struct sip_err *err)
{
  return sip_kafka_count(engine(vm), shard, err);
}

const struct sip_port *sip_kafka_lua_port(struct sip_vm *vm)
{
  return sip_kafka_port(engine(vm));
}

void sip_kafka_lua_set_outbox(struct sip_vm *vm, const struct sip_outlet *outbox)
{
  if (engine(vm) != NULL) {
    sip_kafka_set_outbox(engine(vm), outbox);
  }
}

bool sip_kafka_lua_connected(struct sip_vm *vm)
{
  return engine(vm) != NULL && sip_kafka_connected(engine(vm));
}

void sip_kafka_lua_stop(struct sip_vm *vm)
{
  struct sip_kafka *kafka = engine(vm);

  (void)sip_vm_set_service(vm, &service, NULL); /* removing allocates nothing */
  sip_kafka_close(kafka, STOP_FLUSH_MS);
}
