/* gzip_test.c - what is compressed comes back as it was, and who takes it. */
#include "http/gzip.h"

#include "support/test.h"

#include <stdlib.h>
#include <zlib.h>

static void check_round(size_t len, bool random)
{
  char *text = malloc(len + 1), *packed, *again = malloc(len + 1);
  struct sip_slice in = { text, len };
  size_t bound = sip_gzip_bound(len);
  z_stream z = { 0 };
  long size;

  CHECK(text != NULL && again != NULL);
  for (size_t i = 0; i < len; i++) {
    text[i] = (char)(random ? rand() : 'a' + (int)(i % 7));
  }
  packed = malloc(bound);
  CHECK(packed != NULL);
  size = sip_gzip(packed, bound, &in, 5);
  CHECK(size > 0 && (size_t)size <= bound);
  CHECK(random || len < 1000 || (size_t)size < len / 10);
  CHECK_INT(inflateInit2(&z, 15 + 16), Z_OK);
  z.next_in = (Bytef *)packed;
  z.avail_in = (uInt)size;
  z.next_out = (Bytef *)again;
  z.avail_out = (uInt)len + 1;
  CHECK_INT(inflate(&z, Z_FINISH), Z_STREAM_END);
  CHECK_INT(z.total_out, len);
  CHECK(memcmp(text, again, len) == 0);
  CHECK_INT(inflateEnd(&z), Z_OK);
  CHECK(sip_gzip(packed, 5, &in, 5) < 0); /* no room */
  free(text);
  free(packed);
  free(again);
}

static void what_is_compressed_comes_back(void)
{
  static const size_t sizes[] = { 0, 1, 1000, 65535, 1 << 20 };

  srand(7);
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
    check_round(sizes[i], false);
    check_round(sizes[i], true);
  }
}

static void clients_say_whether_they_take_it(void)
{
  static const struct {
    const char *text;
    bool accepted;
  } cases[] = {
    { "gzip", true },
    { "gzip, deflate, br", true },
    { "br;q=1.0, gzip;q=0.8, *;q=0.1", true },
    { "GZIP", true },
    { "x-gzip", true },
    { "*", true },
    { "", false },
    { "identity", false },
    { "br", false },
    { "gzip;q=0", false },
    { "gzip; q=0.000", false },
    { "gzip;q=0.001", true },
    { "*;q=0", false },
    { "gzip;q=0, *", false },
    { "*;q=0, gzip", true },
    { "gzipx", false },
    { ",, ,gzip", true },
    { "gzip;q=", true },
  };

  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct sip_slice text = { cases[i].text, strlen(cases[i].text) };

    if (sip_gzip_accepted(&text) != cases[i].accepted) {
      SIP_TEST_FAIL("accept-encoding: %s", cases[i].text);
    }
  }
}

static void texts_are_worth_it(void)
{
  static const char *const yes[] = { "text/html; charset=utf-8",
                                     "application/json",
                                     "application/problem+json",
                                     "image/svg+xml",
                                     "TEXT/CSS",
                                     "application/json ;charset=utf-8" };
  static const char *const no[] = { "image/png", "application/octet-stream", "text/event-stream",
                                    "",          "application/gzip",         "text/" };

  for (size_t i = 0; i < sizeof yes / sizeof yes[0]; i++) {
    CHECK(sip_gzip_suits(&(struct sip_slice){ yes[i], strlen(yes[i]) }));
  }
  for (size_t i = 0; i < sizeof no / sizeof no[0]; i++) {
    CHECK(!sip_gzip_suits(&(struct sip_slice){ no[i], strlen(no[i]) }));
  }
}

int main(void)
{
  what_is_compressed_comes_back();
  clients_say_whether_they_take_it();
  texts_are_worth_it();
  (void)printf("ok\n");
  return 0;
}
