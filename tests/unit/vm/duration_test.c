/* duration_test.c - what is a duration and what is not. */
#include "vm/vm.h"

#include "support/test.h"

int main(void)
{
  static const struct {
    const char *text;
    long long ms; /* -1: refused */
  } cases[] = {
    { "0ms", 0 },
    { "200ms", 200 },
    { "1.5s", 1500 },
    { "5m", 300000 },
    { "2h", 7200000 },
    { "3d", 259200000 },
    { "1w", 604800000 },
    { "0.4ms", 0 },
    { "", -1 },
    { "5", -1 },
    { "s", -1 },
    { "-1s", -1 },
    { "1 s", -1 },
    { "1.2.3s", -1 },
    { "5S", -1 },
    { "1e3s", -1 },
    { "99999999d", -1 },
    { "5s ", -1 },
    { "1234567890123456789012345678901234567s", -1 },
  };

  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    uint64_t ms = 0;
    bool ok = sip_parse_duration_ms(cases[i].text, strlen(cases[i].text), &ms);

    if (ok != (cases[i].ms >= 0) || (ok && (long long)ms != cases[i].ms)) {
      SIP_TEST_FAIL("\"%s\" gave %d, %llu", cases[i].text, ok, (unsigned long long)ms);
    }
  }
  uint64_t ms;
  CHECK(!sip_parse_duration_ms("5s\0x", 4, &ms));
  return 0;
}
