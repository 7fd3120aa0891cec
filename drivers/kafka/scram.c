/* scram.c - finds a client's nonce that stands twice, and leaves one out. No state, no memory. */
#include "kafka/scram.h"

#include <stdint.h>
#include <string.h>

enum {
  NONCE_BYTES = 32, /* of librdkafka's own nonce */
  API_SASL_AUTHENTICATE = 36,
  HEAD_BYTES = 4 + 2 + 2 + 4 + 2 /* size, key, version, correlation, length of the client's id */
};

static const char FINAL[] = "c=biws,r="; /* how the client's last message begins */

/* Where the first of two equal nonces begins, or 0. */
static size_t scram_find(const unsigned char *text, size_t len)
{
  const unsigned char *at = memmem(text, len, FINAL, sizeof FINAL - 1);
  size_t start;

  if (at == NULL) {
    return 0;
  }
  start = (size_t)(at - text) + sizeof FINAL - 1;
  if (len - start < (size_t)2 * NONCE_BYTES ||
      memcmp(text + start, text + start + NONCE_BYTES, NONCE_BYTES) != 0) {
    return 0;
  }
  return start;
}

static size_t scram_cut(unsigned char *out, const unsigned char *text, size_t len, size_t start)
{
  memcpy(out, text, start);
  memcpy(out + start, text + start + NONCE_BYTES, len - start - NONCE_BYTES);
  return len - NONCE_BYTES;
}

size_t sip_scram_signed(unsigned char out[SIP_SCRAM_LIMIT_BYTES], const unsigned char *text,
                        size_t len)
{
  size_t start;

  if (len > SIP_SCRAM_LIMIT_BYTES || len < 2 || text[0] != 'n' || text[1] != '=') {
    return 0; /* it begins with the user's name */
  }
  start = scram_find(text, len);
  return start == 0 ? 0 : scram_cut(out, text, len, start);
}

static uint32_t scram_get32(const unsigned char *at)
{
  return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static void scram_put32(unsigned char *at, uint32_t value)
{
  for (int i = 0; i < 4; i++) {
    at[i] = (unsigned char)(value >> (24 - 8 * i));
  }
}

bool sip_scram_maybe(const unsigned char *request, size_t len)
{
  return len >= 6 && request[4] == 0 && request[5] == API_SASL_AUTHENTICATE;
}

size_t sip_scram_request(unsigned char out[SIP_SCRAM_LIMIT_BYTES], const unsigned char *request,
                         size_t len)
{
  size_t bytes_at, start;

  if (len > SIP_SCRAM_LIMIT_BYTES || len < HEAD_BYTES + 4 + sizeof FINAL ||
      !sip_scram_maybe(request, len) || scram_get32(request) != len - 4) {
    return 0;
  }
  bytes_at = HEAD_BYTES + ((size_t)request[HEAD_BYTES - 2] << 8 | request[HEAD_BYTES - 1]);
  if (bytes_at + 4 > len || scram_get32(request + bytes_at) != len - bytes_at - 4) {
    return 0;
  }
  start = scram_find(request, len);
  if (start != bytes_at + 4 + sizeof FINAL - 1) {
    return 0;
  }
  len = scram_cut(out, request, len, start);
  scram_put32(out, (uint32_t)(len - 4));
  scram_put32(out + bytes_at, (uint32_t)(len - bytes_at - 4));
  return len;
}
