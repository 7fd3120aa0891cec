#ifndef SIP_TEST_POSTGRES_H
#define SIP_TEST_POSTGRES_H
/* postgres.h - a PostgreSQL server of the test's own: in a temporary directory, on a unix socket,
 * under a user without privileges. It ends with the test, however that ends. */
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct postgres {
  char directory[64]; /* data, socket and log */
  pid_t pid;
};

/** One server for each test program: what it needs is removed when the program exits. */
void postgres_start(struct postgres *server);

/** Ends the server as a crash does, and starts it again (postgres_up waits until it is there). */
void postgres_crash(struct postgres *server);
void postgres_up(struct postgres *server);

/** The place of an empty database, made by this call; valid until the next one. */
const char *postgres_new_place(struct postgres *server);

/** Runs statements there, beside the store. @return the first value as a number, 0 without one */
int64_t postgres_sql(const char *place, const char *statements);

#endif
