/* main.c - start of the program. */
#include "cli/cli.h"

int main(int argc, char **argv)
{
  return sip_cli_main(argc, argv);
}
