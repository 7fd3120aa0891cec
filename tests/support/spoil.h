#ifndef SIP_TEST_SPOIL_H
#define SIP_TEST_SPOIL_H
/* spoil.h - a line that changes one byte of what a party sends. */
#include "serial/party.h"

struct spoil {
  struct sip_line line;
  struct sip_line *inner; /* borrowed */
  uint64_t at, sent;      /* which byte; how many were sent */
  uint8_t flip;           /* bits that change; 0: none */
};

/** A line over `inner`, for the party that is to be spoilt; `spoil` outlives it. */
struct sip_line *spoil_line(struct spoil *spoil, struct sip_line *inner);

/** Changes bits of the byte `at` of those that are still to be sent, counted from 0. */
void spoil_next(struct spoil *spoil, uint64_t at, uint8_t flip);

#endif
