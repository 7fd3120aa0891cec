/* test.c - `sipeat test`: its options. stdlib/command_test.lua finds the tests and tells what came
 * of them; each runs in a world of its own (test_world.c). */
#include "cli/cli.h"
#include "cli/command.h"
#include "cli/push.h"
#include "cli/test_world.h"
#include "vm/vm.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <string.h>
#include <sys/stat.h>

struct test_args {
  struct sip_settings *settings; /* borrowed */
  char **paths;                  /* borrowed; ends with NULL */
  const char *pattern, *junit;
  int64_t seed;
  uint64_t timeout_ms, virtual_ms;
  bool json, fail_fast, verbose;
};

#define AT(field) offsetof(struct test_args, field)

static const struct sip_option options[] = {
  { .name = "keyword",
    .letter = 'k',
    .value = "TEXT",
    .help = "only tests with TEXT in their name, or in that of their file",
    .kind = SIP_OPTION_TEXT,
    .offset = AT(pattern) },
  { .name = "fail-fast",
    .letter = 'x',
    .help = "end at the first test that fails",
    .kind = SIP_OPTION_ON,
    .offset = AT(fail_fast) },
  { .name = "seed",
    .value = "N",
    .help = "what is random is the same for the same N (default: a new one, which is printed)",
    .kind = SIP_OPTION_NUMBER,
    .offset = AT(seed),
    .min = 0,
    .max = INT64_MAX },
  { .name = "timeout",
    .value = "TIME",
    .help = "real time that a test may take (default 10s)",
    .kind = SIP_OPTION_DURATION,
    .offset = AT(timeout_ms) },
  { .name = "virtual-limit",
    .value = "TIME",
    .help = "virtual time that a test may take (default 400d)",
    .kind = SIP_OPTION_DURATION,
    .offset = AT(virtual_ms) },
  { .name = "junit",
    .value = "FILE",
    .help = "write what came of them there as JUnit XML",
    .kind = SIP_OPTION_TEXT,
    .offset = AT(junit) },
  { .name = "json", .help = "one JSON object a test", .kind = SIP_OPTION_ON, .offset = AT(json) },
  { .name = "verbose",
    .letter = 'v',
    .help = "what tests print and log, of those that pass too",
    .kind = SIP_OPTION_ON,
    .offset = AT(verbose) },
  { 0 },
};

static const struct sip_usage usage = {
  .command = "sipeat test",
  .synopsis = "[FILE|FOLDER]... [options]",
  .text =
    "Runs the tests in *_test.lua, each in a fresh state, with fakes for Kafka, HTTP and mail\n"
    "and with time that passes at once. Without a FILE or FOLDER it looks into tests/, or\n"
    "here when there is no such folder. docs/testing.md says how a test is written.",
  .examples = "  sipeat test\n"
              "  sipeat test scripts -k payment --fail-fast\n"
              "  sipeat test tests/pipeline_test.lua --seed 42 --junit report.xml",
  .min_operands = 0,
  .max_operands = 1000,
  .operand = "FILE",
};

static void push_buf(lua_State *L, const struct sip_buf *buf)
{
  lua_pushlstring(L, buf->data != NULL ? buf->data : "", buf->len);
}

/* Protected: the texts of a result. Stack: result, error or NULL. */
static int push_result(lua_State *L)
{
  const struct sip_test_result *result = lua_touserdata(L, 1);
  const struct sip_err *err = lua_touserdata(L, 2);

  lua_createtable(L, 0, 5);
  if (err != NULL) {
    lua_pushstring(L, err->message);
    lua_setfield(L, -2, "error");
  }
  push_buf(L, &result->report);
  lua_setfield(L, -2, "report");
  push_buf(L, &result->output);
  lua_setfield(L, -2, "output");
  sip_push_number(L, "virtual_ms", (int64_t)result->took_ms);
  sip_push_flag(L, "interrupted", result->interrupted);
  return 1;
}

