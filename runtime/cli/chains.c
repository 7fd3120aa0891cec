/* chains.c - `sipeat chains …` and `sipeat replay`: their options; the work is in
 * stdlib/command_chains.lua and stdlib/command_replay.lua. */
#include "cli/cli.h"
#include "cli/command.h"
#include "cli/push.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct chains_args {
  const char *action, *operands[2], *journal;
  const char *state, *flow, *type, *key, *event, *since, *older; /* list */
  const char *who, *why, *result;                                /* verbs */
  const char *output;                                            /* export */
  uint64_t keep_ms;                                              /* vacuum; 0: the default */
  int64_t max;
  bool json, dry_run, not_done;
};

#define AT(field) offsetof(struct chains_args, field)

static const struct sip_option journal_options[] = {
  { .name = "journal",
    .value = "PLACE",
    .help = "a file or postgres://… (SIPEAT_JOURNAL; default journal.db in SIPEAT_STATE)",
    .kind = SIP_OPTION_TEXT,
    .offset = AT(journal) },
  { .name = "json", .help = "one JSON object a line", .kind = SIP_OPTION_ON, .offset = AT(json) },
  { 0 },
};

static const struct sip_option no_options[] = { { 0 } };

static const struct sip_option list_options[] = {
  { .name = "state",
    .value = "STATE",
    .help = "parked, held, waiting, sleeping, active, done, dead, abandoned, completed or all "
            "(default: those that are open)",
    .kind = SIP_OPTION_TEXT,
    .offset = AT(state) },
  { .name = "flow",
    .value = "GROUP",
    .help = "only those of this flow",
    .kind = SIP_OPTION_TEXT,
    .offset = AT(flow) },
  { .name = "type",
    .value = "TYPE",
    .help = "only events of this type",
    .kind = SIP_OPTION_TEXT,
    .offset = AT(type) },
  { .name = "key",
    .value = "KEY",
    .help = "only records with this key",
    .kind = SIP_OPTION_TEXT,
    .offset = AT(key) },
  { .name = "event",
    .value = "ID",
    .help = "only those of the event with this id, ended ones too",
    .kind = SIP_OPTION_TEXT,
    .offset = AT(event) },
  { .name = "since",
    .value = "TIME",
    .help = "only those that began since then: 2026-01-31T12:00:00Z, or 2h ago as 2h",
    .kind = SIP_OPTION_TEXT,
    .offset = AT(since) },
  { .name = "older",
    .value = "TIME",
    .help = "only those that began before then",
    .kind = SIP_OPTION_TEXT,
    .offset = AT(older) },
  { .name = "max",
    .letter = 'n',
    .value = "N",
    .help = "the newest N (default 100); parked ones go first",
    .kind = SIP_OPTION_NUMBER,
    .offset = AT(max),
    .min = 1,
    .max = 10000 },
  { 0 },
};

#define WORD_OPTIONS                                                                               \
  { .name = "why",                                                                                 \
    .value = "TEXT",                                                                               \
    .help = "the reason, which is kept with it",                                                   \
    .kind = SIP_OPTION_TEXT,                                                                       \
    .offset = AT(why) },                                                                           \
    { .name = "who",                                                                               \
      .value = "NAME",                                                                             \
      .help = "who says so (default: this user)",                                                  \
      .kind = SIP_OPTION_TEXT,                                                                     \
      .offset = AT(who) },                                                                         \
  {                                                                                                \
    .name = "dry-run", .help = "show what would be written, and write nothing",                    \
    .kind = SIP_OPTION_ON, .offset = AT(dry_run)                                                   \
  }

static const struct sip_option word_options[] = { WORD_OPTIONS, { 0 } };

static const struct sip_option skip_options[] = {
  { .name = "result",
    .value = "JSON",
    .help = "the step has happened, with this result (default: none)",
    .kind = SIP_OPTION_TEXT,
    .offset = AT(result) },
  { .name = "not-done",
    .help = "the step has not happened: it runs again",
    .kind = SIP_OPTION_ON,
    .offset = AT(not_done) },
  WORD_OPTIONS,
  { 0 },
};

