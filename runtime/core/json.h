#ifndef SIP_CORE_JSON_H
#define SIP_CORE_JSON_H
/* json.h - checks a JSON text once and leaves an index of it, from which single values are read.
 *
 * The index ("tape") is a flat list of tokens in the order of the text. A container is followed by
 * what is in it; in an object each key is followed by its value. What was scanned needs no check
 * any more: the functions below read it without a failure.
 *
 * What is accepted is RFC 8259, not more: no comma before a bracket, no "1.", no leading zeros, no
 * control characters inside of strings. Beyond the RFC a text is refused when it is nested deeper
 * than SIP_JSON_DEPTH, is not UTF-8, has half of a surrogate pair as an escape, or a number beyond
 * the range of a double. Any thread; one owner. */
#include "core/base.h"

#include <stdbool.h>

struct sip_err;

enum {
  SIP_JSON_DEPTH = 128,
  SIP_JSON_KEYS = 16, /* of a path in an option */
  SIP_JSON_FEW = 64   /* tokens that fit into a tape without an allocation: 30 fields */
};

enum sip_json_type {
  SIP_JSON_NULL,
  SIP_JSON_FALSE,
  SIP_JSON_TRUE,
  SIP_JSON_NUMBER,
  SIP_JSON_STRING,
  SIP_JSON_ARRAY,
  SIP_JSON_OBJECT
};

enum {
  SIP_JSON_ESCAPED = 1, /* a string with a backslash in it */
  SIP_JSON_INTEGER = 2, /* a number without point and exponent */
  SIP_JSON_USER = 4     /* this bit and the higher ones are for the owner of the tape */
};

struct sip_json_token {
  uint32_t at;    /* of the first byte; in a string the one behind the quote */
  uint32_t len;   /* bytes in the text; of a string without its quotes */
  uint32_t span;  /* tokens, from this one to the last one in it */
  uint16_t count; /* items of an array or fields of an object; at most 65535 is counted */
  uint8_t type;
  uint8_t flags;
};

struct sip_json {
  const char *text;              /* borrowed: valid as long as its tokens are read */
  struct sip_json_token *tokens; /* the first one is the whole value; `few`, or owned */
  size_t count, cap;
  uint8_t depth; /* of the deepest container; 0 for a text without one */
  bool spaced;   /* there is white space between tokens */
  struct sip_json_token few[SIP_JSON_FEW];
};

void sip_json_init(struct sip_json *json);
void sip_json_deinit(struct sip_json *json); /* frees; can be scanned into again */

/** Checks a text and indexes it, in the place of what was there. The memory stays for the next one.
 *
 * @param text  need not end in a NUL; at most 4 GiB
 * @return 0; SIP_EDATA with the position of the first wrong byte (from 1); UV_ENOMEM */
int sip_json_scan(struct sip_json *json, const char *text, size_t len, struct sip_err *err);

/** The token of a field's key in a scanned object; its value is the token behind it. Of equal keys
 * the last one. NULL: there is none. */
struct sip_json_token *sip_json_find(const char *text, struct sip_json_token *object,
                                     const char *key, size_t len);

/** What is below the value `from`, mostly the whole one, at a path of keys through objects; itself
 * for an empty path. NULL: there is nothing. */
const struct sip_json_token *sip_json_at(const struct sip_json *json, struct sip_json_token *from,
                                         const struct sip_slice *path, size_t count);

/** Scans `text` and finds what is at `path`: for a single look. Several looks share a scan.
 *
 * @param out  NULL when there is nothing at the path; points into `json`
 * @return as sip_json_scan */
int sip_json_path(struct sip_json *json, const char *text, size_t len, const struct sip_slice *path,
                  size_t count, const struct sip_json_token **out, struct sip_err *err);

/** Splits a path such as "data.machineId" at its points into `keys` (pointers into it). A key is
 * not empty. @return the number of keys; 0 when it is no path or has more than `max` */
size_t sip_json_path_split(const char *path, size_t len, struct sip_slice *keys, size_t max);

#endif
