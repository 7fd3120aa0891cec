/* json_test.c - what is JSON and what is not, where values are found, and how they are written. */
#include "core/json.h"

#include <math.h>
#include <stdint.h>

#include "core/buf.h"
#include "core/err.h"
#include "core/json_text.h"
#include "support/test.h"

static void check_accepted(struct sip_json *json)
{
  static const char *const texts[] = {
    "0",
    "-0",
    "10",
    "1.5",
    "-1.25e-2",
    "1E+2",
    "true",
    "false",
    "null",
    "\"\"",
    "\"a\\u0041\\n\"",
    "\"\\ud83d\\ude00\"",
    "[]",
    "{}",
    " [ 1 , 2 ] ",
    "{\"a\":{\"b\":[[]]}}",
    "\"\x7f\"",
    "1e308",
    "0e999999999999",
    "1e-999999999999",
    "\"0123456789abcdef0123456789abcdef\"",
  };

  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
    struct sip_err err = { 0 };

    if (sip_json_scan(json, texts[i], strlen(texts[i]), &err) != 0) {
      SIP_TEST_FAIL("%s: %s", texts[i], err.message);
    }
    CHECK_INT(json->tokens[0].span, json->count);
  }
}

static void check_refused(struct sip_json *json)
{
  static const struct {
    const char *text, *why;
  } cases[] = {
    { "", "expected a value at byte 1, but the text ends" },
    { "{\"a\":1,}", "expected a key in quotes at byte 8, found }" },
    { "[1,]", "expected a value at byte 4, found ]" },
    { "[1 2]", "expected a comma or ] at byte 4, found 2" },
    { "[1}", "expected a comma or ] at byte 3, found }" },
    { "{\"a\" 1}", "expected a colon at byte 6, found 1" },
    { "1.", "expected a digit behind the point at byte 3, but the text ends" },
    { "-", "expected a digit at byte 2" },
    { "1e+", "expected a digit of the exponent at byte 4" },
    { "01", "a number with a leading zero at byte 1" },
    { "1e309", "a number beyond the range of a double at byte 1" },
    { "tru", "expected a value at byte 1, found t" },
    { "1 1", "expected nothing more at byte 3, found 1" },
    { "\"abc", "expected the end of a string at byte 5" },
    { "\"\\", "expected the end of a string at byte 3" },
    { "\"\\x\"", "a backslash before what is no escape at byte 2" },
    { "\"\\u12g4\"", "\\u without four hexadecimal digits at byte 2" },
    { "\"\\ud800\"", "half of a surrogate pair at byte 2" },
    { "\"\\udc00\\ud800\"", "half of a surrogate pair at byte 2" },
    { "\"a\nb\"", "a control character in a string at byte 3" },
    { "\"ab\xff\"", "not valid UTF-8 at byte 4" },
    { "\xff", "not valid UTF-8 at byte 1" },
    { "[\x01]", "expected a value at byte 2, found byte 0x01" },
  };

  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct sip_err err = { 0 };

    CHECK_INT(sip_json_scan(json, cases[i].text, strlen(cases[i].text), &err), SIP_EDATA);
    CHECK_HAS(err.message, cases[i].why);
  }
  CHECK_INT(sip_json_scan(json, "[\0]", 3, NULL), SIP_EDATA);
}

/* Each text is copied to memory that ends with it, so that a sanitizer sees a look behind it. */
static void every_cut_is_refused_within_its_bytes(struct sip_json *json)
{
  static const char text[] = "{\"key of more than 16 bytes\":[1.5e3,-2,true,null,\"\\u00e9\\ud83d"
                             "\\ude00 \xc3\xa9 \xf0\x9f\x98\x80 text\"],\"b\":{\"c\":false}}";

  for (size_t len = 0; len < sizeof text - 1; len++) {
    char *copy = malloc(len + 1); /* never of no bytes */

    CHECK(copy != NULL);
    memcpy(copy + 1, text, len);
    CHECK_INT(sip_json_scan(json, copy + 1, len, NULL), SIP_EDATA);
    free(copy);
  }
  CHECK_INT(sip_json_scan(json, text, sizeof text - 1, NULL), 0);
}

