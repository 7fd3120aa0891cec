/* err_test.c - texts, names and cutting of failures. */
#include "core/err.h"

#include "support/test.h"

#include <errno.h>

int main(void)
{
  struct sip_err err = { 0 };
  char text[5000];

  CHECK_INT(sip_err_set(&err, SIP_EQUEUEFULL, "send to %s", "orders"), SIP_EQUEUEFULL);
  CHECK_STR(err.name, "QUEUE_FULL");
  CHECK_STR(err.message, "send to orders");
  CHECK_INT(sip_err_errno(&err, ENOENT, "open %s", "x.lua"), UV_ENOENT);
  CHECK_STR(err.name, "ENOENT");
  CHECK_STR(err.message, "open x.lua: No such file or directory");
  sip_err_context(&err, "load %d", 7);
  CHECK_STR(err.message, "load 7: open x.lua: No such file or directory");
  CHECK_INT(sip_err_named(&err, SIP_EKAFKA, "UNKNOWN_TOPIC_OR_PART", "x"), SIP_EKAFKA);
  CHECK_STR(err.name, "UNKNOWN_TOPIC_OR_PART");
  CHECK_STR(sip_err_name(UV_ECANCELED), "ECANCELED");
  CHECK_STR(sip_err_name(-4999), "UNKNOWN");
  CHECK_STR(sip_err_name(-20000), "UNKNOWN");
  memset(text, 'x', sizeof text - 1);
  text[sizeof text - 1] = '\0';
  CHECK_INT(sip_err_errno(&err, EIO, "%s", text), UV_EIO);
  CHECK_INT(strlen(err.message), sizeof err.message - 1);
  sip_err_context(&err, "before");
  CHECK_HAS(err.message, "before: xxx");
  CHECK_INT(sip_err_set(NULL, UV_EIO, "nobody listens"), UV_EIO);
  sip_err_context(NULL, "nobody listens");
  return 0;
}
