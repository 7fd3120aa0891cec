#ifndef SIP_KAFKA_SIEVE_H
#define SIP_KAFKA_SIEVE_H
/* sieve.h - which records of a topic are wanted, by tests that cost a record neither Lua nor a
 * copy. Any thread; a sieve has one owner. */
#include "flow/port.h"

#include <stdbool.h>

enum sip_sieve_kind {
  SIP_SIEVE_KEY_IS,
  SIP_SIEVE_KEY_HAS, /* here and below, "has" takes large letters (of ASCII) for small ones */
  SIP_SIEVE_HEADER,  /* it is there */
  SIP_SIEVE_HEADER_IS,
  SIP_SIEVE_HEADER_HAS,
  SIP_SIEVE_ANY_HAS,      /* key, value, or the value of a header */
  SIP_SIEVE_ANY_CONTAINS, /* the same, byte for byte */
  SIP_SIEVE_JSON,         /* a value that may have that text in its JSON: it is there as it is, or
                             something is escaped */
  SIP_SIEVE_JSON_AT,      /* a value that passes `json` */
};

struct sip_json_match;

struct sip_sieve_test {
  enum sip_sieve_kind kind;
  struct sip_slice name;       /* of a header */
  struct sip_slice text;       /* for "has", in small letters */
  struct sip_json_match *json; /* of SIP_SIEVE_JSON_AT, else NULL; the sieve takes it over */
};

struct sip_sieve;

/** A record passes when it is from [from_ms, until_ms) and passes every test. Texts are copied.
 *  @return 0 or UV_ENOMEM; the tests' `json` are taken over in both cases */
int sip_sieve_new(struct sip_sieve **out, int64_t from_ms, int64_t until_ms,
                  const struct sip_sieve_test *tests, size_t count);

/** NULL is fine. */
void sip_sieve_free(struct sip_sieve *sieve);

bool sip_sieve_passes(struct sip_sieve *sieve, const struct sip_source_ops *ops,
                      const struct sip_record *record);

#endif
