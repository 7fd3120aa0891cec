/* command.c - runs the verbs that are written in Lua. */
#include "cli/command.h"

#include "bind/journal_lua.h"
#include "cli/cli.h"
#include "cli/lua_call.h"
#include "cli/rendezvous.h"
#include "cli/terminal_lua.h"
#include "journal/shared.h"
#include "kafka/embedded.h"
#include "kafka/settings.h"
#include "modules.h"
#include "vm/task.h"
#include "vm/vm.h"

#include <assert.h>
#include <lauxlib.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

struct running {
  const struct sip_command *command; /* borrowed */
  struct sip_rendezvous_note embedded;
  struct sip_kafka_settings *kafka;
  struct sip_vm *vm;
  struct sip_journal_shared *journal; /* NULL: not opened */
  struct sip_task *task;              /* borrowed: while it runs */
  uv_loop_t loop;
  uv_signal_t interrupts[2]; /* SIGINT, SIGTERM */
  size_t interrupt_count;    /* initialised ones */
  int signal_number;         /* the first one, or 0 */
  bool done;
  int code;
};

static void running_on_signal(uv_signal_t *handle, int number)
{
  struct running *run = handle->data;

  if (run->signal_number != 0) {
    _exit(128 + number); /* asked twice: at once */
  }
  run->signal_number = number;
  if (run->task != NULL) {
    sip_task_kill(run->task);
  }
}

static void running_on_done(void *arg, int result, const struct sip_err *err)
{
  struct running *run = arg;

  run->done = true;
  run->task = NULL;
  run->code = result;
  if (result < 0) {
    (void)fprintf(stderr, "%s: %s\n", run->command->name, err->message);
    run->code = SIP_EXIT_FAILED;
  }
  if (run->signal_number != 0 && run->code != SIP_EXIT_OK) {
    run->code = 128 + run->signal_number;
  }
}

static int running_push(lua_State *L, void *arg)
{
  struct running *run = arg;
  const char *brokers = run->kafka != NULL ? sip_kafka_settings_brokers(run->kafka) : NULL;

  run->command->push(L, run->command->arg);
  lua_pushstring(L, brokers);
  lua_setfield(L, -2, "broker");
  if (run->embedded.http[0] != '\0') {
    lua_pushstring(L, run->embedded.http);
    lua_setfield(L, -2, "embedded_http");
  }
  return 1;
}

/* --- the journal --- */

static const char running_key; /* its address is the key of the command in its state */

static void running_on_journal_failed(void *arg, const struct sip_err *err)
{
  (void)arg; /* whoever wrote is told */
  (void)err;
}

/* open_journal(place) -> true | nil, message, code. Blocks: nothing else goes on yet. */
static int l_open_journal(lua_State *L)
{
  struct running *run = sip_vm_service(L, &running_key);
  const char *place = luaL_checkstring(L, 1);
  struct sip_err err = { 0 };
  bool recovers;
  int rc;

  luaL_argcheck(L, run->journal == NULL, 1, "a journal is open");
  run->journal = sip_modules_journal(place);
  rc = run->journal == NULL
         ? sip_err_set(&err, UV_ENOMEM, "journal %s: not enough memory", place)
         : sip_journal_lua_attach(run->vm, run->journal, running_on_journal_failed, run, &err);
  if (rc == 0) {
    sip_journal_lua_want(run->vm);
    rc = sip_journal_lua_open(run->vm, &recovers, &err);
  }
  if (rc < 0) {
    return sip_push_err(L, &err);
  }
  lua_pushboolean(L, 1);
  return 1;
}

/* shrink_journal() -> bytes before, bytes now | nil, message, code. Blocks, likewise. */
static int l_shrink_journal(lua_State *L)
{
  struct running *run = sip_vm_service(L, &running_key);
  struct sip_err err = { 0 };
  int64_t before, after;

  luaL_argcheck(L, run->journal != NULL, 1, "no journal is open");
  if (sip_journal_shared_shrink(run->journal, &before, &after, &err) < 0) {
    return sip_push_err(L, &err);
  }
  lua_pushinteger(L, before);
  lua_pushinteger(L, after);
  return 2;
}

static int open_command(lua_State *L)
{
  static const luaL_Reg functions[] = { { "open_journal", l_open_journal },
                                        { "shrink_journal", l_shrink_journal },
                                        { NULL, NULL } };

  luaL_newlib(L, functions);
  return 1;
}

