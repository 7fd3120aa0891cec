/* scram_test.c - a nonce that stands twice goes once, lengths follow, and nothing else is touched.
 */
#include "kafka/scram.h"

#include "support/test.h"

#include <stdint.h>
#include <string.h>

#define MINE          "0123456789abcdef0123456789ABCDEF"
#define SIGNED(nonce) "n=ada,r=" MINE ",r=" MINE "server,s=c2FsdA==,i=4096,c=biws,r=" nonce
#define FINAL(nonce)  "c=biws,r=" nonce ",p=cHJvb2Y="

static void what_is_signed_has_the_nonce_once(void)
{
  static const char twice[] = SIGNED(MINE MINE "server"), once[] = SIGNED(MINE "server");
  unsigned char out[SIP_SCRAM_LIMIT_BYTES];
  size_t len = sip_scram_signed(out, (const unsigned char *)twice, sizeof twice - 1);

  CHECK_INT(len, sizeof once - 1);
  CHECK(memcmp(out, once, len) == 0);
}

static void what_is_right_stays(void)
{
  static const char *const texts[] = { SIGNED(MINE "server"),  "Client Key",         "", "n=",
                                       "n=ada,c=biws,r=" MINE, "c=biws,r=" MINE MINE };
  unsigned char out[SIP_SCRAM_LIMIT_BYTES];
  static unsigned char large[SIP_SCRAM_LIMIT_BYTES + 1] = "n=";

  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
    CHECK_INT(sip_scram_signed(out, (const unsigned char *)texts[i], strlen(texts[i])), 0);
  }
  CHECK_INT(sip_scram_signed(out, large, sizeof large), 0);
}

static void put32(unsigned char *at, size_t value)
{
  at[0] = at[1] = 0;
  at[2] = (unsigned char)(value >> 8);
  at[3] = (unsigned char)value;
}

/* A SaslAuthenticate request, version 0, of the client "sip". */
static size_t request_of(unsigned char *out, const char *text)
{
  static const unsigned char head[] = { 0, 0, 0, 0, 0, 36, 0, 0, 0, 0, 0, 3, 0, 3, 's', 'i', 'p' };
  size_t text_len = strlen(text), len = sizeof head + 4 + text_len;

  memcpy(out, head, sizeof head);
  put32(out, len - 4);
  put32(out + sizeof head, text_len);
  memcpy(out + sizeof head + 4, text, text_len);
  return len;
}

static void a_request_gets_shorter(void)
{
  unsigned char twice[512], once[512], out[SIP_SCRAM_LIMIT_BYTES];
  size_t len = request_of(twice, FINAL(MINE MINE "server"));
  size_t expected = request_of(once, FINAL(MINE "server"));

  CHECK_INT(sip_scram_request(out, twice, len), expected);
  CHECK(memcmp(out, once, expected) == 0);
  CHECK_INT(sip_scram_request(out, once, expected), 0);
}

static void no_other_request_is_touched(void)
{
  unsigned char request[512], out[SIP_SCRAM_LIMIT_BYTES];
  size_t len = request_of(request, FINAL(MINE MINE "server"));

  for (size_t cut = 0; cut < len; cut++) {
    CHECK_INT(sip_scram_request(out, request, cut), 0);
  }
  request[5] = 0; /* a record that is produced may hold anything */
  CHECK_INT(sip_scram_request(out, request, len), 0);
  len = request_of(request, "n,,n=ada,r=" MINE);
  CHECK_INT(sip_scram_request(out, request, len), 0);
  len = request_of(request, "x" FINAL(MINE MINE "server"));
  CHECK_INT(sip_scram_request(out, request, len), 0);
  request[12] = 0xff; /* the client's id reaches beyond the end */
  CHECK_INT(sip_scram_request(out, request, len), 0);
}

int main(void)
{
  what_is_signed_has_the_nonce_once();
  what_is_right_stays();
  a_request_gets_shorter();
  no_other_request_is_touched();
  SIP_TEST_END(uv_default_loop());
  return 0;
}
