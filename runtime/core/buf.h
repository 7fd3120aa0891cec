#ifndef SIP_CORE_BUF_H
#define SIP_CORE_BUF_H
/* buf.h - a growing byte buffer. After a failed append the content is what it was before. One
 * owner, any thread. */
#include "core/base.h"

#include <stdbool.h>

struct sip_buf {
  char *data; /* owned; always followed by a NUL byte once something was appended */
  size_t len, cap;
};

#define SIP_BUF_INIT                                                                               \
  {                                                                                                \
    NULL, 0, 0                                                                                     \
  }

void sip_buf_deinit(struct sip_buf *buf); /* frees; the buffer can be used again */
void sip_buf_clear(struct sip_buf *buf);  /* empties, keeps the memory */

/** Whether there is room for `extra` more bytes and the NUL, as there mostly is. */
static inline bool sip_buf_has_room(const struct sip_buf *buf, size_t extra)
{
  return buf->cap - buf->len > extra;
}

/** Makes room for `extra` more bytes. @return 0 or UV_ENOMEM */
int sip_buf_reserve(struct sip_buf *buf, size_t extra);

/** @return 0 or UV_ENOMEM */
int sip_buf_add(struct sip_buf *buf, const void *data, size_t len);
int sip_buf_adds(struct sip_buf *buf, const char *text);
int sip_buf_addf(struct sip_buf *buf, const char *format, ...)
  __attribute__((format(printf, 2, 3)));

#endif
