/* store_text.c - see store_text.h. Any thread. */
#include "postgres/store_text.h"

#include "core/err.h"
#include "core/utf8.h"

static const char ESC = '\x1b';

bool sip_pg_text_is_kept(struct sip_slice kept)
{
  return kept.len > 0 && kept.data[0] == ESC;
}

bool sip_pg_text_fits(struct sip_slice text)
{
  if (sip_pg_text_is_kept(text)) {
    return false;
  }
  for (size_t at = 0; at < text.len;) {
    unsigned char byte = (unsigned char)text.data[at];
    size_t length = byte < 0x80 ? byte != 0 : sip_utf8_length(text.data + at, text.len - at);

    if (length == 0) {
      return false;
    }
    at += length;
  }
  return true;
}

int sip_pg_text_keep(struct sip_buf *out, struct sip_slice text)
{
  int rc = sip_buf_add(out, &ESC, 1);

  for (size_t i = 0; rc == 0 && i < text.len; i++) {
    rc = sip_buf_addf(out, "%02x", (unsigned)(unsigned char)text.data[i]);
  }
  return rc;
}

static int digit(char c)
{
  return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int sip_pg_text_restore(struct sip_buf *out, struct sip_slice kept)
{
  int rc = kept.len % 2 == 1 ? sip_buf_reserve(out, kept.len / 2 + 1) : SIP_EDATA;

  for (size_t i = 1; rc == 0 && i < kept.len; i += 2) {
    int high = digit(kept.data[i]), low = digit(kept.data[i + 1]);
    char byte = (char)(high << 4 | low);

    rc = high < 0 || low < 0 ? SIP_EDATA : sip_buf_add(out, &byte, 1);
  }
  return rc;
}
