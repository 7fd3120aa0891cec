/* buf.c - a growing byte buffer. */
#include "core/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

enum { BUF_FIRST_BYTES = 64 };

void sip_buf_deinit(struct sip_buf *buf)
{
  free(buf->data);
  *buf = (struct sip_buf)SIP_BUF_INIT;
}

void sip_buf_clear(struct sip_buf *buf)
{
  buf->len = 0;
  if (buf->data != NULL) {
    buf->data[0] = '\0';
  }
}

int sip_buf_reserve(struct sip_buf *buf, size_t extra)
{
  size_t need, cap;
  char *data;

  if (extra > SIZE_MAX / 2 - buf->len - 1) {
    return UV_ENOMEM;
  }
  need = buf->len + extra + 1;
  if (need <= buf->cap) {
    return 0;
  }
  cap = buf->cap == 0 ? BUF_FIRST_BYTES : buf->cap;
  while (cap < need) {
    cap *= 2;
  }
  data = realloc(buf->data, cap);
  if (data == NULL) {
    return UV_ENOMEM;
  }
  data[buf->len] = '\0';
  buf->data = data;
  buf->cap = cap;
  return 0;
}

int sip_buf_add(struct sip_buf *buf, const void *data, size_t len)
{
  int rc = sip_buf_reserve(buf, len);

  if (rc < 0) {
    return rc;
  }
  if (len > 0) {
    memcpy(buf->data + buf->len, data, len);
  }
  buf->len += len;
  buf->data[buf->len] = '\0';
  return 0;
}

int sip_buf_adds(struct sip_buf *buf, const char *text)
{
  return sip_buf_add(buf, text, strlen(text));
}

int sip_buf_addf(struct sip_buf *buf, const char *format, ...)
{
  va_list args;
  int len, rc;

  va_start(args, format);
  len = vsnprintf(NULL, 0, format, args);
  va_end(args);
  if (len < 0) {
    return UV_EINVAL;
  }
  rc = sip_buf_reserve(buf, (size_t)len);
  if (rc < 0) {
    return rc;
  }
  va_start(args, format);
  (void)vsnprintf(buf->data + buf->len, (size_t)len + 1, format, args); /* measured above */
  va_end(args);
  buf->len += (size_t)len;
  return 0;
}
