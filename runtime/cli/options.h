#ifndef SIP_CLI_OPTIONS_H
#define SIP_CLI_OPTIONS_H
/* options.h - option tables of the verbs: parsed by getopt_long, shown by --help.
 *
 * A table names each option once: its kind says how the value is checked and where in the target
 * struct it is put. Main thread: getopt_long keeps its state in globals. */
#include "core/err.h"

#include <stddef.h>
#include <stdint.h>

enum sip_option_kind {
  SIP_OPTION_ON,       /* bool *: becomes true */
  SIP_OPTION_OFF,      /* bool *: becomes false */
  SIP_OPTION_TEXT,     /* const char **: borrowed from argv */
  SIP_OPTION_NUMBER,   /* int64_t *: whole number within min and max */
  SIP_OPTION_DURATION, /* uint64_t *: milliseconds; typed as "200ms", "5s" */
  SIP_OPTION_CALL,     /* `call` takes the value; may be given repeatedly */
};

typedef int (*sip_option_fn)(void *target, const char *value, struct sip_err *err);

struct sip_option {
  const char *name;  /* without dashes; NULL ends a table */
  char letter;       /* '\0': none */
  const char *value; /* what the value is called in --help; NULL: a switch */
  const char *help;
  enum sip_option_kind kind;
  size_t offset; /* of the field in the target */
  int64_t min, max;
  sip_option_fn call;
};

struct sip_option_group {
  const char *title; /* heading in --help, "options" */
  const struct sip_option *options;
  void *target; /* borrowed */
};

struct sip_usage {
  const char *command;  /* "sipeat topic create" */
  const char *synopsis; /* "NAME [options]" */
  const char *text;     /* paragraphs below; may be NULL */
  const char *examples; /* indented lines; may be NULL */
  int min_operands, max_operands;
  const char *operand; /* what a missing operand is called: "FILE" */
};

enum { SIP_GO_ON = -1 };

/** Parses `argv[1]…`, options and operands in any order.
 *  @return SIP_GO_ON, with `*operand` the index of the first operand in the reordered argv; or the
 * exit code to end with, after --help or the complaint was printed */
int sip_options_parse(const struct sip_usage *usage, const struct sip_option_group *groups,
                      size_t group_count, int argc, char **argv, int *operand);

/** A whole number within o->min and o->max. @return 0, or UV_EINVAL with `err` */
int sip_option_number(const struct sip_option *o, const char *value, int64_t *out,
                      struct sip_err *err);

/** Complains on standard error as sip_options_parse does. @return SIP_EXIT_USAGE */
int sip_usage_error(const struct sip_usage *usage, const char *format, ...)
  __attribute__((format(printf, 2, 3)));

#endif
