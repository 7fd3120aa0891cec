/* err.c - texts and names of failures. Any thread; no allocation, so that it works when memory is
 * out. */
#include "core/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
  int code;
  const char *name;
} err_names[] = {
  { SIP_EQUEUEFULL, "QUEUE_FULL" },
  { SIP_ETOOBIG, "TOO_BIG" },
  { SIP_EDATA, "BAD_DATA" },
  { SIP_ESCRIPT, "SCRIPT" },
  { SIP_EBUDGET, "BUDGET" },
  { SIP_EKAFKA, "KAFKA" },
  { SIP_EHTTP, "HTTP" },
  { SIP_ESMTP, "SMTP" },
  { SIP_ESQL, "SQL" },
  { SIP_ECONFIG, "CONFIG" },
  { SIP_EAUTH, "AUTH" },
  { SIP_EEXISTS, "EXISTS" },
  { SIP_ENOTFOUND, "NOT_FOUND" },
  { SIP_EBUSY, "EBUSY" },
  { SIP_ECLOSED, "CLOSED" },
  { SIP_EFENCED, "FENCED" },
};

const char *sip_err_name(int code)
{
  for (size_t i = 0; i < sizeof err_names / sizeof err_names[0]; i++) {
    if (err_names[i].code == code) {
      return err_names[i].name;
    }
  }
  if (code < 0 && code > -5000) {
    switch (code) { /* uv_err_name allocates for a code that it does not know */
#define ERR_CASE(name, text)                                                                       \
  case UV_##name:                                                                                  \
    return #name;
      UV_ERRNO_MAP(ERR_CASE)
#undef ERR_CASE
    default:
      break;
    }
  }
  return "UNKNOWN";
}

static void err_vfill(struct sip_err *err, int code, const char *name, const char *format,
                      va_list args)
{
  err->code = code;
  (void)snprintf(err->name, sizeof err->name, "%s", name); /* cutting a long name is fine */
  (void)vsnprintf(err->message, sizeof err->message, format, args);
}

int sip_err_set(struct sip_err *err, int code, const char *format, ...)
{
  va_list args;

  if (err != NULL) {
    va_start(args, format);
    err_vfill(err, code, sip_err_name(code), format, args);
    va_end(args);
  }
  return code;
}

int sip_err_named(struct sip_err *err, int code, const char *name, const char *format, ...)
{
  va_list args;

  if (err != NULL) {
    va_start(args, format);
    err_vfill(err, code, name, format, args);
    va_end(args);
  }
  return code;
}

int sip_err_errno(struct sip_err *err, int errnum, const char *format, ...)
{
  va_list args;
  size_t used;

  if (err != NULL) {
    va_start(args, format);
    err_vfill(err, -errnum, sip_err_name(-errnum), format, args);
    va_end(args);
    used = strlen(err->message);
    (void)snprintf(err->message + used, sizeof err->message - used, ": %s", strerror(errnum));
  }
  return -errnum;
}

void sip_err_context(struct sip_err *err, const char *format, ...)
{
  char before[sizeof err->message];
  va_list args;
  size_t used;

  if (err == NULL) {
    return;
  }
  memcpy(before, err->message, sizeof before);
  va_start(args, format);
  (void)vsnprintf(err->message, sizeof err->message, format, args);
  va_end(args);
  used = strlen(err->message);
  (void)snprintf(err->message + used, sizeof err->message - used, ": %s", before);
}
