#ifndef SIP_TEST_VECTORS_H
#define SIP_TEST_VECTORS_H
/* vectors.h - the test vectors of serial protocols (tests/vectors/serial-vectors.json). */
#include "core/json.h"

struct vector {
  const char *text;             /* of the whole file */
  struct sip_json_token *value; /* an object */
};

/** Calls `each` for every vector of the protocol; `count` is how many there have to be. */
void vectors_each(const char *protocol, int count, void (*each)(const struct vector *vector));

/** Calls `each` for every scenario of the protocol. */
void vectors_scenarios(const char *protocol, int count,
                       void (*each)(const struct vector *scenario));

/** The text `key`, valid until the next call with the same `slot` (0 to 3); NULL: there is none. */
const char *vector_text(const struct vector *vector, const char *key, int slot);

int64_t vector_int(const struct vector *vector, const char *key, int64_t otherwise);

/** The bytes that the text `key` gives in hexadecimal; their number, 0 where there are none. */
size_t vector_bytes(const struct vector *vector, const char *key, uint8_t *out, size_t room);

/** The value of `key`, or that at `at` of the list `key`; false: there is none. */
bool vector_field(const struct vector *vector, const char *key, struct vector *out);
bool vector_item(const struct vector *vector, const char *key, int at, struct vector *out);

/** Of a value from these: the text, a number, the bytes. */
const char *vector_value_text(const struct vector *value, int slot);
int64_t vector_value_int(const struct vector *value);
size_t vector_value_bytes(const struct vector *value, uint8_t *out, size_t room);

#endif
