/* rendezvous_test.c - a running embedded broker is found; one whose process died, or that others
 * could forge, is not. */
#include "cli/rendezvous.h"
#include "support/test.h"

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char base[] = "/tmp/sipeat-rendezvous-XXXXXX";

static const char *in(const char *name)
{
  static char path[PATH_MAX];

  (void)snprintf(path, sizeof path, "%s/sipeat%s%s", base, name[0] != '\0' ? "/" : "", name);
  return path;
}

/** Another process leaves a note and ends. */
static void other_process_leaves(const char *broker)
{
  pid_t child = fork();
  int status = 0;

  CHECK(child >= 0);
  if (child == 0) {
    struct sip_rendezvous_note note = { 0 };
    struct sip_rendezvous *left = NULL;

    (void)snprintf(note.broker, sizeof note.broker, "%s", broker);
    _exit(sip_rendezvous_leave(&left, &note, NULL) == 0 ? 0 : 1);
  }
  CHECK(waitpid(child, &status, 0) == child);
  CHECK_INT(status, 0);
}

int main(void)
{
  struct sip_rendezvous_note note = { .broker = "127.0.0.1:4711",
                                      .http = "127.0.0.1:3000",
                                      .script = "a script.lua" };
  struct sip_rendezvous_note found;
  struct sip_rendezvous *left = NULL;
  struct sip_err err = { 0 };

  CHECK(mkdtemp(base) != NULL);
  CHECK_INT(setenv("XDG_RUNTIME_DIR", base, 1), 0);
  CHECK_INT(sip_rendezvous_find(&found, &err), 0);
  other_process_leaves("127.0.0.1:1");
  CHECK_INT(sip_rendezvous_find(&found, &err), 0); /* it has died */
  CHECK_INT(rmdir(in("")), 0);                     /* and its note was removed */

  CHECK_INT(sip_rendezvous_leave(&left, &note, &err), 0);
  other_process_leaves("127.0.0.1:2");
  CHECK_INT(sip_rendezvous_find(&found, &err), 1);
  CHECK_STR(found.broker, "127.0.0.1:4711");
  CHECK_STR(found.http, "127.0.0.1:3000");
  CHECK_STR(found.script, "a script.lua");
  CHECK_INT(found.pid, getpid());

  CHECK_INT(chmod(in(""), 0777), 0); /* anybody could have written it */
  CHECK_INT(sip_rendezvous_find(&found, &err), UV_EPERM);
  CHECK_HAS(err.message, "mode 0700");
  CHECK_INT(chmod(in(""), 0700), 0);
  sip_rendezvous_remove(left);
  sip_rendezvous_remove(NULL);
  CHECK_INT(sip_rendezvous_find(&found, &err), 0);
  CHECK_INT(rmdir(in("")), 0);
  CHECK_INT(rmdir(base), 0);
  (void)printf("ok\n");
  return 0;
}