static const struct sip_option export_options[] = {
  { .name = "output",
    .letter = 'o',
    .value = "FILE",
    .help = "where to write it (default: chain-ID.jsonl; - for standard output)",
    .kind = SIP_OPTION_TEXT,
    .offset = AT(output) },
  { 0 },
};

static const struct sip_option vacuum_options[] = {
  { .name = "journal-keep",
    .value = "TIME",
    .help = "how long what has ended is kept (SIPEAT_JOURNAL_KEEP; default 7d)",
    .kind = SIP_OPTION_DURATION,
    .offset = AT(keep_ms) },
  { 0 },
};

/* As `run` has it (host_journal.c): the option, SIPEAT_JOURNAL, or a file in the state. */
static const char *journal_place(const struct chains_args *args, char *place, size_t size)
{
  char state[2048];

  (void)snprintf(place, size, "%s/journal.db", sip_settings_state(NULL, state, sizeof state));
  return sip_settings_text(args->journal, "SIPEAT_JOURNAL", place);
}

static void push(lua_State *L, void *arg)
{
  const struct chains_args *args = arg;
  char place[4096];
  const char *chosen = journal_place(args, place, sizeof place);

  lua_newtable(L);
  sip_push_text(L, "action", args->action);
  sip_push_text(L, "id", args->operands[0]);
  sip_push_text(L, "step", args->operands[1]);
  sip_push_text(L, "journal", chosen);
  sip_push_flag(L, "missing", strstr(chosen, "://") == NULL && access(chosen, F_OK) != 0);
  sip_push_text(L, "state", args->state);
  sip_push_text(L, "flow", args->flow);
  sip_push_text(L, "type", args->type);
  sip_push_text(L, "key", args->key);
  sip_push_text(L, "event", args->event);
  sip_push_text(L, "since", args->since);
  sip_push_text(L, "older", args->older);
  if (args->who != NULL) {
    sip_push_text(L, "who", args->who);
  } else {
    sip_push_login(L, "who");
  }
  sip_push_text(L, "why", args->why);
  sip_push_text(L, "result", args->result);
  sip_push_text(L, "output", args->output);
  if (args->keep_ms > 0) {
    sip_push_duration(L, "keep", args->keep_ms);
  }
  if (args->max > 0) {
    sip_push_number(L, "max", args->max);
  }
  sip_push_flag(L, "json", args->json);
  sip_push_flag(L, "dry_run", args->dry_run);
  sip_push_flag(L, "not_done", args->not_done);
}

static int run(const struct sip_usage *usage, const char *action, const char *module,
               const struct sip_option *own, int argc, char **argv)
{
  struct sip_settings settings = { 0 };
  struct chains_args args = { .action = action };
  struct sip_option_group groups[] = {
    { "options", own, &args },
    { "journal", journal_options, &args },
    { "log", sip_log_options, &settings },
  };
  struct sip_command command = { usage->command,        module, &settings,
                                 SIP_COMMAND_NO_BROKER, push,   &args };
  int operand = 0;
  int code = sip_options_parse(usage, groups, 3, argc, argv, &operand);

  if (code != SIP_GO_ON) {
    return code;
  }
  for (int i = 0; i < 2 && operand + i < argc; i++) {
    args.operands[i] = argv[operand + i];
  }
  if ((own == word_options || own == skip_options) && (args.why == NULL || args.why[0] == '\0')) {
    return sip_usage_error(usage, "say why: --why TEXT");
  }
  return sip_command_run(&command);
}

#define VERB(name, summary, operands, count, options, about)                                       \
  static int name(int argc, char **argv)                                                           \
  {                                                                                                \
    static const struct sip_usage usage = {                                                        \
      .command = "sipeat chains " summary,                                                         \
      .synopsis = operands "[options]",                                                            \
      .text = (about),                                                                             \
      .min_operands = (count),                                                                     \
      .max_operands = (count),                                                                     \
      .operand = (count) == 2 ? "ID and STEP" : "ID",                                              \
    };                                                                                             \
                                                                                                   \
    return run(&usage, summary, "sipeat.command_chains", options, argc, argv);                     \
  }

