/* journal_lua.c - module sipeat.core.journal: a worker's journal, its opening and its state.
 *
 * want(): the script that loads has effects to keep. open() -> whether there is a journal that is
 * open. opening() -> {place, epoch, schema, migrated, was_interrupted, is_shared}, once it is.
 * failure() -> nil | message, code. status() -> {entries, statements, batches, waiting}. write and
 * blob are in journal_write_lua.c, runs and their records in journal_record_lua.c. Loop thread. */
#include "bind/journal_service.h"
#include "bind/metrics_lua.h"

#include "vm/vm.h"

#include <lauxlib.h>
#include <stdlib.h>

static const char service_key; /* its address is the key */

struct sip_journal_service *sip_journal_service(lua_State *L)
{
  return sip_vm_service(L, &service_key);
}

struct sip_journal *sip_journal_lua_journal(lua_State *L)
{
  struct sip_journal_service *service = sip_journal_service(L);

  return service == NULL ? NULL : service->journal;
}

void sip_journal_service_look(struct sip_journal_service *service, int status,
                              const struct sip_err *err)
{
  if (status < 0 && !service->failed) {
    service->failed = true;
    service->on_failed(service->arg, err);
  }
}

/* --- looking --- */

static int l_want(lua_State *L)
{
  struct sip_journal_service *service = sip_journal_service(L);

  if (service != NULL) { /* else: a verb, or a test */
    service->wanted = true;
  }
  return 0;
}

static int l_open(lua_State *L)
{
  lua_pushboolean(L, sip_journal_lua_journal(L) != NULL);
  return 1;
}

static int l_opening(lua_State *L)
{
  struct sip_journal_service *service = sip_journal_service(L);
  const struct sip_store_report *report;

  if (service == NULL || service->journal == NULL) {
    lua_pushnil(L);
    return 1;
  }
  report = sip_journal_shared_report(service->shared);
  lua_createtable(L, 0, 6);
  lua_pushstring(L, sip_journal_shared_place(service->shared));
  lua_setfield(L, -2, "place");
  lua_pushinteger(L, report->epoch);
  lua_setfield(L, -2, "epoch");
  lua_pushinteger(L, report->schema);
  lua_setfield(L, -2, "schema");
  lua_pushinteger(L, report->migrated);
  lua_setfield(L, -2, "migrated");
  lua_pushboolean(L, report->was_interrupted);
  lua_setfield(L, -2, "was_interrupted");
  lua_pushboolean(L, report->is_shared);
  lua_setfield(L, -2, "is_shared");
  return 1;
}

static int l_failure(lua_State *L)
{
  struct sip_journal *journal = sip_journal_lua_journal(L);
  const struct sip_err *err = journal == NULL ? NULL : sip_journal_failure(journal);

  if (err == NULL) {
    lua_pushnil(L);
    return 1;
  }
  lua_pushstring(L, err->message);
  lua_pushstring(L, err->name);
  return 2;
}

static int l_status(lua_State *L)
{
  struct sip_journal *journal = sip_journal_lua_journal(L);
  struct sip_journal_status status = { 0 };

  if (journal != NULL) {
    status = sip_journal_status(journal);
  }
  lua_createtable(L, 0, 4);
  lua_pushinteger(L, (lua_Integer)status.entries);
  lua_setfield(L, -2, "entries");
  lua_pushinteger(L, (lua_Integer)status.statements);
  lua_setfield(L, -2, "statements");
  lua_pushinteger(L, (lua_Integer)status.batches);
  lua_setfield(L, -2, "batches");
  lua_pushinteger(L, (lua_Integer)status.waiting);
  lua_setfield(L, -2, "waiting");
  return 1;
}

int sip_journal_lua_attach(struct sip_vm *vm, struct sip_journal_shared *shared,
                           sip_journal_failed_fn on_failed, void *arg, struct sip_err *err)
{
  struct sip_journal_service *service = calloc(1, sizeof *service);

  if (service == NULL || sip_vm_set_service(vm, &service_key, service) < 0) {
    free(service);
    return sip_err_set(err, UV_ENOMEM, "journal: not enough memory");
  }
  service->shared = shared;
  service->on_failed = on_failed;
  service->arg = arg;
  return 0;
}

void sip_journal_lua_want(struct sip_vm *vm)
{
  sip_journal_service(sip_vm_state(vm))->wanted = true;
}

int sip_journal_lua_open(struct sip_vm *vm, bool *recovers, struct sip_err *err)
{
  struct sip_journal_service *service = sip_journal_service(sip_vm_state(vm));
  struct sip_metrics_shard *shard = NULL;
  struct sip_store *store = NULL;
  int rc;

  *recovers = false;
  if (service == NULL || !service->wanted || service->journal != NULL) {
    return 0;
  }
  rc = sip_journal_shared_open(service->shared, &store, recovers, err);
  rc = rc < 0 ? rc : sip_metrics_lua_shard(&shard, vm, err);
  rc = rc < 0 ? rc
              : sip_journal_new(&service->journal, sip_vm_loop(sip_vm_state(vm)),
                                sip_journal_shared_ops(service->shared), store, err);
  return rc < 0 ? rc : sip_journal_count(service->journal, shard, err);
}

void sip_journal_lua_stop(struct sip_vm *vm)
{
  struct sip_journal_service *service = sip_journal_service(sip_vm_state(vm));

  if (service != NULL && service->journal != NULL) {
    sip_journal_close(service->journal, free, service);
  } else {
    free(service);
  }
  (void)sip_vm_set_service(vm, &service_key, NULL); /* removing allocates nothing */
}

int sip_open_journal(lua_State *L)
{
  static const luaL_Reg functions[] = {
    { "want", l_want },       { "open", l_open },     { "opening", l_opening },
    { "failure", l_failure }, { "status", l_status }, { NULL, NULL },
  };

  luaL_newlib(L, functions);
  sip_journal_write_functions(L);
  sip_journal_record_functions(L);
  return 1;
}
