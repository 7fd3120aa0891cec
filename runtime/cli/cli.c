/* cli.c - finds the verb that was typed. Nothing is opened here: `sipeat --version` must answer at
 * once. */
#include "cli/cli.h"

#include "cli/describe.h"
#include "core/nearest.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

static const struct sip_verb verbs[] = {
  { "run", "run a script: its flows, routes and timers", sip_verb_run },
  { "dev", "run a script with nothing installed: broker and capture page inside", sip_verb_dev },
  { "publish", "put events into a topic", sip_verb_publish },
  { "consume", "print the records of a topic", sip_verb_consume },
  { "topic", "create, list, show and delete topics", sip_verb_topic },
  { "group", "list, show and reset consumer groups", sip_verb_group },
  { "outbox", "list, show, retry and discard what waits here for the broker", sip_verb_outbox },
  { "project", "list, show and rebuild the projections of a script", sip_verb_project },
  { "top", "rates, lag and slow handlers of a running program, live", sip_verb_top },
  { "tap", "the events of a running program, each with its outcome", sip_verb_tap },
  { "dlq", "list, show and replay dead letters", sip_verb_dlq },
  { "chains", "list, show and decide what chains in the journal have done", sip_verb_chains },
  { "console", "serve the web console alone, against any cluster", sip_verb_console },
  { "replay", "run a recorded chain again on today's scripts, and compare", sip_verb_replay },
  { "key", "make keys that seal and open fields of events", sip_verb_key },
  { "user", "add, list, change and remove those who may sign in", sip_verb_user },
  { "token", "add, list and remove tokens for programs", sip_verb_token },
  { "audit", "list what was changed, and by whom", sip_verb_audit },
  { "discord", "try the Discord webhook", sip_verb_discord },
  { "serial", "ports and boards: list, monitor, send, record, simulate", sip_verb_serial },
  { "bench", "test hardware with a script, and write a report", sip_verb_bench },
  { "test", "run the tests of scripts: fakes, and time that passes at once", sip_verb_test },
  { "doctor", "say what is wrong with this machine's set-up, and what to do", sip_verb_doctor },
  { "version", "print the version", sip_verb_version },
  { NULL, NULL, NULL },
};

static void print_verbs(const char *command, const char *about, const struct sip_verb *list)
{
  (void)printf("usage: %s VERB [options]\n\n%s\n\nverbs:\n", command, about);
  for (const struct sip_verb *verb = list; verb->name != NULL; verb++) {
    (void)printf("  %-10s %s\n", verb->name, verb->summary);
  }
  (void)printf("\n\"%s VERB --help\" explains one of them.\n", command);
}

static const struct sip_verb *verb_find(const struct sip_verb *list, const char *name)
{
  for (const struct sip_verb *verb = list; verb->name != NULL; verb++) {
    if (strcmp(verb->name, name) == 0) {
      return verb;
    }
  }
  return NULL;
}

static int verb_unknown(const char *command, const struct sip_verb *list, const char *typed)
{
  const char *best = NULL;
  size_t distance = 0;

  for (const struct sip_verb *verb = list; verb->name != NULL; verb++) {
    sip_nearest_consider(typed, verb->name, &best, &distance);
  }
  if (best != NULL) {
    (void)fprintf(stderr, "%s: unknown verb \"%.40s\" (did you mean %s?)\n", command, typed, best);
  } else {
    (void)fprintf(stderr, "%s: unknown verb \"%.40s\"\n", command, typed);
  }
  (void)fprintf(stderr, "Try: %s --help\n", command);
  return SIP_EXIT_USAGE;
}

int sip_cli_dispatch(const char *command, const char *about, const struct sip_verb *list, int argc,
                     char **argv)
{
  const struct sip_verb *verb;
  const char *typed = argc > 1 ? argv[1] : NULL;

  if (sip_describe_verbs(command, about, list, argc)) {
    return SIP_EXIT_OK;
  }
  if (typed == NULL) {
    (void)fprintf(stderr, "%s: a verb is missing\nTry: %s --help\n", command, command);
    return SIP_EXIT_USAGE;
  }
  if (strcmp(typed, "--help") == 0 || strcmp(typed, "-h") == 0) {
    print_verbs(command, about, list);
    return SIP_EXIT_OK;
  }
  verb = verb_find(list, typed);
  if (verb == NULL && typed[0] == '-') {
    (void)fprintf(stderr,
                  "%s: unknown option %.40s (options come after the verb)\nTry: %s --help\n",
                  command, typed, command);
    return SIP_EXIT_USAGE;
  }
  return verb != NULL ? verb->run(argc - 1, argv + 1) : verb_unknown(command, list, typed);
}

/** `sipeat help [VERB]` reads like --help; `sipeat help --man FOLDER` writes the manual. */
static int help(const char *about, int argc, char **argv)
{
  const struct sip_verb *verb = argc > 2 ? verb_find(verbs, argv[2]) : NULL;
  char help_option[] = "--help";
  char *rest[3];

  if (argc <= 2) {
    print_verbs("sipeat", about, verbs);
    return SIP_EXIT_OK;
  }
  if (argc == 4 && strcmp(argv[2], "--man") == 0) {
    return sip_describe_manual(about, verbs, argv[3]);
  }
  if (verb == NULL) {
    return verb_unknown("sipeat", verbs, argv[2]);
  }
  rest[0] = argv[2];
  rest[1] = help_option;
  rest[2] = NULL;
  return verb->run(2, rest);
}

/** A result that could not be written (a full disk behind a redirection) is a failure. A reader
 * that has gone, such as `head`, is not. */
static int flushed(int code)
{
  if ((fflush(stdout) != 0 || ferror(stdout)) && errno != EPIPE && code == SIP_EXIT_OK) {
    (void)fprintf(stderr, "sipeat: write to standard output: %s\n", strerror(errno));
    return SIP_EXIT_FAILED;
  }
  return code;
}

int sip_cli_main(int argc, char **argv)
{
  static const char about[] =
    "Runs Lua scripts as event-driven services on Kafka. Begin with: sipeat dev FILE";
  const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;
  const char *called = argc > 0 ? (slash != NULL ? slash + 1 : argv[0]) : "sipeat";

  (void)signal(SIGPIPE, SIG_IGN); /* a peer that hung up is an error code, not the end */
  (void)signal(SIGXFSZ, SIG_IGN); /* so is a file that may not grow any more */
  if (strcmp(called, "sipeat-run") == 0) {
    return flushed(sip_verb_run(argc, argv));
  }
  if (argc > 1 && strcmp(argv[1], "--version") == 0) {
    return flushed(sip_verb_version(argc - 1, argv + 1));
  }
  if (argc > 1 && strcmp(argv[1], "help") == 0) {
    return flushed(help(about, argc, argv));
  }
  if (argc > 1 && strcmp(argv[1], "complete") == 0) {
    return flushed(sip_describe_words(about, verbs, argc - 2, argv + 2));
  }
  return flushed(sip_cli_dispatch("sipeat", about, verbs, argc, argv));
}