static void values_are_found_at_their_path(struct sip_json *json)
{
  static const char text[] =
    "{\"type\":\"order.created\",\"data\":{\"id\":1,\"machine\\u0049d\":\"m-7\",\"id\":2,\"list\":["
    "{\"id\":3}]},\"id\":\"o-1\"}";
  struct sip_slice path[4];
  const struct sip_json_token *found;

  CHECK_INT(sip_json_path_split("data.machineId", 14, path, 4), 2);
  CHECK_INT(sip_json_path(json, text, sizeof text - 1, path, 2, &found, NULL), 0);
  CHECK(found != NULL && found->type == SIP_JSON_STRING);
  CHECK(strncmp(text + found->at, "m-7", found->len) == 0);
  CHECK_INT(sip_json_path_split("data.id", 7, path, 4), 2);
  found = sip_json_at(json, json->tokens, path, 2);
  CHECK(found != NULL && sip_json_number(text, found).integer == 2);
  CHECK_INT(sip_json_path_split("id", 2, path, 4), 1);
  found = sip_json_at(json, json->tokens, path, 1);
  CHECK(found != NULL && strncmp(text + found->at, "o-1", found->len) == 0);
  CHECK_INT(sip_json_path_split("data.list.id", 12, path, 4), 3);
  CHECK(sip_json_at(json, json->tokens, path, 3) == NULL); /* not through lists */
  CHECK(sip_json_at(json, json->tokens, path, 0) == json->tokens);
  CHECK_INT(sip_json_path_split("", 0, path, 4), 0);
  CHECK_INT(sip_json_path_split("a..b", 4, path, 4), 0);
  CHECK_INT(sip_json_path_split("a.b.", 4, path, 4), 0);
  CHECK_INT(sip_json_path_split("a.b.c.d.e", 9, path, 4), 0);
}

static void many_tokens_and_levels_fit(struct sip_json *json)
{
  static char text[20000];
  size_t len = 0;

  for (; len < sizeof text - 2; len += 2) {
    memcpy(text + len, len == 0 ? "[1" : ",1", 2);
  }
  text[len++] = ']';
  CHECK_INT(sip_json_scan(json, text, len, NULL), 0);
  CHECK_INT(json->count, 10000);
  CHECK_INT(json->tokens[0].count, 9999);
  CHECK_INT(json->tokens[0].span, 10000);
  CHECK_INT(json->tokens[9999].at, 19997);
  sip_json_deinit(json);
  memset(text, '[', 129);
  memset(text + 128, ']', 128);
  CHECK_INT(sip_json_scan(json, text, 256, NULL), 0);
  CHECK_INT(json->depth, SIP_JSON_DEPTH);
  for (size_t i = 0; i < SIP_JSON_DEPTH; i++) { /* what is open moves when the tape grows */
    CHECK_INT(json->tokens[i].at, i);
    CHECK_INT(json->tokens[i].len, 256 - 2 * i);
    CHECK_INT(json->tokens[i].span, SIP_JSON_DEPTH - i);
    CHECK_INT(json->tokens[i].count, i < SIP_JSON_DEPTH - 1);
    CHECK_INT(json->tokens[i].flags, 0);
  }
  memset(text, '[', sizeof text);
  CHECK_INT(sip_json_scan(json, text, sizeof text, NULL), SIP_EDATA);
}

