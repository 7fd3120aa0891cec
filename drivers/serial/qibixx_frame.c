/* qibixx_frame.c - lines of the Qibixx MDB interface, read and put into words. */
#include "serial/qibixx_frame.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { DECIMALS_MAX = 6, AMOUNT_DIGITS = 12 };

static int qibixx_look(const uint8_t *bytes, size_t size, const void *of)
{
  const uint8_t *end = memchr(bytes, '\n', size);

  (void)of;
  if (end != NULL) {
    return (int)(end - bytes) + 1;
  }
  return size >= SIP_QIBIXX_LINE ? (int)size : SIP_FRAME_MORE;
}

const struct sip_framing sip_qibixx_framing = { qibixx_look, SIP_QIBIXX_LINE + 2, 0 };

enum sip_qibixx_fault sip_qibixx_read(const uint8_t *bytes, size_t size,
                                      struct sip_qibixx_line *line)
{
  size_t begin = 0;

  line->count = 0;
  if (size == 0 || bytes[size - 1] != '\n') {
    return size >= SIP_QIBIXX_LINE ? SIP_QIBIXX_OVERSIZE : SIP_QIBIXX_UNTERMINATED;
  }
  size--;
  while (size > 0 && bytes[size - 1] == '\r') {
    size--;
  }
  if (size == 0) {
    return SIP_QIBIXX_EMPTY;
  }
  if (size > SIP_QIBIXX_LINE) {
    return SIP_QIBIXX_OVERSIZE;
  }
  if (memchr(bytes, '\n', size) != NULL) {
    return SIP_QIBIXX_MERGED;
  }
  for (size_t i = 0; i < size; i++) {
    if (bytes[i] < 0x20 || bytes[i] > 0x7E) {
      return SIP_QIBIXX_NONPRINTABLE;
    }
  }
  if (!isalpha(bytes[0])) {
    return SIP_QIBIXX_PREFIX;
  }
  for (size_t i = 0; i <= size; i++) {
    if (i == size || (bytes[i] == ',' && line->count < SIP_QIBIXX_FIELDS - 1)) {
      line->fields[line->count++] = (struct sip_slice){ (const char *)bytes + begin, i - begin };
      begin = i + 1;
    }
  }
  return SIP_QIBIXX_OK;
}

const char *sip_qibixx_fault_name(enum sip_qibixx_fault fault)
{
  static const char *const NAMES[SIP_QIBIXX_FAULTS] = {
    "ok", "unterminated", "empty", "oversize", "merged", "nonprintable", "prefix",
  };

  return NAMES[fault];
}

bool sip_qibixx_is(const struct sip_qibixx_line *line, size_t field, const char *text)
{
  size_t len = strlen(text);

  return field < line->count && line->fields[field].len == len &&
         memcmp(line->fields[field].data, text, len) == 0;
}

bool sip_qibixx_amount(const struct sip_slice *text, unsigned decimals, int64_t *minor)
{
  int64_t amount = 0;
  unsigned digits = 0, behind = 0;
  bool point = false;

  if (decimals > DECIMALS_MAX) {
    return false;
  }
  for (size_t i = 0; i < text->len; i++) {
    char c = text->data[i];

    if (c == '.' && !point && digits > 0) {
      point = true;
    } else if (c >= '0' && c <= '9' &&
               (point ? behind < decimals : digits < AMOUNT_DIGITS - decimals)) {
      amount = amount * 10 + (c - '0');
      digits++;
      behind += point;
    } else {
      return false;
    }
  }
  if (digits == 0 || (point && behind == 0)) {
    return false;
  }
  for (; behind < decimals; behind++) {
    amount *= 10;
  }
  *minor = amount;
  return true;
}

void sip_qibixx_print(int64_t minor, unsigned decimals, char *out, size_t room)
{
  int64_t unit = 1;

  for (unsigned i = 0; i < decimals; i++) {
    unit *= 10;
  }
  if (decimals == 0) {
    (void)snprintf(out, room, "%" PRId64, minor);
  } else {
    (void)snprintf(out, room, "%" PRId64 ".%0*" PRId64, minor / unit, (int)decimals, minor % unit);
  }
}

static const char *qibixx_meaning(const struct sip_qibixx_line *line)
{
  static const struct {
    const char *tag, *first, *text;
  } WORDS[] = {
    { "V", NULL, "version?" },
    { "v", NULL, "version" },
    { "H", NULL, "hardware?" },
    { "h", NULL, "hardware" },
    { "C", "START", "slave: session" },
    { "C", "VEND", "slave: approve" },
    { "C", "STOP", "slave: deny" },
    { "C", NULL, "slave" },
    { "c", "STATUS", "slave is" },
    { "c", "VEND", "slave: vend" },
    { "c", "ERR", "slave: error" },
    { "c", NULL, "slave" },
    { "D", "REQ", "master: ask for" },
    { "D", "END", "master: end" },
    { "D", NULL, "master" },
    { "d", "STATUS", "master is" },
    { "d", "ERR", "master: error" },
    { "d", NULL, "master" },
    { "F", NULL, "configure" },
    { "f", NULL, "configured" },
    { "L", NULL, "relay" },
    { "l", NULL, "relay" },
    { "X", NULL, "sniffer" },
    { "x", NULL, "sniffed" },
    { "r", NULL, "bus" },
  };

  for (size_t i = 0; i < sizeof WORDS / sizeof WORDS[0]; i++) {
    if (sip_qibixx_is(line, 0, WORDS[i].tag) &&
        (WORDS[i].first == NULL || sip_qibixx_is(line, 1, WORDS[i].first))) {
      return WORDS[i].text;
    }
  }
  return "line";
}

size_t sip_qibixx_describe(const uint8_t *bytes, size_t size, bool from_host, char *text,
                           size_t room)
{
  struct sip_qibixx_line line;
  int look = size == 0 ? SIP_FRAME_MORE : qibixx_look(bytes, size, NULL);
  enum sip_qibixx_fault fault;

  (void)from_host; /* the case of the tag says it */
  if (look == SIP_FRAME_MORE) {
    return 0;
  }
  fault = sip_qibixx_read(bytes, (size_t)look, &line);
  if (fault != SIP_QIBIXX_OK) {
    (void)snprintf(text, room, "noise");
    return fault == SIP_QIBIXX_EMPTY ? (size_t)look : 1;
  }
  (void)snprintf(
    text, room, "%s %.*s", qibixx_meaning(&line),
    (int)(line.fields[line.count - 1].data + line.fields[line.count - 1].len - line.fields[0].data),
    line.fields[0].data);
  return (size_t)look;
}
