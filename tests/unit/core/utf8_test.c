/* utf8_test.c - the borders of what is UTF-8. */
#include "core/utf8.h"

#include "support/test.h"

int main(void)
{
  static const struct {
    const char *text;
    size_t left, length;
  } cases[] = {
    { "a", 1, 1 },
    { "\x7f", 1, 1 },
    { "\0", 1, 1 },
    { "\x80", 1, 0 },
    { "\xc1\xbf", 2, 0 }, /* overlong */
    { "\xc2\x80", 2, 2 },
    { "\xc2", 1, 0 },
    { "\xdf\xbfz", 3, 2 },
    { "\xe0\x9f\xbf", 3, 0 }, /* overlong */
    { "\xe0\xa0\x80", 3, 3 },
    { "\xed\x9f\xbf", 3, 3 },
    { "\xed\xa0\x80", 3, 0 }, /* a surrogate */
    { "\xef\xbf\xbf", 3, 3 },
    { "\xe2\x82", 2, 0 },
    { "\xe2\x82z", 3, 0 },
    { "\xf0\x8f\xbf\xbf", 4, 0 }, /* overlong */
    { "\xf0\x90\x80\x80", 4, 4 },
    { "\xf4\x8f\xbf\xbf", 4, 4 },
    { "\xf4\x90\x80\x80", 4, 0 }, /* beyond U+10FFFF */
    { "\xf5\x80\x80\x80", 4, 0 },
    { "\xff", 1, 0 },
  };

  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    size_t length = sip_utf8_length(cases[i].text, cases[i].left);

    if (length != cases[i].length) {
      SIP_TEST_FAIL("case %zu is %zu, expected %zu", i, length, cases[i].length);
    }
  }
  return 0;
}
