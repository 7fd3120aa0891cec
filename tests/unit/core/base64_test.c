/* base64_test.c - the vectors of RFC 4648 section 10, every byte there and back, and what is
 * refused. */
#include "core/base64.h"

#include "core/err.h"
#include "support/test.h"

static void the_vectors_of_the_rfc_hold(void)
{
  static const char *const texts[] = { "",         "Zg==",     "Zm8=",    "Zm9v",
                                       "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy" };
  unsigned char bytes[8];
  char text[9];

  for (size_t len = 0; len < 7; len++) {
    sip_base64_encode(text, "foobar", len);
    text[SIP_BASE64_LEN(len)] = '\0';
    CHECK_STR(text, texts[len]);
    CHECK_INT(sip_base64_decode(bytes, text, strlen(text)), len);
    CHECK(memcmp(bytes, "foobar", len) == 0);
  }
}

static void every_byte_comes_back(void)
{
  unsigned char bytes[256], back[258];
  char text[SIP_BASE64_LEN(256)];

  for (int i = 0; i < 256; i++) {
    bytes[i] = (unsigned char)i;
  }
  sip_base64_encode(text, bytes, sizeof bytes);
  CHECK_INT(sip_base64_decode(back, text, sizeof text), 256);
  CHECK(memcmp(bytes, back, 256) == 0);
}

static void other_texts_are_refused(void)
{
  static const char *const texts[] = { "Z",    "Zg",   "Zg=",  "Zg= ", "=Zg=",    "====",
                                       "Zh==", "Zm9=", "Zm 9", "Zm_-", "Zg==Zg==" };
  unsigned char bytes[12];

  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
    if (sip_base64_decode(bytes, texts[i], strlen(texts[i])) != SIP_EDATA) {
      SIP_TEST_FAIL("taken: %s", texts[i]);
    }
  }
}

int main(void)
{
  the_vectors_of_the_rfc_hold();
  every_byte_comes_back();
  other_texts_are_refused();
  return 0;
}
