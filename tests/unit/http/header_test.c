/* header_test.c - each byte in each place of names and values of fields. */
#include "http/header.h"

#include "support/test.h"

#include <string.h>

enum { LEN = 19 }; /* two words of eight bytes, and a rest */

static bool is_value_byte(int c)
{
  return c == '\t' || (c >= ' ' && c != 127);
}

static bool is_name_byte(int c)
{
  return c > ' ' && c < 127 && strchr("\"(),/:;<=>?@[\\]{}", c) == NULL;
}

static void each_byte_is_judged_in_each_place(void)
{
  for (size_t at = 0; at < LEN; at++) {
    for (int c = 0; c < 256; c++) {
      char text[LEN];
      struct sip_slice slice = { text, LEN };

      memset(text, c % 2 == 0 ? 'x' : '\t', sizeof text); /* tabs are asked for one by one */
      text[at] = (char)c;
      CHECK_INT(sip_header_is_value(&slice), is_value_byte(c));
      memset(text, 'x', sizeof text);
      text[at] = (char)c;
      CHECK_INT(sip_header_is_value(&slice), is_value_byte(c));
      CHECK_INT(sip_header_is_name(&slice), is_name_byte(c));
    }
  }
}

static void names_are_kept_in_lower_case(void)
{
  for (size_t at = 0; at < LEN; at++) {
    for (int c = 0; c < 256; c++) {
      struct sip_header_list list = SIP_HEADER_LIST_INIT;
      char text[LEN], expected[LEN];
      struct sip_slice name = { text, LEN }, value = { "V", 1 };
      struct sip_header header;
      size_t next = 0;

      memset(text, 0xff, sizeof text); /* the neighbours do not carry over */
      text[at] = (char)c;
      memcpy(expected, text, sizeof text);
      expected[at] = (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
      CHECK_INT(sip_header_list_add(&list, &name, &value), 0);
      CHECK(sip_header_list_next(&list, &next, &header));
      CHECK_INT((long)header.name.len, LEN);
      CHECK(memcmp(header.name.data, expected, LEN) == 0);
      CHECK(memcmp(header.value.data, "V", 1) == 0);
      sip_header_list_deinit(&list);
    }
  }
}

int main(void)
{
  each_byte_is_judged_in_each_place();
  names_are_kept_in_lower_case();
  (void)printf("ok\n");
  return 0;
}
