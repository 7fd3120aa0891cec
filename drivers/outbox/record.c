/* record.c - records in memory, and their headers as bytes. Any thread. */
#include "outbox/record.h"

#include <stdlib.h>
#include <string.h>

static const uint32_t NULL_LEN = UINT32_MAX;
static const size_t RECORD_LIMIT = (size_t)256 << 20; /* far beyond what a broker takes */

static char *put_u32(char *at, uint32_t value)
{
  for (int i = 0; i < 4; i++) {
    *at++ = (char)(value >> (8 * i) & 0xff);
  }
  return at;
}

static uint32_t get_u32(const char *at)
{
  uint32_t value = 0;

  for (int i = 0; i < 4; i++) {
    value |= (uint32_t)(unsigned char)at[i] << (8 * i);
  }
  return value;
}

static char *put_bytes(char *at, const char *data, size_t len)
{
  if (data != NULL && len > 0) {
    memcpy(at, data, len);
  }
  return at + len;
}

static size_t headers_len(const struct sip_output *output)
{
  size_t len = 0;

  for (size_t i = 0; i < output->header_count; i++) {
    len += 4 + strlen(output->headers[i].name) + 1 + 4 + output->headers[i].value.len;
  }
  return len;
}

static void headers_write(char *at, const struct sip_output *output)
{
  for (size_t i = 0; i < output->header_count; i++) {
    const struct sip_header *header = &output->headers[i];
    size_t len = strlen(header->name);

    at = put_u32(at, (uint32_t)len);
    at = put_bytes(at, header->name, len + 1);
    at = put_u32(at, header->value.data == NULL ? NULL_LEN : (uint32_t)header->value.len);
    at = put_bytes(at, header->value.data, header->value.len);
  }
}

/* Copies `from` to `*at`, which moves on; null stays null, and empty stays empty. */
static void keep(struct sip_slice *to, const struct sip_slice *from, char **at)
{
  to->len = from->len;
  to->data = from->data == NULL ? NULL : *at;
  *at = put_bytes(*at, from->data, from->len);
}

struct sip_outbox_record *sip_outbox_record_of(const struct sip_slice *topic,
                                               const struct sip_slice *key,
                                               const struct sip_slice *value,
                                               const struct sip_slice *headers)
{
  size_t bytes = topic->len + key->len + value->len + headers->len;
  struct sip_outbox_record *record = calloc(1, sizeof *record + bytes + 1);
  char *at;

  if (record == NULL) {
    return NULL;
  }
  at = (char *)(record + 1);
  sip_list_init(&record->link);
  record->topic = at;
  at = put_bytes(at, topic->data, topic->len) + 1; /* the block is zeroed: the NUL is there */
  keep(&record->key, key, &at);
  keep(&record->value, value, &at);
  record->headers.len = headers->len;
  record->headers.data = headers->len == 0 ? NULL : at;
  if (headers->data != NULL) {
    (void)put_bytes(at, headers->data, headers->len);
  }
  record->bytes = bytes + SIP_OUTBOX_ROW_BYTES;
  return record;
}

int sip_outbox_record_new(struct sip_outbox_record **out, const struct sip_output *output,
                          int64_t now_ms, struct sip_err *err)
{
  struct sip_slice topic = { output->topic, strlen(output->topic) };
  struct sip_slice headers = { NULL, headers_len(output) };
  struct sip_outbox_record *record;

  if (output->header_count > SIP_OUTBOX_MAX_HEADERS ||
      output->key.len + output->value.len + headers.len + topic.len > RECORD_LIMIT) {
    return sip_err_named(err, SIP_ETOOBIG, "MSG_SIZE_TOO_LARGE",
                         "outbox: a record for %s has more than 256 MB or 1024 headers",
                         output->topic);
  }
  record = sip_outbox_record_of(&topic, &output->key, &output->value, &headers);
  if (record == NULL) {
    return sip_err_set(err, UV_ENOMEM, "outbox: no memory for a record for %s", output->topic);
  }
  if (headers.len > 0) {
    headers_write((char *)record->headers.data, output); /* inside of our own block */
  }
  record->at_ms = now_ms;
  record->timestamp_ms = output->timestamp_ms > 0 ? output->timestamp_ms : now_ms;
  record->partition = output->partition;
  *out = record;
  return 0;
}

void sip_outbox_record_free(struct sip_outbox_record *record)
{
  if (record != NULL) {
    free(record->refusal);
    free(record);
  }
}

void sip_outbox_records_free(struct sip_list *records)
{
  struct sip_list *node;

  while ((node = sip_list_shift(records)) != NULL) {
    sip_outbox_record_free(SIP_CONTAINER(node, struct sip_outbox_record, link));
  }
}

/* Reads one header at `*at`, which moves on; false when it does not fit before `end`. */
static bool header_read(const char **at, const char *end, struct sip_header *out)
{
  uint32_t len;

  if (end - *at < 4) {
    return false;
  }
  len = get_u32(*at);
  *at += 4;
  if ((size_t)(end - *at) < (size_t)len + 5 || (*at)[len] != '\0') {
    return false;
  }
  out->name = *at;
  *at += len + 1;
  len = get_u32(*at);
  *at += 4;
  if (len == NULL_LEN) {
    out->value = (struct sip_slice){ NULL, 0 };
    return true;
  }
  if ((size_t)(end - *at) < len) {
    return false;
  }
  out->value = (struct sip_slice){ *at, len };
  *at += len;
  return true;
}

int sip_outbox_record_headers(const struct sip_outbox_record *record,
                              struct sip_header headers[SIP_OUTBOX_MAX_HEADERS])
{
  const char *at = record->headers.data, *end = at == NULL ? NULL : at + record->headers.len;
  int count = 0;

  while (at != end) {
    if (count == SIP_OUTBOX_MAX_HEADERS || !header_read(&at, end, &headers[count])) {
      return SIP_EDATA;
    }
    count++;
  }
  return count;
}
