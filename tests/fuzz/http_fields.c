/* http_fields.c - fields of requests that the server reads itself: accept-encoding,
 * x-forwarded-for, targets by their routes.
 *
 * The input is a byte that says which, and the field. */
#include "http/body_limits.h"
#include "http/gzip.h"
#include "http/origin.h"
#include "support/fuzz.h"

#include <stdbool.h>
#include <string.h>

static void read_forwarded(const char *text, size_t len)
{
  struct sip_network trusted[2];
  struct sip_origin peer = { { 0 } }, client, again;
  struct sip_slice list = { text, len }, shown;
  struct sip_err err = { 0 };
  char place[48];

  FUZZ_CHECK(sip_network_parse(&trusted[0], "::/8", &err) == 0, "a network");
  FUZZ_CHECK(sip_network_parse(&trusted[1], "10.0.0.0/8", &err) == 0, "a network");
  sip_origin_forwarded(&client, &peer, &list, trusted, 2);
  sip_origin_show(&client, place, sizeof place);
  shown = (struct sip_slice){ place, strlen(place) };
  FUZZ_CHECK(sip_origin_parse(&again, &shown) && memcmp(&again, &client, sizeof client) == 0,
             "%s is not what it shows", place);
}

static void read_network(const char *text)
{
  struct sip_network network;
  struct sip_err err = { 0 };

  if (sip_network_parse(&network, text, &err) == 0) {
    FUZZ_CHECK(network.bits <= 128 && sip_network_has(&network, &network.address),
               "%s is not in itself", text);
  } else {
    FUZZ_CHECK(err.code == UV_EINVAL && err.message[0] != '\0', "refused without a word");
  }
}

static void find_limit(const char *target)
{
  static const char *const patterns[] = { "/a", "/a/:b/c", "/d/*", "/" };
  struct sip_body_limits *limits = NULL;
  uint64_t found;

  FUZZ_CHECK(sip_body_limits_new(&limits) == 0, "no memory");
  for (uint64_t i = 0; i < sizeof patterns / sizeof patterns[0]; i++) {
    FUZZ_CHECK(sip_body_limits_add(limits, "POST", patterns[i], i) == 0, "no memory");
  }
  found = sip_body_limits_find(limits, "POST", target, 9);
  FUZZ_CHECK(found == 9 || (found < 4 && target[0] == '/'), "%s has a limit", target);
  FUZZ_CHECK(found != 0 || (strncmp(target, "/a", 2) == 0 && strchr("?#", target[2]) != NULL),
             "%s is not /a", target);
  sip_body_limits_free(limits);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  struct sip_slice field;
  char *copy;

  if (size == 0) {
    return 0;
  }
  copy = malloc(size);
  FUZZ_CHECK(copy != NULL, "no memory");
  memcpy(copy, data + 1, size - 1);
  copy[size - 1] = '\0';
  field = (struct sip_slice){ copy, size - 1 };
  switch (data[0] % 4) {
  case 0:
    (void)sip_gzip_accepted(&field);
    (void)sip_gzip_suits(&field);
    break;
  case 1:
    read_forwarded(copy, size - 1);
    break;
  case 2:
    read_network(copy);
    break;
  default:
    find_limit(copy);
  }
  free(copy);
  return 0;
}
