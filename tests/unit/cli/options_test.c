/* options_test.c - option tables: values, operands, and the exit codes of complaints. */
#include "cli/cli.h"
#include "cli/options.h"
#include "support/test.h"

#include <stdbool.h>
#include <unistd.h>

struct target {
  bool json, watch;
  const char *data;
  int64_t max;
  uint64_t every_ms;
  int calls;
};

static int call(void *target, const char *value, struct sip_err *err)
{
  if (strcmp(value, "bad") == 0) {
    return sip_err_set(err, UV_EINVAL, "is bad");
  }
  ((struct target *)target)->calls++;
  return 0;
}

#define AT(field) offsetof(struct target, field)

static const struct sip_option options[] = {
  { "json", '\0', NULL, "JSON", SIP_OPTION_ON, AT(json), 0, 0, NULL },
  { "no-watch", '\0', NULL, "no watching", SIP_OPTION_OFF, AT(watch), 0, 0, NULL },
  { "data", 'd', "JSON", "data", SIP_OPTION_TEXT, AT(data), 0, 0, NULL },
  { "max", 'n', "N", "most", SIP_OPTION_NUMBER, AT(max), 1, 100, NULL },
  { "every", '\0', "TIME", "period", SIP_OPTION_DURATION, AT(every_ms), 0, 0, NULL },
  { "each", 'X', "V", "repeated", SIP_OPTION_CALL, 0, 0, 0, call },
  { 0 },
};

static const struct sip_usage usage = {
  .command = "sipeat test",
  .synopsis = "FILE [options]",
  .min_operands = 1,
  .max_operands = 1,
  .operand = "FILE",
};

static struct target target;
static char *argument; /* the operand */

/* Arguments are separated by single blanks. */
static int parse(const char *line)
{
  static char copy[256];
  struct sip_option_group group = { "options", options, &target };
  char *argv[16], *save = NULL;
  int argc = 0, operand = 0, code;

  (void)snprintf(copy, sizeof copy, "test %s", line);
  for (char *word = strtok_r(copy, " ", &save); word != NULL; word = strtok_r(NULL, " ", &save)) {
    argv[argc++] = word;
  }
  argv[argc] = NULL;
  target = (struct target){ .watch = true };
  code = sip_options_parse(&usage, &group, 1, argc, argv, &operand);
  argument = operand > 0 && operand < argc ? argv[operand] : NULL;
  return code;
}

/* As parse for a line that is refused: what it says has `part`. */
static void refused(const char *line, const char *part)
{
  char text[512] = "";
  FILE *file = tmpfile();
  int saved = dup(STDERR_FILENO);

  CHECK(file != NULL && saved >= 0);
  CHECK(dup2(fileno(file), STDERR_FILENO) >= 0);
  CHECK_INT(parse(line), SIP_EXIT_USAGE);
  CHECK(dup2(saved, STDERR_FILENO) >= 0);
  rewind(file);
  CHECK(fread(text, 1, sizeof text - 1, file) > 0);
  CHECK_HAS(text, part);
  CHECK_HAS(text, "Try: sipeat test --help");
  CHECK_INT(fclose(file), 0);
  CHECK_INT(close(saved), 0);
}

int main(void)
{
  CHECK_INT(parse("--json a.lua --max 7 -d {} --every 1.5s -X a=b -X c=d --no-watch"), SIP_GO_ON);
  CHECK_STR(argument, "a.lua");
  CHECK(target.json && !target.watch);
  CHECK_STR(target.data, "{}");
  CHECK_INT(target.max, 7);
  CHECK_INT(target.every_ms, 1500);
  CHECK_INT(target.calls, 2);
  CHECK_INT(parse("--max=100 -- --json"), SIP_GO_ON);
  CHECK_STR(argument, "--json");
  CHECK(!target.json && target.watch);
  CHECK_INT(parse("--help"), SIP_EXIT_OK);
  CHECK_INT(parse("-h"), SIP_EXIT_OK);
  refused("", "FILE is missing");
  refused("a b", "unexpected argument \"b\"");
  refused("a --jsn", "unknown option --jsn (did you mean --json?)");
  refused("a --wtach", "unknown option --wtach\n");
  refused("a --nowatch=1", "unknown option --nowatch (did you mean --no-watch?)");
  refused("a --bananas", "unknown option --bananas\n");
  refused("a -q", "unknown option -q");
  refused("a --json=1", "--json takes no value");
  refused("a --max", "--max needs a value");
  refused("a --max 0", "--max is not a whole number from 1 to 100: \"0\"");
  refused("a --max 12x", "--max is not a whole number");
  refused("a --max 99999999999999999999", "--max is not a whole number");
  refused("a --every 5", "--every is not a duration");
  refused("a -X bad", "--each is bad");
  (void)printf("ok\n");
  return 0;
}
