/* buf_test.c - growth, formatted appends, reuse. */
#include "core/buf.h"

#include "support/test.h"

int main(void)
{
  struct sip_buf buf = SIP_BUF_INIT;

  CHECK_INT(sip_buf_add(&buf, "", 0), 0);
  CHECK_STR(buf.data, "");
  for (int i = 0; i < 1000; i++) {
    CHECK_INT(sip_buf_addf(&buf, "%d,", i), 0);
  }
  CHECK_INT(buf.len, 10 * 2 + 90 * 3 + 900 * 4);
  CHECK_INT(buf.data[buf.len], 0);
  CHECK_HAS(buf.data, "998,999,");
  sip_buf_clear(&buf);
  CHECK_STR(buf.data, "");
  CHECK_INT(sip_buf_add(&buf, "a\0b", 3), 0);
  CHECK_INT(buf.len, 3);
  CHECK_INT(buf.data[2], 'b');
  CHECK_INT(sip_buf_reserve(&buf, SIZE_MAX - 2), UV_ENOMEM);
  CHECK_INT(buf.len, 3);
  sip_buf_deinit(&buf);
  CHECK_INT(sip_buf_adds(&buf, "again"), 0);
  CHECK_STR(buf.data, "again");
  sip_buf_deinit(&buf);
  return 0;
}
