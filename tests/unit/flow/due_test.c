/* due_test.c - which topics are retry topics. What is held is tested with a broker:
 * e2e/retry_topic_test.py and lua/retry_topic_test.lua. */
#include "flow/due.h"

#include "support/test.h"

static void a_retry_topic_is_told_by_its_name(void)
{
  CHECK_INT(sip_due_delay_ms("orders-retry-10000"), 10000);
  CHECK_INT(sip_due_delay_ms("a-retry-1-retry-25"), 25);
  CHECK_INT(sip_due_delay_ms("-retry-7"), 7);
  CHECK_INT(sip_due_delay_ms("orders"), 0);
  CHECK_INT(sip_due_delay_ms("orders-retry-"), 0);
  CHECK_INT(sip_due_delay_ms("orders-retry-10s"), 0);
  CHECK_INT(sip_due_delay_ms("orders-retry--5"), 0);
  CHECK_INT(sip_due_delay_ms("orders-retry-10000-dlt"), 0);
  CHECK_INT(sip_due_delay_ms(""), 0);
}

int main(void)
{
  a_retry_topic_is_told_by_its_name();
  return 0;
}
