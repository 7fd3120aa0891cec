/* postgres.c - see postgres.h. Debian's postgresql-15, as its user or, when that is missing,
 * nobody. The server is a child that the kernel ends when the test dies. */
#include "support/postgres.h"

#include "support/directory.h"
#include "support/test.h"

#include <fcntl.h>
#include <libpq-fe.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { START_MS = 60000, LOOK_MS = 5 };

static struct postgres *running; /* for the end of the program */
static pid_t owner;              /* the process that started it; its forks leave it alone */
static char place[256];

/* The child's: becomes the server's user, with its words in a file of the directory. */
static void enter(const char *directory)
{
  const struct passwd *user = getpwnam("postgres");
  char log[100];
  int fd;

  user = user == NULL ? getpwnam("nobody") : user;
  (void)snprintf(log, sizeof log, "%s/log", directory);
  fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (fd < 0 || dup2(fd, 1) < 0 || dup2(fd, 2) < 0 || chdir(directory) < 0) {
    _exit(126);
  }
  if (geteuid() == 0 && (user == NULL || fchown(fd, user->pw_uid, user->pw_gid) < 0 ||
                         chown(directory, user->pw_uid, user->pw_gid) < 0 ||
                         setgid(user->pw_gid) < 0 || setuid(user->pw_uid) < 0)) {
    _exit(126);
  }
  (void)prctl(PR_SET_PDEATHSIG, SIGQUIT); /* as a crash; after setuid, which forgets it */
}

/* arguments[0] is a name, and becomes a path, by which the program finds its own. */
static pid_t spawn(const struct postgres *server, char *arguments[])
{
  pid_t pid = fork();
  char program[100];

  CHECK(pid >= 0);
  if (pid == 0) {
    enter(server->directory);
    (void)snprintf(program, sizeof program, "/usr/lib/postgresql/15/bin/%s", arguments[0]);
    arguments[0] = program;
    (void)execv(program, arguments);
    _exit(127);
  }
  return pid;
}

static void show_log(const struct postgres *server)
{
  char path[100], line[500];
  FILE *log;

  (void)snprintf(path, sizeof path, "%s/log", server->directory);
  log = fopen(path, "r");
  while (log != NULL && fgets(line, sizeof line, log) != NULL) {
    (void)fputs(line, stderr);
  }
  if (log != NULL) {
    (void)fclose(log);
  }
}

static void serve(struct postgres *server)
{
  char data[80];
  char *arguments[] = { "postgres",          "-D", data,       "-k", server->directory,     "-c",
                        "listen_addresses=", "-c", "fsync=on", "-c", "shared_buffers=16MB", NULL };

  (void)snprintf(data, sizeof data, "%s/data", server->directory);
  server->pid = spawn(server, arguments);
}

void postgres_up(struct postgres *server)
{
  (void)snprintf(place, sizeof place, "postgresql://sipeat@/postgres?host=%s", server->directory);
  for (int waited = 0; PQping(place) != PQPING_OK; waited += LOOK_MS) {
    if (waited > START_MS || waitpid(server->pid, NULL, WNOHANG) != 0) {
      show_log(server);
      SIP_TEST_FAIL("PostgreSQL did not start in %s", server->directory);
    }
    uv_sleep(LOOK_MS); /* it tells nobody when it is ready */
  }
}

static void end(void)
{
  if (running == NULL || getpid() != owner) {
    return;
  }
  if (running->pid > 0) {
    (void)kill(running->pid, SIGQUIT);
    (void)waitpid(running->pid, NULL, 0);
  }
  running = NULL;
}

void postgres_start(struct postgres *server)
{
  char *arguments[] = { "initdb",
                        "-D",
                        "data",
                        "-U",
                        "sipeat",
                        "--auth=trust",
                        "--no-sync",
                        "--wal-segsize=1",
                        "--encoding=UTF8",
                        "--locale=C",
                        "--no-instructions",
                        NULL };
  int status = -1;

  (void)snprintf(server->directory, sizeof server->directory, "%s", test_directory());
  server->pid = 0;
  running = server;
  owner = getpid();
  CHECK_INT(atexit(end), 0);
  CHECK(waitpid(spawn(server, arguments), &status, 0) > 0);
  if (status != 0) {
    show_log(server);
    SIP_TEST_FAIL("initdb ended with %d; is Debian's postgresql installed?", status);
  }
  serve(server);
  postgres_up(server);
}

void postgres_crash(struct postgres *server)
{
  CHECK_INT(kill(server->pid, SIGQUIT), 0);
  CHECK_INT(waitpid(server->pid, NULL, 0), server->pid);
  serve(server);
}

const char *postgres_new_place(struct postgres *server)
{
  static int count;
  char text[80];

  postgres_up(server); /* sets the place of the first database */
  (void)snprintf(text, sizeof text, "CREATE DATABASE test%d", ++count);
  (void)postgres_sql(place, text);
  (void)snprintf(place, sizeof place, "postgresql://sipeat@/test%d?host=%s", count,
                 server->directory);
  return place;
}

int64_t postgres_sql(const char *where, const char *statements)
{
  PGconn *conn = PQconnectdb(where);
  PGresult *result = PQexec(conn, statements);
  ExecStatusType status = PQresultStatus(result);
  int64_t value = 0;

  if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
    SIP_TEST_FAIL("%s: %s", statements, PQerrorMessage(conn));
  }
  if (PQntuples(result) > 0) {
    value = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
  }
  PQclear(result);
  PQfinish(conn);
  return value;
}
