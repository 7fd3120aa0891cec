/* gzip.c - bodies as gzip. Any thread. */
#include "http/gzip.h"

#include <ctype.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <uv.h>
#include <zlib.h>

enum { WINDOW_GZIP = 15 + 16, MEMORY_LEVEL = 8, HEADER_BYTES = 32 }; /* zlib.h, deflateInit2 */

size_t sip_gzip_bound(size_t len)
{
  return compressBound(len) + HEADER_BYTES;
}

long sip_gzip(char *out, size_t size, const struct sip_slice *data, int level)
{
  z_stream z = { 0 };
  long len;

  if (data->len > UINT_MAX || size > UINT_MAX ||
      deflateInit2(&z, level, Z_DEFLATED, WINDOW_GZIP, MEMORY_LEVEL, Z_DEFAULT_STRATEGY) != Z_OK) {
    return UV_ENOMEM;
  }
  z.next_in = (Bytef *)data->data;
  z.avail_in = (uInt)data->len;
  z.next_out = (Bytef *)out;
  z.avail_out = (uInt)size;
  len = deflate(&z, Z_FINISH) == Z_STREAM_END ? (long)z.total_out : UV_ENOMEM;
  (void)deflateEnd(&z); /* Z_DATA_ERROR only says that it was not finished */
  return len;
}

/* The next item of a list with commas, without the blanks around it. */
static bool next_item(struct sip_slice *list, struct sip_slice *item)
{
  const char *comma = memchr(list->data, ',', list->len);
  size_t len = comma == NULL ? list->len : (size_t)(comma - list->data);

  if (list->len == 0) {
    return false;
  }
  *item = (struct sip_slice){ list->data, len };
  list->data += comma == NULL ? len : len + 1;
  list->len -= comma == NULL ? len : len + 1;
  while (item->len > 0 && isspace((unsigned char)item->data[0])) {
    item->data++;
    item->len--;
  }
  return true;
}

/* "q=0", "q=0.000": not at all. */
static bool is_refused(const struct sip_slice *item, size_t at)
{
  while (at < item->len && (item->data[at] == ';' || isspace((unsigned char)item->data[at]))) {
    at++;
  }
  if (at + 2 >= item->len || (item->data[at] | 32) != 'q' || item->data[at + 1] != '=' ||
      item->data[at + 2] != '0') {
    return false;
  }
  for (at += 3; at < item->len; at++) {
    if (isdigit((unsigned char)item->data[at]) && item->data[at] != '0') {
      return false;
    }
  }
  return true;
}

bool sip_gzip_accepted(const struct sip_slice *accept_encoding)
{
  struct sip_slice list = *accept_encoding, item;
  int named = -1, any = -1; /* -1: not said */

  while (list.len > 0 && next_item(&list, &item)) {
    size_t len = 0;

    while (len < item.len && item.data[len] != ';' && !isspace((unsigned char)item.data[len])) {
      len++;
    }
    if (len == 1 && item.data[0] == '*') {
      any = !is_refused(&item, len);
    } else if ((len == 4 && strncasecmp(item.data, "gzip", len) == 0) ||
               (len == 6 && strncasecmp(item.data, "x-gzip", len) == 0)) {
      named = !is_refused(&item, len);
    }
  }
  return named >= 0 ? named == 1 : any == 1;
}

static bool ends_with(const struct sip_slice *text, const char *end)
{
  size_t len = strlen(end);

  return text->len >= len && strncasecmp(text->data + text->len - len, end, len) == 0;
}

bool sip_gzip_suits(const struct sip_slice *content_type)
{
  static const char *const types[] = { "application/json", "application/javascript",
                                       "application/xml",  "application/openmetrics-text",
                                       "application/wasm", "application/x-ndjson",
                                       "font/ttf",         "image/svg+xml" };
  struct sip_slice type = *content_type;

  while (type.len > 0 && memchr(type.data, ';', type.len) != NULL) {
    type.len--;
  }
  while (type.len > 0 && isspace((unsigned char)type.data[type.len - 1])) {
    type.len--;
  }
  for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
    if (type.len == strlen(types[i]) && strncasecmp(type.data, types[i], type.len) == 0) {
      return true;
    }
  }
  if (type.len > 5 && strncasecmp(type.data, "text/", 5) == 0) {
    return !ends_with(&type, "event-stream");
  }
  return ends_with(&type, "+json") || ends_with(&type, "+xml");
}
