/* worker_test.c - a whole program with two workers: both handle events, reload and drain. What they
 * share shows under ThreadSanitizer. */
#include "cli/host.h"
#include "core/log.h"
#include "support/test.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char SCRIPT[] =
  "local sipeat = require 'sipeat'\n"
  "local n = 0\n"
  "sipeat.every('20ms', function()\n"
  "  n = n + 1\n"
  "  sipeat.publish('x', { n = n }, { topic = 'work', key = 'k' .. n })\n"
  "end)\n"
  "sipeat.flow { topic = 'work', group = 'work', on = { x = function(event, ctx)\n"
  "  ctx:emit('out', event.key, 'y')\n"
  "  sipeat.log.info('handled by ' .. sipeat.worker .. ' of ' .. sipeat.workers)\n"
  "end } }\n";

/* Reads the log until a line has the text. */
static void wait_for(FILE *log, const char *text)
{
  char line[16384];

  do {
    CHECK(fgets(line, sizeof line, log) != NULL);
  } while (strstr(line, text) == NULL);
}

static void *watch(void *arg)
{
  FILE *log = fdopen(*(int *)arg, "r");
  char line[16384];

  CHECK(log != NULL);
  wait_for(log, "handled by 1 of 2");
  wait_for(log, "handled by 2 of 2");
  CHECK(kill(getpid(), SIGHUP) == 0);
  wait_for(log, "(loaded in");
  wait_for(log, "handled by 1 of 2");
  wait_for(log, "handled by 2 of 2");
  CHECK(kill(getpid(), SIGTERM) == 0);
  while (fgets(line, sizeof line, log) != NULL) { /* so that nobody waits to write */
    CHECK(strstr(line, "\"level\":\"error\"") == NULL);
  }
  CHECK(fclose(log) == 0);
  return NULL;
}

int main(void)
{
  char path[] = "/tmp/sipeat-workers-XXXXXX";
  int fd = mkstemp(path), ends[2];
  struct sip_settings settings = { 0 };
  struct sip_host_options options = {
    .name = "worker_test",
    .script = path,
    .http = "off",
    .state = "off",
    .embedded = true,
    .drain_ms = 10000,
    .workers = 2,
    .memory_bytes = (uint64_t)1 << 30,
  };
  pthread_t watcher;

  CHECK(fd >= 0 && write(fd, SCRIPT, sizeof SCRIPT - 1) == (ssize_t)sizeof SCRIPT - 1);
  CHECK(close(fd) == 0 && pipe(ends) == 0);
  CHECK(setenv("XDG_RUNTIME_DIR", "/nonexistent", 1) == 0); /* nobody is to find the broker */
  (void)signal(SIGPIPE, SIG_IGN);
  sip_log_setup(ends[1], SIP_LOG_JSON, SIP_LOG_INFO);
  CHECK(pthread_create(&watcher, NULL, watch, &ends[0]) == 0);
  CHECK_INT(sip_host_run(&settings, &options), 0);
  CHECK(close(ends[1]) == 0 && pthread_join(watcher, NULL) == 0 && unlink(path) == 0);
  return 0;
}