VERB(list, "list", "", 0, list_options,
     "Lists the chains of the journal that have not ended, with the reason where one is parked.")
VERB(show, "show", "ID ", 1, no_options,
     "Shows what a chain has done: each step, its outcome, its time, and what people said of it; "
     "and\nwhat can be said now. ID is the chain's, or its event's.")
VERB(retry, "retry", "ID ", 1, word_options,
     "Lets a parked chain go on from where it stands. A step in doubt asks the world again first;\n"
     "nothing is repeated blindly.")
VERB(skip, "skip", "ID STEP ", 2, skip_options,
     "Says that a step is settled: it has happened, or with --not-done it has not and runs again;\n"
     "while a chain is undone, that this step was undone by hand.")
VERB(undo, "undo", "ID ", 1, word_options,
     "Undoes what a chain has done, in reverse, also past a point of no return.")
VERB(complete, "complete", "ID ", 1, word_options,
     "Declares a chain done. Nothing more of it runs.")
VERB(abandon, "abandon", "ID ", 1, word_options,
     "Gives a chain up. Nothing more of it runs, and nothing is undone.")
VERB(export, "export", "ID ", 1, export_options,
     "Writes a chain with its event, its records and its script to a file for sipeat replay.")
VERB(versions, "versions", "", 0, no_options,
     "Lists the versions of the script that the journal keeps, and how many chains need each.")
VERB(vacuum, "vacuum", "", 0, vacuum_options,
     "Deletes what has ended long ago, and gives the room back to the disk.")

int sip_verb_chains(int argc, char **argv)
{
  static const struct sip_verb verbs[] = {
    { "list", "chains that have not ended; parked ones first", list },
    { "show", "what a chain has done, and what can be said now", show },
    { "retry", "let a parked chain go on", retry },
    { "skip", "say that a step is settled", skip },
    { "undo", "undo what a chain has done", undo },
    { "complete", "declare a chain done", complete },
    { "abandon", "give a chain up", abandon },
    { "export", "write a chain to a file for sipeat replay", export },
    { "versions", "versions of the script in the journal", versions },
    { "vacuum", "delete what has ended long ago", vacuum },
    { NULL, NULL, NULL },
  };

  return sip_cli_dispatch("sipeat chains", "Chains in the journal: durable, parked, undone.", verbs,
                          argc, argv);
}

int sip_verb_replay(int argc, char **argv)
{
  static const struct sip_option options[] = {
    { .name = "json", .help = "one JSON object a line", .kind = SIP_OPTION_ON, .offset = AT(json) },
    { 0 },
  };
  static const struct sip_usage usage = {
    .command = "sipeat replay",
    .synopsis = "FILE [SCRIPT] [options]",
    .text = "Runs a chain that sipeat chains export wrote again, on SCRIPT (default: the script "
            "as it\nwas). Each step gets the answer that was recorded: nothing leaves the machine. "
            "Says where the\ntwo part; the exit code is 1 then.",
    .examples = "  sipeat replay chain-123.jsonl scripts/pipeline.lua",
    .min_operands = 1,
    .max_operands = 2,
    .operand = "FILE",
  };
  struct sip_settings settings = { 0 };
  struct chains_args args = { .action = "replay" };
  struct sip_option_group groups[] = {
    { "options", options, &args },
    { "log", sip_log_options, &settings },
  };
  struct sip_command command = {
    usage.command, "sipeat.command_replay", &settings, SIP_COMMAND_NO_BROKER, push, &args,
  };
  int operand = 0;
  int code = sip_options_parse(&usage, groups, 2, argc, argv, &operand);

  if (code != SIP_GO_ON) {
    return code;
  }
  for (int i = 0; i < 2 && operand + i < argc; i++) {
    args.operands[i] = argv[operand + i];
  }
  return sip_command_run(&command);
}