/* run(file, name?, seed, wall_ms) -> {report, output, virtual_ms, interrupted, error?} */
static int l_run(lua_State *L)
{
  const struct test_args *args = lua_touserdata(L, lua_upvalueindex(1));
  struct sip_test test = { .file = luaL_checkstring(L, 1),
                           .name = luaL_optstring(L, 2, NULL),
                           .seed = (uint64_t)luaL_checkinteger(L, 3),
                           .wall_ms = luaL_checkinteger(L, 4),
                           .real_ms = args->timeout_ms,
                           .virtual_ms = args->virtual_ms,
                           .log_level = SIP_LOG_INFO };
  struct sip_test_result result;
  struct sip_err err = { 0 };
  int rc, status;

  (void)sip_log_parse_level(args->settings->log_level, &test.log_level); /* was checked before */
  rc = sip_test_run(&test, &result, &err);
  lua_settop(L, 0);
  lua_pushcfunction(L, push_result);
  lua_pushlightuserdata(L, &result);
  lua_pushlightuserdata(L, rc < 0 ? &err : NULL);
  status = lua_pcall(L, 2, 1, 0);
  sip_buf_deinit(&result.report);
  sip_buf_deinit(&result.output);
  return status == LUA_OK ? 1 : lua_error(L);
}

static int folder_gc(lua_State *L)
{
  DIR **box = lua_touserdata(L, 1), *folder = *box;

  *box = NULL;
  if (folder != NULL) {
    (void)closedir(folder); /* nothing was written */
  }
  return 0;
}

/* entries(folder) -> list of {name, folder = boolean}, or nil and a message */
static int l_entries(lua_State *L)
{
  const char *path = luaL_checkstring(L, 1);
  lua_Integer count = 0;
  struct dirent *entry;
  struct stat about;
  DIR **box = sip_box_new(L, "sipeat.test.folder", folder_gc);

  *box = opendir(path);
  if (*box == NULL) {
    lua_pushnil(L);
    lua_pushfstring(L, "open %s: %s", path, strerror(errno));
    return 2;
  }
  lua_newtable(L);
  while ((entry = readdir(*box)) != NULL) {
    if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
        fstatat(dirfd(*box), entry->d_name, &about, AT_SYMLINK_NOFOLLOW) == 0) {
      lua_createtable(L, 0, 2);
      lua_pushstring(L, entry->d_name);
      lua_setfield(L, -2, "name");
      sip_push_flag(L, "folder", S_ISDIR(about.st_mode));
      lua_rawseti(L, -2, ++count);
    }
  }
  return 1;
}

static void push(lua_State *L, void *arg)
{
  struct test_args *args = arg;
  lua_Integer count = 0;

  lua_newtable(L);
  lua_newtable(L);
  for (char **path = args->paths; *path != NULL; path++) {
    lua_pushstring(L, *path);
    lua_rawseti(L, -2, ++count);
  }
  lua_setfield(L, -2, "paths");
  sip_push_text(L, "pattern", args->pattern);
  sip_push_text(L, "junit", args->junit);
  if (args->seed >= 0) {
    sip_push_number(L, "seed", args->seed);
  }
  sip_push_flag(L, "json", args->json);
  sip_push_flag(L, "fail_fast", args->fail_fast);
  sip_push_flag(L, "verbose", args->verbose);
  lua_pushcfunction(L, l_entries);
  lua_setfield(L, -2, "entries");
  lua_pushlightuserdata(L, args);
  lua_pushcclosure(L, l_run, 1);
  lua_setfield(L, -2, "run");
}

int sip_verb_test(int argc, char **argv)
{
  static const uint64_t DAY_MS = UINT64_C(24) * 3600 * 1000;
  struct sip_settings settings = { 0 };
  struct test_args args = {
    .settings = &settings, .seed = -1, .timeout_ms = 10000, .virtual_ms = 400 * DAY_MS
  };
  struct sip_option_group groups[] = {
    { "options", options, &args },
    { "log", sip_log_options, &settings },
  };
  struct sip_command command = {
    "sipeat test", "sipeat.command_test", &settings, SIP_COMMAND_NO_BROKER, push, &args,
  };
  int operand = 0;
  int code = sip_options_parse(&usage, groups, 2, argc, argv, &operand);

  if (code != SIP_GO_ON) {
    return code;
  }
  args.paths = argv + operand;
  return sip_command_run(&command);
}
