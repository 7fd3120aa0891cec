/* describe.c - the option tables as words to complete and as manual pages (man(7)). */
#include "cli/describe.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { DESCRIBE_PARSE, DESCRIBE_WORDS, DESCRIBE_MANUAL };

static struct {
  int form;
  FILE *out;            /* of the page */
  const char *current;  /* the word to complete */
  const char *previous; /* the one before it; may be NULL */
} wanted;

/* --- words --- */

static bool takes_value(const struct sip_option *o, const char *word)
{
  if (o->value == NULL || word == NULL || word[0] != '-') {
    return false;
  }
  return word[1] == '-' ? strcmp(word + 2, o->name) == 0 : word[1] == o->letter && word[2] == '\0';
}

static void print_word(const char *dashes, const char *name, const char *help)
{
  (void)printf("%s%s\t%s\n", dashes, name, help);
}

static void print_options(const struct sip_option_group *groups, size_t count)
{
  for (size_t g = 0; g < count; g++) {
    for (const struct sip_option *o = groups[g].options; o->name != NULL; o++) {
      if (takes_value(o, wanted.previous)) {
        return; /* its value stands here, whatever it begins with */
      }
    }
  }
  if (wanted.current[0] != '-') {
    return;
  }
  for (size_t g = 0; g < count; g++) {
    for (const struct sip_option *o = groups[g].options; o->name != NULL; o++) {
      print_word("--", o->name, o->help);
    }
  }
  print_word("--", "help", "this text");
}

int sip_describe_words(const char *about, const struct sip_verb *verbs, int argc, char **argv)
{
  char empty[] = "", command[] = "sipeat";
  char *words[8] = { command };
  int count = 1;

  wanted.form = DESCRIBE_WORDS;
  wanted.current = argc > 0 ? argv[argc - 1] : empty;
  wanted.previous = argc > 1 ? argv[argc - 2] : NULL;
  for (int i = 0; i + 1 < argc && argv[i][0] != '-' && count < 7; i++) {
    words[count++] = argv[i];
  }
  (void)sip_cli_dispatch("sipeat", about, verbs, count, words);
  return SIP_EXIT_OK;
}

/* --- manual pages --- */

/* Text as roff: nothing of it is a request or an escape. */
static void put_text(const char *text)
{
  bool at_start = true;

  for (const char *c = text; *c != '\0'; c++) {
    if (at_start && (*c == '.' || *c == '\'')) {
      (void)fputs("\\&", wanted.out);
    }
    if (*c == '\\') {
      (void)fputs("\\e", wanted.out);
    } else if (*c == '-') {
      (void)fputs("\\-", wanted.out);
    } else {
      (void)fputc(*c, wanted.out);
    }
    at_start = *c == '\n';
  }
}

static void put_heading(const char *request, const char *text, const char *rest)
{
  (void)fprintf(wanted.out, "%s \"", request);
  for (const char *c = text; *c != '\0'; c++) {
    (void)fputc(*c >= 'a' && *c <= 'z' ? *c - 'a' + 'A' : *c, wanted.out);
  }
  (void)fprintf(wanted.out, "\"%s\n", rest);
}

static void put_option(const struct sip_option *o)
{
  (void)fputs(".TP\n\\fB", wanted.out);
  if (o->letter != '\0') {
    (void)fprintf(wanted.out, "\\-%c\\fR, \\fB", o->letter);
  }
  (void)fputs("\\-\\-", wanted.out);
  put_text(o->name);
  (void)fputs("\\fR", wanted.out);
  if (o->value != NULL) {
    (void)fputs(" \\fI", wanted.out);
    put_text(o->value);
    (void)fputs("\\fR", wanted.out);
  }
  (void)fputc('\n', wanted.out);
  put_text(o->help);
  (void)fputc('\n', wanted.out);
}

static void put_usage(const struct sip_usage *usage, const struct sip_option_group *groups,
                      size_t count)
{
  put_heading(".SH", usage->command, "");
  (void)fputs(".B ", wanted.out);
  put_text(usage->command);
  (void)fputc('\n', wanted.out);
  put_text(usage->synopsis);
  (void)fputs("\n.PP\n", wanted.out);
  put_text(usage->text != NULL ? usage->text : "");
  (void)fputc('\n', wanted.out);
  for (size_t g = 0; g < count; g++) {
    if (groups[g].options->name != NULL) {
      put_heading(".SS", groups[g].title, "");
    }
    for (const struct sip_option *o = groups[g].options; o->name != NULL; o++) {
      put_option(o);
    }
  }
  if (usage->examples != NULL) {
    (void)fputs(".SS \"EXAMPLES\"\n.nf\n", wanted.out);
    put_text(usage->examples);
    (void)fputs("\n.fi\n", wanted.out);
  }
}

static void put_verbs(const struct sip_verb *list)
{
  for (const struct sip_verb *verb = list; verb->name != NULL; verb++) {
    (void)fputs(".TP\n.B ", wanted.out);
    put_text(verb->name);
    (void)fputc('\n', wanted.out);
    put_text(verb->summary);
    (void)fputc('\n', wanted.out);
  }
}

