/* origin_test.c - addresses of clients, networks of proxies, and what x-forwarded-for says. */
#include "http/origin.h"

#include "support/test.h"

static struct sip_slice text(const char *s)
{
  return (struct sip_slice){ s, strlen(s) };
}

static struct sip_origin origin(const char *s)
{
  struct sip_slice slice = text(s);
  struct sip_origin out;

  CHECK(sip_origin_parse(&out, &slice));
  return out;
}

static void check_shown(const char *given, const char *shown)
{
  struct sip_origin key = origin(given);
  char place[48];

  sip_origin_show(&key, place, sizeof place);
  CHECK_STR(place, shown);
}

static void addresses_are_read_with_and_without_ports(void)
{
  static const char *const bad[] = {
    "",         "1.2.3", "1.2.3.4.5", "unknown", "_hidden",
    "1.2.3.4x", "[::1",  "::g",       "[]:80",   "1.2.3.4, 5.6.7.8"
  };
  struct sip_origin key;

  check_shown("192.0.2.7", "192.0.2.7");
  check_shown("192.0.2.7:443", "192.0.2.7");
  check_shown("2001:db8::1", "2001:db8::1");
  check_shown("[2001:db8::1]:443", "2001:db8::1");
  check_shown("::ffff:192.0.2.7", "192.0.2.7");
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    struct sip_slice slice = text(bad[i]);

    CHECK(!sip_origin_parse(&key, &slice));
  }
}

static void a_client_of_ipv6_is_its_first_64_bits(void)
{
  struct sip_origin a = origin("2001:db8:0:1::1"), b = origin("2001:db8:0:1:ffff::2");
  struct sip_origin c = origin("2001:db8:0:2::1"), v4 = origin("192.0.2.1");
  struct sip_origin ka = sip_origin_client(&a), kb = sip_origin_client(&b);
  struct sip_origin kc = sip_origin_client(&c), kv4 = sip_origin_client(&v4);

  CHECK(memcmp(&ka, &kb, sizeof ka) == 0);
  CHECK(memcmp(&ka, &kc, sizeof ka) != 0);
  CHECK(memcmp(&kv4, &v4, sizeof v4) == 0);
}

static bool network_has(const char *network, const char *address)
{
  struct sip_origin key = origin(address);
  struct sip_err err = { 0 };
  struct sip_network net;

  CHECK_INT(sip_network_parse(&net, network, &err), 0);
  return sip_network_has(&net, &key);
}

static void networks_hold_their_addresses(void)
{
  static const char *const bad[] = { "",           "10.0.0.0/33", "::1/129",
                                     "10.0.0.0/",  "10.0.0.0/8x", "example.org",
                                     "10.0.0.0/-1" };
  struct sip_err err = { 0 };
  struct sip_network net;

  CHECK(network_has("10.0.0.0/8", "10.255.1.2"));
  CHECK(!network_has("10.0.0.0/8", "11.0.0.0"));
  CHECK(network_has("192.0.2.128/25", "192.0.2.200"));
  CHECK(!network_has("192.0.2.128/25", "192.0.2.100"));
  CHECK(network_has("192.0.2.1", "192.0.2.1"));
  CHECK(!network_has("192.0.2.1", "192.0.2.2"));
  CHECK(network_has("0.0.0.0/0", "203.0.113.9"));
  CHECK(!network_has("0.0.0.0/0", "2001:db8::1"));
  CHECK(network_has("2001:db8::/32", "2001:db8:1::1"));
  CHECK(network_has("::/0", "2001:db8:1::1"));
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    CHECK_INT(sip_network_parse(&net, bad[i], &err), UV_EINVAL);
    CHECK(strstr(err.message, "not a network") != NULL);
  }
}

static void check_client(const char *peer, const char *list, const char *client)
{
  struct sip_origin from = origin(peer), out;
  struct sip_slice given = text(list);
  struct sip_network trusted[2];
  struct sip_err err = { 0 };
  char place[48];

  CHECK_INT(sip_network_parse(&trusted[0], "10.0.0.0/8", &err), 0);
  CHECK_INT(sip_network_parse(&trusted[1], "::1", &err), 0);
  sip_origin_forwarded(&out, &from, &given, trusted, 2);
  sip_origin_show(&out, place, sizeof place);
  CHECK_STR(place, client);
}

static void the_client_is_the_last_that_is_no_proxy_of_ours(void)
{
  check_client("192.0.2.1", "198.51.100.1", "192.0.2.1"); /* it is no proxy */
  check_client("10.0.0.1", "", "10.0.0.1");
  check_client("10.0.0.1", "192.0.2.1", "192.0.2.1");
  check_client("10.0.0.1", "203.0.113.1, 192.0.2.1", "192.0.2.1");
  check_client("10.0.0.1", "192.0.2.1,\t10.0.0.2 , ::1", "192.0.2.1");
  check_client("::1", "10.0.0.3,10.0.0.2", "10.0.0.3");
  check_client("10.0.0.1", "192.0.2.1, junk", "10.0.0.1");
  check_client("10.0.0.1", "192.0.2.1, junk, 10.0.0.2", "10.0.0.2");
  check_client("10.0.0.1", ",", "10.0.0.1");
  check_client("10.0.0.1", "192.0.2.1,,", "10.0.0.1");
}

int main(void)
{
  addresses_are_read_with_and_without_ports();
  a_client_of_ipv6_is_its_first_64_bits();
  networks_hold_their_addresses();
  the_client_is_the_last_that_is_no_proxy_of_ours();
  (void)printf("ok\n");
  return 0;
}