/* Memory that ends with the text, so that a sanitizer sees a look behind it. */
static void check_gaps(struct sip_json *json, const char *text, size_t len, bool spaced)
{
  static const char *const strings[] = { "a key of 16 byte", "a text of 17 byte", "b", "x y", "" };
  char *copy = malloc(len);
  size_t found = 0;

  CHECK(copy != NULL);
  memcpy(copy, text, len);
  CHECK_INT(sip_json_scan(json, copy, len, NULL), 0);
  CHECK_INT(json->count, 10);
  CHECK_INT(json->depth, 3);
  CHECK(json->spaced == spaced);
  CHECK_INT(json->tokens[0].count, 2);
  CHECK_INT(json->tokens[4].count, 4);
  CHECK_INT(json->tokens[4].span, 6);
  for (size_t i = 0; i < json->count; i++) {
    const struct sip_json_token *token = &json->tokens[i];

    if (token->type == SIP_JSON_STRING) {
      CHECK_INT(token->len, strlen(strings[found]));
      CHECK(memcmp(copy + token->at, strings[found], token->len) == 0);
      found++;
    }
  }
  CHECK_INT(found, 5);
  free(copy);
}

/* The same text with each kind of white space in one of its gaps, and in all of them. */
static void white_space_may_be_anywhere(struct sip_json *json)
{
  enum { GAPS = 21 };
  static const char text[] = "~{~\"a key of 16 byte\"~:~\"a text of 17 byte\"~,~\"b\"~:~[~-1.5~,~"
                             "\"x y\"~,~{~}~,~[~\"\"~]~]~}~";
  static const char *const kinds[] = { "", " ", "  ", "\n", " \t", "\r\n                  " };

  for (size_t kind = 0; kind < sizeof kinds / sizeof kinds[0]; kind++) {
    for (size_t at = 0; at <= GAPS; at++) {
      struct sip_buf buf = SIP_BUF_INIT;
      size_t gap = 0;

      for (size_t i = 0; i < sizeof text - 1; i++) {
        if (text[i] != '~') {
          CHECK_INT(sip_buf_add(&buf, text + i, 1), 0);
        } else if (gap++ == at || at == GAPS) {
          CHECK_INT(sip_buf_adds(&buf, kinds[kind]), 0);
        }
      }
      CHECK_INT(gap, GAPS);
      check_gaps(json, buf.data, buf.len, kind > 0);
      sip_buf_deinit(&buf);
    }
  }
}

static double real_of(struct sip_json *json, const char *text)
{
  struct sip_json_number number;

  CHECK_INT(sip_json_scan(json, text, strlen(text), NULL), 0);
  number = sip_json_number(text, json->tokens);
  return number.integral ? (double)number.integer : number.real;
}

static void numbers_are_exact(struct sip_json *json)
{
  static const char *const texts[] = {
    "9007199254740993",
    "-9223372036854775808",
    "9223372036854775807",
  };
  static const double values[] = {
    0.1,
    19.99,
    0.30000000000000004,
    1.7976931348623157e308,
    4.9e-324,
    2.2250738585072011e-308,
    123456789.123456789,
    1e22,
    1e23,
    9007199254740991.5,
    0.000123,
    5e-5,
    -2.5,
    999999999.999999,
  };
  char text[SIP_JSON_NUMBER_BYTES + 1], zeros[1100];

  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
    CHECK_INT(sip_json_scan(json, texts[i], strlen(texts[i]), NULL), 0);
    text[sip_json_print_integer(text, sip_json_number(texts[i], json->tokens).integer)] = '\0';
    CHECK_STR(text, texts[i]);
  }
  for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
    text[sip_json_print_real(text, values[i])] = '\0';
    CHECK(real_of(json, text) == values[i]);
    CHECK(strtod(text, NULL) == values[i]);
  }
  CHECK(real_of(json, "9223372036854775808") == 0x1p63);
  /* Halfway between two doubles, decided by a digit behind the 800th. */
  memset(zeros, '0', sizeof zeros);
  memcpy(zeros, "9007199254740993.", 17);
  zeros[1098] = '1';
  zeros[1099] = '\0';
  CHECK(real_of(json, zeros) == 9007199254740994.0);
  zeros[1098] = '0';
  CHECK(real_of(json, zeros) == 9007199254740992.0);
  memset(zeros, '0', sizeof zeros);
  memcpy(zeros, "0.", 2);
  memcpy(zeros + 1090, "25e1090", 8);
  CHECK(real_of(json, zeros) == strtod(zeros, NULL));
}

