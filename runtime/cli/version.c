/* version.c - `sipeat version`: this program's version and those of the libraries it runs with. */
#include "cli/cli.h"
#include "cli/options.h"

#include <lua.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

struct version_args {
  bool json;
};

int sip_verb_version(int argc, char **argv)
{
  static const struct sip_option options[] = {
    { "json", '\0', NULL, "one JSON object", SIP_OPTION_ON, offsetof(struct version_args, json), 0,
      0, NULL },
    { 0 },
  };
  static const struct sip_usage usage = {
    .command = "sipeat version",
    .synopsis = "[--json]",
    .text = "Prints the version. \"sipeat --version\" does the same.",
  };
  struct version_args args = { false };
  struct sip_option_group group = { "options", options, &args };
  int operand = 0;
  int code = sip_options_parse(&usage, &group, 1, argc, argv, &operand);

  if (code != SIP_GO_ON) {
    return code;
  }
  if (args.json) {
    (void)printf("{\"name\":\"sipeat\",\"version\":\"%s\",\"lua\":\"%s\",\"libuv\":\"%s\"}\n",
                 SIP_VERSION, LUA_RELEASE, uv_version_string());
  } else {
    (void)printf("sipeat %s (%s, libuv %s)\n", SIP_VERSION, LUA_RELEASE, uv_version_string());
  }
  return SIP_EXIT_OK;
}
