#ifndef SIP_CLI_CLI_H
#define SIP_CLI_CLI_H
/* cli.h - the command line: which verbs there are, and how each of them can end. Main thread. */

/* Exit codes of every verb; docs/cli.md lists them. A process that a signal stops ends with 128 +
 * signal. */
enum sip_exit {
  SIP_EXIT_OK = 0,
  SIP_EXIT_FAILED = 1,   /* tried, and some or all of it failed */
  SIP_EXIT_USAGE = 2,    /* unknown verb or option, wrong argument */
  SIP_EXIT_SCRIPT = 3,   /* the script is missing, does not parse, or raised while it loaded */
  SIP_EXIT_BROKER = 4,   /* no broker, or it refused what was asked */
  SIP_EXIT_SETTINGS = 5, /* a .env file, an environment variable or a -X property is wrong */
  SIP_EXIT_STUCK = 6,    /* SIP_BUDGET_EXIT_STUCK: a call of the script did not come back */
  SIP_EXIT_JOURNAL = 7,  /* the journal cannot be opened, or not be written any more */
};

struct sip_verb {
  const char *name;
  const char *summary; /* one line for the list of verbs */
  /* `argv[0]` is the verb; both end with NULL. @return an exit code */
  int (*run)(int argc, char **argv);
};

/** Finds the verb that `argv[1]` names and runs it; --help and -h list the verbs.
 *  @param command  what is typed before the verb: "sipeat" or "sipeat topic"
 *  @param about    a paragraph above the list of verbs
 *  @param verbs    ends with a NULL name
 *  @return an exit code: SIP_EXIT_USAGE after naming the nearest known verb */
int sip_cli_dispatch(const char *command, const char *about, const struct sip_verb *verbs, int argc,
                     char **argv);

/** The whole program. Called as sipeat-run, it is `sipeat run`. */
int sip_cli_main(int argc, char **argv);

int sip_verb_run(int argc, char **argv);
int sip_verb_dev(int argc, char **argv);
int sip_verb_publish(int argc, char **argv);
int sip_verb_consume(int argc, char **argv);
int sip_verb_topic(int argc, char **argv);
int sip_verb_group(int argc, char **argv);
int sip_verb_outbox(int argc, char **argv);
int sip_verb_top(int argc, char **argv);
int sip_verb_tap(int argc, char **argv);
int sip_verb_project(int argc, char **argv);
int sip_verb_dlq(int argc, char **argv);
int sip_verb_chains(int argc, char **argv);
int sip_verb_console(int argc, char **argv);
int sip_verb_replay(int argc, char **argv);
int sip_verb_user(int argc, char **argv);
int sip_verb_token(int argc, char **argv);
int sip_verb_audit(int argc, char **argv);
int sip_verb_discord(int argc, char **argv);
int sip_verb_serial(int argc, char **argv);
int sip_verb_bench(int argc, char **argv);
int sip_verb_key(int argc, char **argv);
int sip_verb_test(int argc, char **argv);
int sip_verb_doctor(int argc, char **argv);
int sip_verb_version(int argc, char **argv);

#endif