static void strings_are_written_and_read(struct sip_json *json)
{
  static const char raw[] =
    "\"\\/\b\f\n\r\t\x01\x7f\xc3\xa9 plain text of more than 16 bytes\0 end";
  static const char spaced[] = " { \"a \\\" b\" : [ 1 , \"x y\" ] }\n";
  struct sip_buf buf = SIP_BUF_INIT;
  char back[sizeof raw];

  CHECK_INT(sip_json_add_string(&buf, raw, sizeof raw), 0);
  CHECK_STR(buf.data, "\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\x7f\xc3\xa9 plain text of more than 16 "
                      "bytes\\u0000 end\\u0000\"");
  CHECK_INT(sip_json_scan(json, buf.data, buf.len, NULL), 0);
  CHECK_INT(sip_json_unescape(back, json->text, json->tokens), sizeof raw);
  CHECK(memcmp(back, raw, sizeof raw) == 0);
  CHECK(sip_json_equal(json->text, json->tokens, raw, sizeof raw));
  CHECK(!sip_json_equal(json->text, json->tokens, raw, sizeof raw - 1));
  CHECK_INT(sip_json_add_string(&buf, "a\xff", 2), SIP_EDATA);
  sip_buf_clear(&buf);
  CHECK_INT(sip_json_scan(json, spaced, sizeof spaced - 1, NULL), 0);
  CHECK_INT(sip_json_add_value(&buf, json->text, json->tokens, json->spaced), 0);
  CHECK_STR(buf.data, "{\"a \\\" b\":[1,\"x y\"]}");
  sip_buf_deinit(&buf);
}

/* Texts of each length up to a few blocks of a vector, plain but for one byte in each place. */
static void strings_of_every_length_are_written(struct sip_json *json)
{
  enum { LONGEST = 40 };
  static const char others[] = { 'x', '"', '\\', '\n', '\0', '\x1f', '\x7f', '\x80' };
  struct sip_buf buf = SIP_BUF_INIT;
  char raw[LONGEST], back[LONGEST];

  memset(raw, 'a', sizeof raw);
  for (size_t len = 0; len <= LONGEST; len++) {
    for (size_t i = 0; i < sizeof others * (len + (len == 0)); i++) {
      size_t at = i / sizeof others;
      int rc = others[i % sizeof others] == '\x80' && len > 0 ? SIP_EDATA : 0;

      raw[at] = others[i % sizeof others];
      sip_buf_clear(&buf);
      CHECK_INT(sip_json_add_key(&buf, '{', raw, len), rc);
      if (rc == 0) {
        CHECK_INT(buf.data[buf.len], 0);
        CHECK_INT(sip_json_add_string(&buf, raw, len), 0);
        CHECK_INT(buf.data[buf.len], 0);
        CHECK_INT(sip_buf_add(&buf, "}", 1), 0);
        CHECK_INT(sip_json_scan(json, buf.data, buf.len, NULL), 0);
        CHECK_INT(json->count, 3);
        for (size_t k = 1; k <= 2; k++) {
          CHECK_INT(sip_json_unescape(back, json->text, &json->tokens[k]), len);
          CHECK(memcmp(back, raw, len) == 0);
        }
      }
      raw[at] = 'a';
    }
  }
  sip_buf_deinit(&buf);
}

int main(void)
{
  struct sip_json json;

  sip_json_init(&json);
  check_accepted(&json);
  check_refused(&json);
  every_cut_is_refused_within_its_bytes(&json);
  values_are_found_at_their_path(&json);
  many_tokens_and_levels_fit(&json);
  white_space_may_be_anywhere(&json);
  numbers_are_exact(&json);
  strings_are_written_and_read(&json);
  strings_of_every_length_are_written(&json);
  sip_json_deinit(&json);
  (void)printf("ok\n");
  return 0;
}