static void put_ends(void)
{
  static const struct {
    int code;
    const char *meaning;
  } codes[] = {
    { SIP_EXIT_OK, "done" },
    { SIP_EXIT_FAILED, "tried, and some or all of it failed" },
    { SIP_EXIT_USAGE, "unknown verb or option, wrong argument" },
    { SIP_EXIT_SCRIPT, "the script is missing, does not parse, or raised while it loaded" },
    { SIP_EXIT_BROKER, "no broker, or it refused what was asked" },
    { SIP_EXIT_SETTINGS, "a .env file, an environment variable or a property is wrong" },
    { SIP_EXIT_STUCK, "a call of the script did not come back" },
    { SIP_EXIT_JOURNAL, "the journal cannot be opened, or not be written any more" },
  };

  (void)fputs(".SH \"EXIT STATUS\"\n", wanted.out);
  for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
    (void)fprintf(wanted.out, ".TP\n.B %d\n", codes[i].code);
    put_text(codes[i].meaning);
    (void)fputc('\n', wanted.out);
  }
}

/* Opens "<folder>/sipeat[-<verb>].1" and writes its head. */
static int open_page(const char *folder, const char *verb, const char *summary)
{
  char name[64], path[4096];

  (void)snprintf(name, sizeof name, "sipeat%s%s", verb != NULL ? "-" : "",
                 verb != NULL ? verb : "");
  (void)snprintf(path, sizeof path, "%s/%s.1", folder, name);
  wanted.out = fopen(path, "w");
  if (wanted.out == NULL) {
    (void)fprintf(stderr, "sipeat help: %s: %s\n", path, strerror(errno));
    return SIP_EXIT_FAILED;
  }
  put_heading(".TH", name, " 1 \"\" \"sipeat " SIP_VERSION "\" \"sipeat\"\n.SH NAME");
  put_text(name);
  (void)fputs(" \\- ", wanted.out);
  put_text(summary);
  (void)fputc('\n', wanted.out);
  return SIP_EXIT_OK;
}

static int close_page(void)
{
  bool failed = ferror(wanted.out) != 0;

  if (fclose(wanted.out) != 0 || failed) {
    (void)fprintf(stderr, "sipeat help: write a manual page: %s\n", strerror(errno));
    return SIP_EXIT_FAILED;
  }
  return SIP_EXIT_OK;
}

int sip_describe_manual(const char *about, const struct sip_verb *verbs, const char *folder)
{
  int code = open_page(folder, NULL, "run Lua scripts as event-driven services on Kafka");

  if (code != SIP_EXIT_OK) {
    return code;
  }
  wanted.form = DESCRIBE_MANUAL;
  (void)fputs(".SH SYNOPSIS\n.B sipeat\n\\fIVERB\\fR [options]\n.br\n.B sipeat\\-run\n"
              "\\fIFILE\\fR [options]\n.SH DESCRIPTION\n",
              wanted.out);
  put_text(about);
  (void)fputs("\n.SH VERBS\nEach has a page of its own, such as\n.BR sipeat\\-run (1).\n",
              wanted.out);
  put_verbs(verbs);
  put_ends();
  code = close_page();
  for (const struct sip_verb *verb = verbs; verb->name != NULL && code == SIP_EXIT_OK; verb++) {
    char name[64];
    char *argv[2] = { name, NULL };

    (void)snprintf(name, sizeof name, "%s", verb->name);
    code = open_page(folder, verb->name, verb->summary);
    if (code == SIP_EXIT_OK) {
      (void)verb->run(1, argv);
      (void)fputs(".SH \"SEE ALSO\"\n.BR sipeat (1)\n", wanted.out);
      code = close_page();
    }
  }
  return code;
}

/* --- what the verbs meet --- */

bool sip_describe_verbs(const char *command, const char *about, const struct sip_verb *list,
                        int argc)
{
  if (wanted.form == DESCRIBE_MANUAL) {
    put_heading(".SH", command, "");
    put_text(about);
    (void)fputc('\n', wanted.out);
    put_verbs(list);
    for (const struct sip_verb *verb = list; verb->name != NULL; verb++) {
      char name[64];
      char *argv[2] = { name, NULL };

      (void)snprintf(name, sizeof name, "%s", verb->name);
      (void)verb->run(1, argv);
    }
    return true;
  }
  if (wanted.form == DESCRIBE_WORDS && argc == 1) {
    for (const struct sip_verb *verb = list; verb->name != NULL; verb++) {
      print_word("", verb->name, verb->summary);
    }
    return true;
  }
  return false; /* words of a verb below this one are wanted, or nothing is */
}

bool sip_describe_usage(const struct sip_usage *usage, const struct sip_option_group *groups,
                        size_t count)
{
  if (wanted.form == DESCRIBE_MANUAL) {
    put_usage(usage, groups, count);
  } else if (wanted.form == DESCRIBE_WORDS) {
    print_options(groups, count);
  }
  return wanted.form != DESCRIBE_PARSE;
}
