/* origin.c - whose request it is. Any thread. */
#include "http/origin.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { V4_BITS = 96, ALL_BITS = 128, CLIENT_BYTES = 8, TEXT_MAX = 64 };

static const unsigned char mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255 };

static bool is_v4(const struct sip_origin *key)
{
  return memcmp(key->bytes, mapped, sizeof mapped) == 0;
}

static void put_v4(struct sip_origin *out, const void *address)
{
  memcpy(out->bytes, mapped, sizeof mapped);
  memcpy(out->bytes + sizeof mapped, address, 4);
}

void sip_origin_of(struct sip_origin *out, const struct sockaddr *address)
{
  memset(out, 0, sizeof *out);
  if (address != NULL && address->sa_family == AF_INET) {
    put_v4(out, &((const struct sockaddr_in *)address)->sin_addr);
  } else if (address != NULL && address->sa_family == AF_INET6) {
    memcpy(out->bytes, &((const struct sockaddr_in6 *)address)->sin6_addr, sizeof out->bytes);
  }
}

static bool parse_plain(struct sip_origin *out, const char *text)
{
  unsigned char bytes[SIP_ORIGIN_BYTES];

  if (inet_pton(AF_INET, text, bytes) == 1) {
    put_v4(out, bytes);
    return true;
  }
  if (inet_pton(AF_INET6, text, bytes) == 1) {
    memcpy(out->bytes, bytes, sizeof bytes);
    return true;
  }
  return false;
}

bool sip_origin_parse(struct sip_origin *out, const struct sip_slice *text)
{
  char copy[TEXT_MAX], *plain = copy, *colon, *end;

  if (text->len == 0 || text->len >= sizeof copy) {
    return false;
  }
  memcpy(copy, text->data, text->len);
  copy[text->len] = '\0';
  colon = strchr(copy, ':');
  if (copy[0] == '[') {
    plain = copy + 1;
    end = strchr(plain, ']');
    if (end == NULL) {
      return false;
    }
    *end = '\0';
  } else if (colon != NULL && strchr(colon + 1, ':') == NULL) {
    *colon = '\0'; /* the port behind an IPv4 address */
  }
  return parse_plain(out, plain);
}

void sip_origin_show(const struct sip_origin *key, char *out, size_t size)
{
  const void *bytes = is_v4(key) ? key->bytes + sizeof mapped : key->bytes;

  if (inet_ntop(is_v4(key) ? AF_INET : AF_INET6, bytes, out, (socklen_t)size) == NULL && size > 0) {
    out[0] = '\0'; /* it does not fit */
  }
}

struct sip_origin sip_origin_client(const struct sip_origin *key)
{
  struct sip_origin out = *key;

  if (!is_v4(key)) {
    memset(out.bytes + CLIENT_BYTES, 0, sizeof out.bytes - CLIENT_BYTES);
  }
  return out;
}

int sip_network_parse(struct sip_network *out, const char *text, struct sip_err *err)
{
  const char *slash = strchr(text, '/');
  struct sip_slice address = { text, slash == NULL ? strlen(text) : (size_t)(slash - text) };
  char copy[TEXT_MAX], *end = NULL;
  unsigned long bits = ALL_BITS, base;

  (void)snprintf(copy, sizeof copy, "%.*s", (int)address.len, address.data);
  if (parse_plain(&out->address, copy)) {
    base = is_v4(&out->address) ? V4_BITS : 0;
    if (slash != NULL) {
      bits = strtoul(slash + 1, &end, 10);
      bits =
        end == slash + 1 || *end != '\0' || bits > ALL_BITS - base ? ALL_BITS + 1 : base + bits;
    }
    if (bits <= ALL_BITS) {
      out->bits = (unsigned)bits;
      return 0;
    }
  }
  return sip_err_set(err, UV_EINVAL,
                     "proxy %s: not a network (an address such as 10.0.0.7, or 10.0.0.0/8)", text);
}

bool sip_network_has(const struct sip_network *network, const struct sip_origin *key)
{
  unsigned whole = network->bits / 8, rest = network->bits % 8;
  unsigned char mask = (unsigned char)(0xff00u >> rest);

  return memcmp(network->address.bytes, key->bytes, whole) == 0 &&
         (rest == 0 || (network->address.bytes[whole] & mask) == (key->bytes[whole] & mask));
}

static bool is_trusted(const struct sip_origin *key, const struct sip_network *trusted,
                       size_t count)
{
  for (size_t i = 0; i < count; i++) {
    if (sip_network_has(&trusted[i], key)) {
      return true;
    }
  }
  return false;
}

static bool is_blank(char c)
{
  return c == ' ' || c == '\t';
}

/* The last entry of a list; `list` ends before it. */
static struct sip_slice take_last(struct sip_slice *list)
{
  size_t start = list->len, end = list->len;

  while (start > 0 && list->data[start - 1] != ',') {
    start--;
  }
  list->len = start > 0 ? start - 1 : 0; /* without the comma */
  while (start < end && is_blank(list->data[start])) {
    start++;
  }
  while (end > start && is_blank(list->data[end - 1])) {
    end--;
  }
  return (struct sip_slice){ list->data + start, end - start };
}

void sip_origin_forwarded(struct sip_origin *out, const struct sip_origin *peer,
                          const struct sip_slice *list, const struct sip_network *trusted,
                          size_t count)
{
  struct sip_slice left = *list;

  *out = *peer;
  while (left.len > 0 && is_trusted(out, trusted, count)) {
    struct sip_slice entry = take_last(&left);
    struct sip_origin key;

    if (!sip_origin_parse(&key, &entry)) {
      return;
    }
    *out = key;
  }
}
