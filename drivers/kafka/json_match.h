#ifndef SIP_KAFKA_JSON_MATCH_H
#define SIP_KAFKA_JSON_MATCH_H
/* json_match.h - does a JSON text have, at a path, a value that compares so? One owner each. */
#include "core/json_text.h"

enum { SIP_JSON_MATCH_DEPTH = 32 }; /* steps of a path */

enum sip_json_step_kind { SIP_STEP_NAME, SIP_STEP_INDEX, SIP_STEP_ANY };

struct sip_json_step {
  enum sip_json_step_kind kind;
  struct sip_slice name;
  uint64_t index; /* from 0 */
};

/* In the order of the operators' names: "", =, !=, ~, >, >=, <, <=. */
enum sip_json_operator {
  SIP_JSON_THERE,
  SIP_JSON_EQUAL,
  SIP_JSON_UNEQUAL,
  SIP_JSON_HAS, /* large letters (of ASCII) count as small ones */
  SIP_JSON_ABOVE,
  SIP_JSON_ABOVE_OR_EQUAL,
  SIP_JSON_BELOW,
  SIP_JSON_BELOW_OR_EQUAL
};

struct sip_json_match_spec {
  const struct sip_json_step *steps;
  size_t count;
  enum sip_json_operator relation;
  struct sip_slice text; /* for SIP_JSON_HAS in small letters */
  bool numeric;          /* `text` is this number as well */
  struct sip_json_number number;
};

struct sip_json_match;

/** Copies what the spec says. @return 0 or UV_ENOMEM */
int sip_json_match_new(struct sip_json_match **out, const struct sip_json_match_spec *spec);

/** NULL is fine. */
void sip_json_match_free(struct sip_json_match *test);

/** Numbers compare by their value, exactly; texts, and only with `text`, byte by byte. Equal is
 * also what is written so: a text, a number as Lua shows it, true, false, null. A container is
 * there, and unequal to everything. False for what is no JSON of a container, or too much for the
 * memory. */
bool sip_json_match_passes(struct sip_json_match *test, const struct sip_slice *json);

#endif