/** Finds the broker. @return SIP_GO_ON or an exit code, after the complaint was printed */
static int running_find_broker(struct running *run)
{
  const char *name = run->command->name;
  struct sip_err err = { 0 };
  int found;

  if (sip_settings_kafka(run->command->settings, &run->kafka, &err) < 0) {
    return sip_settings_refused(name, &err);
  }
  if (sip_kafka_settings_brokers(run->kafka) != NULL) {
    return SIP_GO_ON;
  }
  found = sip_rendezvous_find(&run->embedded, &err);
  if (found < 0) {
    (void)fprintf(stderr, "%s: %s\n", name, err.message);
    return SIP_EXIT_BROKER;
  }
  if (found == 0 && run->command->broker == SIP_COMMAND_MAYBE_BROKER) {
    sip_kafka_settings_free(run->kafka);
    run->kafka = NULL;
    return SIP_GO_ON;
  }
  if (found == 0) {
    (void)fprintf(
      stderr,
      "%s: no broker: name one with -b or KAFKA_BROKERS, or start \"sipeat dev FILE\" in "
      "another terminal\n",
      name);
    return SIP_EXIT_BROKER;
  }
  (void)fprintf(stderr, "%s: using the embedded broker of %s (process %ld) at %s%s\n", name,
                run->embedded.script, run->embedded.pid, run->embedded.broker,
                found > 1 ? "; there are others, choose one with -b" : "");
  if (sip_embedded_broker_settings(run->embedded.broker, run->kafka, &err) < 0) {
    return sip_settings_refused(name, &err);
  }
  return SIP_GO_ON;
}

static int running_catch_signals(struct running *run, struct sip_err *err)
{
  static const int signals[] = { SIGINT, SIGTERM };

  for (size_t i = 0; i < 2; i++) {
    int rc = uv_signal_init(&run->loop, &run->interrupts[i]);

    if (rc == 0) {
      run->interrupts[i].data = run;
      run->interrupt_count++;
      rc = uv_signal_start(&run->interrupts[i], running_on_signal, signals[i]);
    }
    if (rc < 0) {
      return sip_err_set(err, rc, "catch signals: %s", uv_strerror(rc));
    }
  }
  return 0;
}

static int running_start(struct running *run, struct sip_err *err)
{
  int rc = running_catch_signals(run, err);

  if (rc == 0) {
    rc = sip_vm_new(&run->vm, &run->loop, NULL, err);
  }
  if (rc == 0) {
    rc = sip_modules_start(run->vm, err);
  }
  if (rc == 0) {
    rc = sip_vm_provide(run->vm, "sipeat.core.terminal", sip_open_terminal, err);
  }
  if (rc == 0) {
    rc = sip_vm_provide(run->vm, "sipeat.core.command", open_command, err);
  }
  if (rc == 0) {
    rc = sip_vm_set_service(run->vm, &running_key, run);
  }
  if (rc == 0 && run->kafka != NULL) {
    rc = sip_modules_configure_kafka(run->vm, run->kafka, err);
  }
  if (rc == 0) {
    rc = sip_call_start(run->vm, run->command->module, "run", running_push, run, running_on_done,
                        run, &run->task, err);
  }
  return rc;
}

static void running_end(struct running *run)
{
  for (size_t i = 0; i < run->interrupt_count; i++) {
    uv_close((uv_handle_t *)&run->interrupts[i], NULL);
  }
  if (run->vm != NULL) {
    sip_modules_stop(run->vm);
    sip_vm_free(run->vm);
  }
  (void)uv_run(&run->loop, UV_RUN_DEFAULT);
  sip_journal_shared_free(run->journal); /* after what wrote to it */
  sip_kafka_settings_free(run->kafka);
}

int sip_command_run(const struct sip_command *command)
{
  struct running run = { .command = command, .code = SIP_EXIT_FAILED };
  struct sip_err err = { 0 };
  int code = SIP_GO_ON, rc;

  if (sip_settings_load(command->settings, &err) < 0) {
    return sip_settings_refused(command->name, &err);
  }
  rc = uv_loop_init(&run.loop);
  if (rc < 0) {
    (void)fprintf(stderr, "%s: start the event loop: %s\n", command->name, uv_strerror(rc));
    return SIP_EXIT_FAILED;
  }
  if (command->broker != SIP_COMMAND_NO_BROKER) {
    code = running_find_broker(&run);
  }
  if (code == SIP_GO_ON) {
    rc = running_start(&run, &err);
    while (rc == 0 && !run.done) {
      (void)uv_run(&run.loop, UV_RUN_ONCE);
    }
    if (rc < 0) {
      (void)fprintf(stderr, "%s: %s\n", command->name, err.message);
    }
    code = run.code;
  }
  running_end(&run);
  rc = uv_loop_close(&run.loop);
  assert(rc == 0); /* STYLE.md section 6: nothing is left open */
  (void)rc;
  return code;
}
