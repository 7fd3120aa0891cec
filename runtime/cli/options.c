/* options.c - option tables on top of getopt_long: parsing, --help, and complaints that name the
 * nearest option. */
#include "cli/options.h"

#include "cli/cli.h"
#include "cli/describe.h"
#include "core/nearest.h"
#include "vm/vm.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  MAX_OPTIONS = 48,  /* of one verb, all groups together; asserted by every parse */
  LONG_FIRST = 1000, /* getopt_long's `val` of the first long option */
  HELP = 999,
  HELP_COLUMN = 30,
};

struct table {
  struct option longs[MAX_OPTIONS + 2]; /* --help and the end */
  char shorts[2 * MAX_OPTIONS + 4];
  const struct sip_option *options[MAX_OPTIONS];
  void *targets[MAX_OPTIONS];
  int count;
};

static void table_build(struct table *table, const struct sip_option_group *groups, size_t count)
{
  char *s = table->shorts;
  int n = 0;

  *s++ = ':'; /* a missing value is told apart from an unknown option */
  *s++ = 'h';
  for (size_t g = 0; g < count; g++) {
    for (const struct sip_option *o = groups[g].options; o->name != NULL; o++) {
      if (n == MAX_OPTIONS) {
        abort(); /* a table of ours that is too long */
      }
      table->options[n] = o;
      table->targets[n] = groups[g].target;
      table->longs[n] = (struct option){
        .name = o->name,
        .has_arg = o->value != NULL ? required_argument : no_argument,
        .val = LONG_FIRST + n,
      };
      if (o->letter != '\0') {
        *s++ = o->letter;
        if (o->value != NULL) {
          *s++ = ':';
        }
      }
      n++;
    }
  }
  *s = '\0';
  table->longs[n] = (struct option){ .name = "help", .val = HELP };
  table->longs[n + 1] = (struct option){ 0 };
  table->count = n;
}

static void print_option(const struct sip_option *o)
{
  char left[128];
  char letter[8] = "    ";

  if (o->letter != '\0') {
    (void)snprintf(letter, sizeof letter, "-%c, ", o->letter);
  }
  (void)snprintf(left, sizeof left, "  %s--%s%s%s", letter, o->name, o->value != NULL ? " " : "",
                 o->value != NULL ? o->value : "");
  if (strlen(left) >= HELP_COLUMN) {
    (void)printf("%s\n%*s%s\n", left, HELP_COLUMN, "", o->help);
  } else {
    (void)printf("%-*s%s\n", HELP_COLUMN, left, o->help);
  }
}

static void print_help(const struct sip_usage *usage, const struct sip_option_group *groups,
                       size_t count)
{
  static const struct sip_option help = { "help", 'h', NULL, "this text", SIP_OPTION_ON,
                                          0,      0,   0,    NULL };

  (void)printf("usage: %s %s\n", usage->command, usage->synopsis);
  if (usage->text != NULL) {
    (void)printf("\n%s\n", usage->text);
  }
  for (size_t g = 0; g < count; g++) {
    (void)printf("\n%s:\n", groups[g].title);
    for (const struct sip_option *o = groups[g].options; o->name != NULL; o++) {
      print_option(o);
    }
    if (g == 0) {
      print_option(&help);
    }
  }
  if (usage->examples != NULL) {
    (void)printf("\nexamples:\n%s\n", usage->examples);
  }
}

int sip_usage_error(const struct sip_usage *usage, const char *format, ...)
{
  va_list args;

  (void)fprintf(stderr, "%s: ", usage->command);
  va_start(args, format);
  (void)vfprintf(stderr, format, args);
  va_end(args);
  (void)fprintf(stderr, "\nTry: %s --help\n", usage->command);
  return SIP_EXIT_USAGE;
}

