/* bench.c - `sipeat bench FILE`: its options, and loading the file; stdlib/command_bench.lua runs
 * the hardware tests that it declares. */
#include "cli/cli.h"
#include "cli/command.h"
#include "cli/load_lua.h"
#include "cli/push.h"

#include <lauxlib.h>

enum { MAX_TEXTS = 64 };

struct texts {
  const char *list[MAX_TEXTS];
  size_t count;
};

struct bench_args {
  const char *file, *junit, *html, *protocol, *operator_name, *pattern;
  struct texts ports, serials, with, set;
  int64_t baud;
  bool json, yes, keep_going;
};

#define AT(field) offsetof(struct bench_args, field)

static int add_text(struct texts *texts, const char *value, struct sip_err *err)
{
  if (texts->count == MAX_TEXTS) {
    return sip_err_set(err, SIP_ETOOBIG, "was given more than %d times", MAX_TEXTS);
  }
  texts->list[texts->count++] = value;
  return 0;
}

static int add_port(void *target, const char *value, struct sip_err *err)
{
  return add_text(&((struct bench_args *)target)->ports, value, err);
}

static int add_serial(void *target, const char *value, struct sip_err *err)
{
  return add_text(&((struct bench_args *)target)->serials, value, err);
}

static int add_with(void *target, const char *value, struct sip_err *err)
{
  return add_text(&((struct bench_args *)target)->with, value, err);
}

static int add_set(void *target, const char *value, struct sip_err *err)
{
  return add_text(&((struct bench_args *)target)->set, value, err);
}

static const struct sip_option options[] = {
  { .name = "port",
    .letter = 'p',
    .value = "PORT",
    .help = "a device to test; may be repeated: they run at once. \"sim\" is a simulated one",
    .kind = SIP_OPTION_CALL,
    .call = add_port },
  { .name = "serial",
    .value = "NUMBER",
    .help = "serial number of the first, second … port's device (default: it is asked for)",
    .kind = SIP_OPTION_CALL,
    .call = add_serial },
  { .name = "protocol",
    .letter = 'P',
    .value = "NAME",
    .help = "what the devices speak, in place of what the plan says",
    .kind = SIP_OPTION_TEXT,
    .offset = AT(protocol) },
  { .name = "baud",
    .letter = 'b',
    .value = "N",
    .help = "bits a second, in place of what the plan or the protocol says",
    .kind = SIP_OPTION_NUMBER,
    .offset = AT(baud),
    .min = 50,
    .max = 4000000 },
  { .name = "set",
    .value = "NAME=VALUE",
    .help = "a setting of the protocol; may be repeated",
    .kind = SIP_OPTION_CALL,
    .call = add_set },
  { .name = "with",
    .letter = 'w',
    .value = "NAME=VALUE",
    .help = "a parameter of the plan, such as dispenses=100; may be repeated",
    .kind = SIP_OPTION_CALL,
    .call = add_with },
  { .name = "keyword",
    .letter = 'k',
    .value = "TEXT,TEXT…",
    .help = "only phases with one of these in their name",
    .kind = SIP_OPTION_TEXT,
    .offset = AT(pattern) },
  { .name = "operator",
    .value = "NAME",
    .help = "who tests, for the report",
    .kind = SIP_OPTION_TEXT,
    .offset = AT(operator_name) },
  { .name = "yes",
    .letter = 'y',
    .help = "ask nobody: prompts take their default",
    .kind = SIP_OPTION_ON,
    .offset = AT(yes) },
  { .name = "keep-going",
    .help = "go on with the next phase after one that failed",
    .kind = SIP_OPTION_ON,
    .offset = AT(keep_going) },
  { .name = "html",
    .value = "FILE",
    .help = "write a report there, with plots; one file that opens without a network",
    .kind = SIP_OPTION_TEXT,
    .offset = AT(html) },
  { .name = "junit",
    .value = "FILE",
    .help = "write the outcome there as JUnit XML",
    .kind = SIP_OPTION_TEXT,
    .offset = AT(junit) },
  { .name = "json",
    .help = "the report as one JSON object",
    .kind = SIP_OPTION_ON,
    .offset = AT(json) },
  { 0 },
};

static const struct sip_usage usage = {
  .command = "sipeat bench",
  .synopsis = "FILE --port PORT [options]",
  .text = "Runs the hardware test that FILE declares on each device, and says what was measured.\n"
          "The exit code is 1 when a device failed. docs/bench.md says how a test is written.",
  .examples =
    "  sipeat bench examples/bench/xy.lua --port sim\n"
    "  sipeat bench examples/bench/xy.lua -p /dev/ttyUSB0 -k endurance --html report.html\n"
    "  sipeat bench examples/bench/xy.lua -p /dev/ttyUSB0 -p /dev/ttyUSB1 --yes",
  .min_operands = 1,
  .max_operands = 1,
  .operand = "FILE",
};

/* --- the verb --- */

static void push_texts(lua_State *L, const char *name, const struct texts *texts)
{
  lua_createtable(L, (int)texts->count, 0);
  for (size_t i = 0; i < texts->count; i++) {
    lua_pushstring(L, texts->list[i]);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  lua_setfield(L, -2, name);
}

static void push(lua_State *L, void *arg)
{
  const struct bench_args *args = arg;

  lua_newtable(L);
  sip_push_directory(L);
  sip_push_options(L, options, args);
  sip_push_text(L, "file", args->file);
  push_texts(L, "ports", &args->ports);
  push_texts(L, "serials", &args->serials);
  push_texts(L, "with", &args->with);
  push_texts(L, "set", &args->set);
  lua_pushcfunction(L, sip_l_load_script);
  lua_setfield(L, -2, "load");
}

int sip_verb_bench(int argc, char **argv)
{
  struct sip_settings settings = { 0 };
  struct bench_args args = { 0 };
  struct sip_option_group groups[] = {
    { "options", options, &args },
    { "log", sip_log_options, &settings },
  };
  struct sip_command command = {
    "sipeat bench", "sipeat.command_bench", &settings, SIP_COMMAND_NO_BROKER, push, &args,
  };
  int operand = 0;
  int code = sip_options_parse(&usage, groups, 2, argc, argv, &operand);

  if (code != SIP_GO_ON) {
    return code;
  }
  args.file = argv[operand];
  return sip_command_run(&command);
}
