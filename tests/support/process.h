#ifndef SIP_PROCESS_H
#define SIP_PROCESS_H
/* process.h - a helper program of a test, such as a small server in Python: it prints one line when
 * it is ready, and ends when the test closes its standard input or dies. */
#include "support/test.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

struct sip_process {
  pid_t pid;
  int in;         /* its standard input: closing it tells it to end */
  char line[256]; /* what it printed first, without the line's end */
};

/** Starts tests/support/<script> with Python and up to two arguments (NULL: none), and waits for
 *  its first line. `file` is the caller's __FILE__. */
static inline void sip_process_start(struct sip_process *process, const char *file,
                                     const char *script, const char *first, const char *second)
{
  const char *tests = strstr(file, "/tests/");
  int in[2], out[2];
  char path[1024];
  size_t used = 0;

  CHECK(tests != NULL && pipe(in) == 0 && pipe(out) == 0);
  (void)snprintf(path, sizeof path, "%.*s/tests/support/%s", (int)(tests - file), file, script);
  process->pid = fork();
  CHECK(process->pid >= 0);
  if (process->pid == 0) {
    (void)dup2(in[0], 0);
    (void)dup2(out[1], 1);
    for (int fd = 3; fd < 64; fd++) {
      (void)close(fd);
    }
    (void)execlp("python3", "python3", "-u", path, first, second, (char *)NULL);
    _exit(127);
  }
  (void)close(in[0]);
  (void)close(out[1]);
  process->in = in[1];
  while (used + 1 < sizeof process->line && read(out[0], process->line + used, 1) == 1 &&
         process->line[used] != '\n') {
    used++;
  }
  process->line[used] = '\0';
  (void)close(out[0]);
  if (used == 0) {
    SIP_TEST_FAIL("%s did not start", script);
  }
}

static inline void sip_process_stop(struct sip_process *process)
{
  (void)close(process->in);
  (void)kill(process->pid, SIGTERM);
  (void)waitpid(process->pid, NULL, 0);
}

#endif