static int unknown_option(const struct sip_usage *usage, const struct table *table,
                          const char *typed)
{
  char word[64];
  const char *best = NULL;
  size_t distance = 0;

  if (typed[0] != '-' || typed[1] != '-') {
    return sip_usage_error(usage, "unknown option -%c", optopt);
  }
  (void)snprintf(word, sizeof word, "%.*s", (int)strcspn(typed + 2, "="), typed + 2);
  for (int i = 0; i < table->count; i++) {
    size_t len = strlen(word);

    if (len > 0 && strncmp(table->options[i]->name, word, len) == 0 && best != NULL &&
        distance == 0) {
      return sip_usage_error(usage, "--%s may be --%s or --%s", word, best,
                             table->options[i]->name);
    }
    sip_nearest_consider(word, table->options[i]->name, &best, &distance);
  }
  sip_nearest_consider(word, "help", &best, &distance);
  if (best == NULL) {
    return sip_usage_error(usage, "unknown option --%s", word);
  }
  if (strchr(typed, '=') != NULL && strcmp(best, word) == 0) {
    return sip_usage_error(usage, "--%s takes no value", word);
  }
  return sip_usage_error(usage, "unknown option --%s (did you mean --%s?)", word, best);
}

int sip_option_number(const struct sip_option *o, const char *value, int64_t *out,
                      struct sip_err *err)
{
  char *end = NULL;
  long long number;

  errno = 0;
  number = strtoll(value, &end, 10);
  if (errno != 0 || end == value || *end != '\0' || number < o->min || number > o->max) {
    return sip_err_set(err, UV_EINVAL, "is not a whole number from %lld to %lld: \"%.40s\"",
                       (long long)o->min, (long long)o->max, value);
  }
  *out = number;
  return 0;
}

static int apply(const struct sip_option *o, void *target, const char *value, struct sip_err *err)
{
  char *field = (char *)target + o->offset;

  switch (o->kind) {
  case SIP_OPTION_ON:
  case SIP_OPTION_OFF:
    *(bool *)(void *)field = o->kind == SIP_OPTION_ON;
    return 0;
  case SIP_OPTION_TEXT:
    *(const char **)(void *)field = value;
    return 0;
  case SIP_OPTION_NUMBER:
    return sip_option_number(o, value, (int64_t *)(void *)field, err);
  case SIP_OPTION_DURATION:
    if (!sip_parse_duration_ms(value, strlen(value), (uint64_t *)(void *)field)) {
      return sip_err_set(err, UV_EINVAL, "is not a duration such as 200ms, 5s or 2m: \"%.40s\"",
                         value);
    }
    return 0;
  case SIP_OPTION_CALL:
    return o->call(target, value, err);
  }
  return 0;
}

/** The option that getopt_long's answer stands for, or -1. */
static int table_index(const struct table *table, int answer)
{
  if (answer >= LONG_FIRST) {
    return answer - LONG_FIRST;
  }
  for (int i = 0; i < table->count; i++) {
    if (table->options[i]->letter == answer) {
      return i;
    }
  }
  return -1;
}

static int check_operands(const struct sip_usage *usage, int argc, char **argv, int first)
{
  int given = argc - first;

  if (given < usage->min_operands) {
    return sip_usage_error(usage, "%s is missing",
                           usage->operand != NULL ? usage->operand : "an argument");
  }
  if (given > usage->max_operands) {
    return sip_usage_error(usage, "unexpected argument \"%.80s\"",
                           argv[first + usage->max_operands]);
  }
  return SIP_GO_ON;
}

int sip_options_parse(const struct sip_usage *usage, const struct sip_option_group *groups,
                      size_t group_count, int argc, char **argv, int *operand)
{
  struct table table;
  int answer;

  if (sip_describe_usage(usage, groups, group_count)) {
    return SIP_EXIT_OK;
  }
  table_build(&table, groups, group_count);
  opterr = 0;
  optind = 0; /* glibc: start anew */
  while ((answer = getopt_long(argc, argv, table.shorts, table.longs, NULL)) != -1) {
    const struct sip_option *o;
    struct sip_err err = { 0 };
    int index;

    if (answer == 'h' || answer == HELP) {
      print_help(usage, groups, group_count);
      return SIP_EXIT_OK;
    }
    if (answer == ':') {
      return sip_usage_error(usage, "%s needs a value", argv[optind - 1]);
    }
    index = table_index(&table, answer);
    if (answer == '?' || index < 0) {
      return unknown_option(usage, &table, argv[optind - 1]);
    }
    o = table.options[index];
    if (apply(o, table.targets[index], optarg, &err) < 0) {
      return sip_usage_error(usage, "--%s %s", o->name, err.message);
    }
  }
  *operand = optind;
  return check_operands(usage, argc, argv, optind);
}
