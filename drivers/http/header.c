/* header.c - header fields of HTTP messages. Any thread; one list has one owner. */
#include "http/header.h"

#include <string.h>
#include <strings.h>

enum { FIRST_BYTES = 512 }; /* most heads fit: one allocation */

/* tchar of RFC 9110 section 5.6.2: one bit for each byte below 128 */
static const uint64_t name_bytes[2] = { 0x03ff6cfa00000000, 0x57ffffffc7fffffe };

bool sip_header_is_name(const struct sip_slice *name)
{
  for (size_t i = 0; i < name->len; i++) {
    unsigned char c = (unsigned char)name->data[i];

    if (c > 127 || (name_bytes[c / 64] >> c % 64 & 1) == 0) {
      return false;
    }
  }
  return name->len > 0;
}

/* Eight bytes at once: a constant with the same byte in each place. */
#define EACH(byte) (UINT64_C(0x0101010101010101) * (byte))

/* Whether one of them is below ' ' or 127. */
static bool have_control(uint64_t eight)
{
  uint64_t delete = eight ^ EACH(127);
  uint64_t found = ((eight - EACH(' ')) & ~eight) | ((delete - EACH(1)) & ~delete);

  return (found & EACH(0x80)) != 0;
}

bool sip_header_is_value(const struct sip_slice *value)
{
  size_t i = 0;
  uint64_t eight;

  for (; i + sizeof eight <= value->len; i += sizeof eight) {
    memcpy(&eight, value->data + i, sizeof eight);
    if (have_control(eight)) {
      break; /* a tab may be */
    }
  }
  for (; i < value->len; i++) {
    unsigned char c = (unsigned char)value->data[i];

    if ((c < ' ' && c != '\t') || c == 127) {
      return false;
    }
  }
  return true;
}

int sip_header_check(const struct sip_header *header, struct sip_err *err)
{
  if (!sip_header_is_name(&header->name)) {
    return sip_err_set(err, UV_EINVAL,
                       "a header's name is letters, digits and dashes; got \"%.*s\"",
                       header->name.len > 40 ? 40 : (int)header->name.len,
                       header->name.data == NULL ? "" : header->name.data);
  }
  if (!sip_header_is_value(&header->value)) {
    return sip_err_set(
      err, UV_EINVAL, "header %.*s: its value holds a line break, NUL or another control character",
      header->name.len > 80 ? 80 : (int)header->name.len, header->name.data);
  }
  return 0;
}

bool sip_header_is(const struct sip_slice *name, const char *text)
{
  return strlen(text) == name->len && strncasecmp(name->data, text, name->len) == 0;
}

/* There is room for it. */
static char *put_text(char *at, const struct sip_slice *text)
{
  uint32_t len = (uint32_t)text->len;

  memcpy(at, &len, sizeof len);
  if (text->len > 0) {
    memcpy(at + sizeof len, text->data, text->len);
  }
  return at + sizeof len + text->len;
}

static void lower(char *text, size_t len)
{
  size_t i = 0;
  uint64_t eight, low, upper;

  for (; i + sizeof eight <= len; i += sizeof eight) {
    memcpy(&eight, text + i, sizeof eight);
    low = eight & EACH(0x7f);
    upper = (low + EACH(128 - 'A')) & ~(low + EACH(127 - 'Z')) & ~eight & EACH(0x80);
    eight |= upper >> 2; /* 0x20 where a letter is a capital */
    memcpy(text + i, &eight, sizeof eight);
  }
  for (; i < len; i++) {
    text[i] = text[i] >= 'A' && text[i] <= 'Z' ? (char)(text[i] + ('a' - 'A')) : text[i];
  }
}

int sip_header_list_add(struct sip_header_list *list, const struct sip_slice *name,
                        const struct sip_slice *value)
{
  size_t need = 2 * sizeof(uint32_t) + name->len + value->len;
  size_t room = need + (list->text.len == 0 ? FIRST_BYTES : 0);
  char *at;

  if (name->len > UINT32_MAX || value->len > UINT32_MAX || sip_buf_reserve(&list->text, room) < 0) {
    return UV_ENOMEM;
  }
  at = list->text.data + list->text.len;
  (void)put_text(put_text(at, name), value);
  lower(at + sizeof(uint32_t), name->len);
  list->text.len += need;
  list->text.data[list->text.len] = '\0'; /* as in every buffer */
  list->count++;
  return 0;
}

void sip_header_list_clear(struct sip_header_list *list)
{
  sip_buf_clear(&list->text);
  list->count = 0;
}

void sip_header_list_deinit(struct sip_header_list *list)
{
  sip_buf_deinit(&list->text);
  list->count = 0;
}

static bool list_take(const struct sip_header_list *list, size_t *at, struct sip_slice *out)
{
  uint32_t len;

  if (*at + sizeof len > list->text.len) {
    return false;
  }
  memcpy(&len, list->text.data + *at, sizeof len);
  out->data = list->text.data + *at + sizeof len;
  out->len = len;
  *at += sizeof len + len;
  return true;
}

bool sip_header_list_next(const struct sip_header_list *list, size_t *at, struct sip_header *out)
{
  return list_take(list, at, &out->name) && list_take(list, at, &out->value);
}

bool sip_header_list_find(const struct sip_header_list *list, const char *name,
                          struct sip_slice *out)
{
  struct sip_header header;
  size_t at = 0;

  while (sip_header_list_next(list, &at, &header)) {
    if (sip_header_is(&header.name, name)) {
      *out = header.value;
      return true;
    }
  }
  return false;
}
