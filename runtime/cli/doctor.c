/* doctor.c - `sipeat doctor`: its options, and what only the system knows: the clock, disks, files.
 * The work is in stdlib/command_doctor.lua. */
#include "cli/cli.h"
#include "cli/command.h"
#include "cli/push.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/timex.h>
#include <unistd.h>

enum { MAX_NAMES = 16 };

struct doctor_args {
  const char *journal, *state, *http, *only;
  const char *groups[MAX_NAMES];
  size_t group_count;
  char *const *topics; /* the operands */
  int topic_count;
  uint64_t timeout_ms;
  bool json;
};

#define AT(field) offsetof(struct doctor_args, field)

static int add_group(void *target, const char *value, struct sip_err *err)
{
  struct doctor_args *args = target;

  if (args->group_count == MAX_NAMES) {
    return sip_err_set(err, SIP_ETOOBIG, "was given more than %d times", MAX_NAMES);
  }
  args->groups[args->group_count++] = value;
  return 0;
}

static const struct sip_option options[] = {
  { .name = "group",
    .letter = 'g',
    .value = "NAME",
    .help = "a consumer group to look at; may be repeated (KAFKA_CONSUMER_GROUP, KAFKA_GROUP_ID)",
    .kind = SIP_OPTION_CALL,
    .call = add_group },
  { .name = "journal",
    .value = "PLACE",
    .help = "the journal (SIPEAT_JOURNAL; default journal.db in --state)",
    .kind = SIP_OPTION_TEXT,
    .offset = AT(journal) },
  { .name = "state",
    .value = "DIR",
    .help = "what is kept across restarts (SIPEAT_STATE; default .sipeat)",
    .kind = SIP_OPTION_TEXT,
    .offset = AT(state) },
  { .name = "http",
    .value = "HOST:PORT",
    .help = "where the program serves (SIPEAT_HTTP; default 127.0.0.1:3000)",
    .kind = SIP_OPTION_TEXT,
    .offset = AT(http) },
  { .name = "only",
    .value = "PART",
    .help = "broker, webhook, ports, journal, limits or program (which must answer then)",
    .kind = SIP_OPTION_TEXT,
    .offset = AT(only) },
  { .name = "timeout",
    .value = "TIME",
    .help = "patience with each peer (default 10s)",
    .kind = SIP_OPTION_DURATION,
    .offset = AT(timeout_ms) },
  { .name = "json", .help = "one JSON object a check", .kind = SIP_OPTION_ON, .offset = AT(json) },
  { 0 },
};

static const struct sip_usage usage = {
  .command = "sipeat doctor",
  .synopsis = "[TOPIC...] [options]",
  .text =
    "Checks what a program here depends on: broker and its security, topics, consumer groups, the\n"
    "clock, the Discord webhook, serial ports, the journal and its disk, limits, and whether a\n"
    "running program is ready. It changes nothing. Each fault comes with what to do; the exit "
    "code\n"
    "is 1 when something is wrong.",
  .examples = "  sipeat doctor\n"
              "  sipeat doctor orders -g order-service -b kafka:9092",
  .max_operands = MAX_NAMES,
};

/* --- facts --- */

/* The folder of a file, or of one that is yet to be made; then what its disk has left. */
static void push_disk(lua_State *L, const char *file)
{
  char folder[4096];
  char *slash;
  struct statvfs disk;

  (void)snprintf(folder, sizeof folder, "%s", file);
  slash = strrchr(folder, '/');
  if (slash == NULL) {
    (void)snprintf(folder, sizeof folder, ".");
  } else {
    *(slash == folder ? slash + 1 : slash) = '\0';
  }
  sip_push_text(L, "folder", folder);
  sip_push_flag(L, "exists", access(file, F_OK) == 0);
  sip_push_flag(L, "folder_exists", access(folder, F_OK) == 0);
  sip_push_flag(L, "writable", access(access(file, F_OK) == 0 ? file : folder, W_OK) == 0);
  if (statvfs(folder, &disk) == 0) {
    sip_push_number(L, "free_bytes", (int64_t)(disk.f_bavail * disk.f_frsize));
  }
}

/* key = { path =, others = }: may others read the private key? */
static void push_key(lua_State *L)
{
  const char *path = getenv("KAFKA_SSL_KEY");
  struct stat facts;

  if (path != NULL && stat(path, &facts) == 0) {
    lua_newtable(L);
    sip_push_text(L, "path", path);
    sip_push_flag(L, "others", (facts.st_mode & S_IROTH) != 0);
    lua_setfield(L, -2, "key");
  }
}

static void push_facts(lua_State *L)
{
  struct timex clock = { 0 };
  struct rlimit limit;

  if (adjtimex(&clock) >= 0) {
    lua_pushboolean(L, (clock.status & STA_UNSYNC) == 0);
    lua_setfield(L, -2, "clock_synchronised");
  }
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
    sip_push_number(L, "max_files", (int64_t)limit.rlim_cur);
  }
  push_key(L);
}

static void push_list(lua_State *L, const char *name, const char *const *values, size_t count)
{
  lua_createtable(L, (int)count, 0);
  for (size_t i = 0; i < count; i++) {
    lua_pushstring(L, values[i]);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  lua_setfield(L, -2, name);
}

static void push(lua_State *L, void *arg)
{
  const struct doctor_args *args = arg;
  char place[4096], file[4200];
  const char *journal;

  (void)snprintf(file, sizeof file, "%s/journal.db",
                 sip_settings_state(args->state, place, sizeof place));
  journal = sip_settings_text(args->journal, "SIPEAT_JOURNAL", file);
  lua_newtable(L);
  sip_push_flag(L, "json", args->json);
  sip_push_text(L, "only", args->only);
  sip_push_duration(L, "timeout", args->timeout_ms);
  sip_push_text(L, "http", sip_settings_text(args->http, "SIPEAT_HTTP", "127.0.0.1:3000"));
  push_list(L, "topics", (const char *const *)args->topics, (size_t)args->topic_count);
  push_list(L, "groups", args->groups, args->group_count);
  lua_newtable(L);
  sip_push_text(L, "place", journal);
  if (strstr(journal, "://") == NULL) {
    push_disk(L, journal);
  }
  lua_setfield(L, -2, "journal");
  push_facts(L);
}

int sip_verb_doctor(int argc, char **argv)
{
  struct sip_settings settings = { 0 };
  struct doctor_args args = { .timeout_ms = 10000 };
  struct sip_option_group groups[] = {
    { "options", options, &args },
    { "broker", sip_broker_options, &settings },
    { "log", sip_log_options, &settings },
  };
  struct sip_command command = {
    .name = usage.command,
    .module = "sipeat.command_doctor",
    .settings = &settings,
    .broker = SIP_COMMAND_MAYBE_BROKER,
    .push = push,
    .arg = &args,
  };
  int operand = 0;
  int code = sip_options_parse(&usage, groups, 3, argc, argv, &operand);

  if (code != SIP_GO_ON) {
    return code;
  }
  args.topics = argv + operand;
  args.topic_count = argc - operand;
  return sip_command_run(&command);
}
