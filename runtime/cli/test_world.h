#ifndef SIP_CLI_TEST_WORLD_H
#define SIP_CLI_TEST_WORLD_H
/* test_world.h - one test of a script in a world of its own: a state, a loop, a log of events in
 * memory, fakes of what would leave the machine, and a clock that jumps. Main thread. */
#include "core/buf.h"
#include "core/err.h"
#include "core/log.h"

#include <stdbool.h>
#include <stdint.h>

struct sip_test {
  const char *file;
  const char *name; /* NULL: only look which tests the file has */
  uint64_t seed;
  int64_t wall_ms;              /* what time it is when it begins */
  uint64_t real_ms, virtual_ms; /* how long it may take */
  enum sip_log_level log_level; /* of what is kept of the log */
};

struct sip_test_result {
  struct sip_buf
    report; /* JSON, as stdlib/testing_run.lua makes it; empty: it did not come so far */
  struct sip_buf output; /* what was printed and logged, at most 256 KiB */
  uint64_t took_ms;      /* of virtual time */
  bool interrupted;      /* by SIGINT or SIGTERM */
};

/** Runs it from its beginning to its end. The result's buffers are the caller's, also after a
 * failure. @return 0, also for a test that failed; or negative: there is no report, and `err` says
 * why (the file does not load) */
int sip_test_run(const struct sip_test *test, struct sip_test_result *result, struct sip_err *err);

#endif
