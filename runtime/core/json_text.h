#ifndef SIP_CORE_JSON_TEXT_H
#define SIP_CORE_JSON_TEXT_H
/* json_text.h - strings and numbers of JSON, both ways. Any thread. */
#include "core/json.h"

struct sip_buf;

enum { SIP_JSON_NUMBER_BYTES = 32 }; /* room for the longest number that is written */

/** The text of a scanned string with its escapes replaced. It is not longer than the string.
 * @param out  room for token->len bytes. @return the length */
size_t sip_json_unescape(char *out, const char *text, const struct sip_json_token *token);

/** True when a scanned string, its escapes replaced, is `key`. */
bool sip_json_equal(const char *text, const struct sip_json_token *token, const char *key,
                    size_t len);

struct sip_json_number {
  bool integral; /* `integer` holds it exactly (1500, 1500.0, 1.5e3), else `real` the nearest */
  int64_t integer;
  double real;
};

struct sip_json_number sip_json_number(const char *text, const struct sip_json_token *token);

/** True when a well-formed number is beyond the range of a double. */
bool sip_json_number_overflows(const char *text, size_t len);

/** @return the length; no NUL is written */
size_t sip_json_print_integer(char out[SIP_JSON_NUMBER_BYTES], int64_t value);

/** The shortest of 14 to 17 digits that reads back as the same. `value` is finite. */
size_t sip_json_print_real(char out[SIP_JSON_NUMBER_BYTES], double value);

/** Appends a text as a string of JSON, with its quotes. The buffer may hold a part of it after a
 * failure. @return 0, UV_ENOMEM, or SIP_EDATA when it is not UTF-8 */
int sip_json_add_string(struct sip_buf *buf, const char *data, size_t len);

/** Likewise a key: `before`, which is a brace or a comma, the string, and a colon. */
int sip_json_add_key(struct sip_buf *buf, char before, const char *key, size_t len);

/** Appends a scanned value as it stands in the text, without white space between its tokens.
 * @return 0 or UV_ENOMEM */
int sip_json_add_value(struct sip_buf *buf, const char *text, const struct sip_json_token *token,
                       bool spaced);

#endif
