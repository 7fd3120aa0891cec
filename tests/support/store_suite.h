#ifndef SIP_TEST_STORE_SUITE_H
#define SIP_TEST_STORE_SUITE_H
/* store_suite.h - what every store of the journal must do: the same tests for all of them. */
#include "journal/port.h"

struct store_kind {
  const struct sip_store_ops *ops;
  const char *(*new_place)(void); /* of an empty store; valid until the next call */
};

/** Ends the test's process at the first check that fails. */
void store_suite(const struct store_kind *kind);

#endif
