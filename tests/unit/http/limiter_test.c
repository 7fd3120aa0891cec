/* limiter_test.c - token buckets and connections by client, sizes of bodies by route. */
#include "http/limiter.h"

#include "http/body_limits.h"
#include "http/peers.h"
#include "support/test.h"

static struct sip_origin client(unsigned number)
{
  struct sip_origin out = { { 0 } };

  memcpy(out.bytes, &number, sizeof number);
  return out;
}

static void a_bucket_holds_its_burst_and_fills_with_time(void)
{
  struct sip_limiter *limiter = NULL;
  struct sip_origin a = client(1), b = client(2);

  CHECK_INT(sip_limiter_new(&limiter, 10, 2), 0);
  CHECK_INT(sip_limiter_take(limiter, &a, 1000), 0);
  CHECK_INT(sip_limiter_take(limiter, &a, 1000), 0);
  CHECK_INT(sip_limiter_take(limiter, &a, 1000), 100);
  CHECK_INT(sip_limiter_take(limiter, &b, 1000), 0); /* another client has its own */
  CHECK_INT(sip_limiter_take(limiter, &a, 1060), 40);
  CHECK_INT(sip_limiter_take(limiter, &a, 1100), 0);
  CHECK(sip_limiter_take(limiter, &a, 1100) > 0);
  CHECK_INT(sip_limiter_take(limiter, &a, 100000), 0); /* never more than the burst */
  CHECK_INT(sip_limiter_take(limiter, &a, 100000), 0);
  CHECK(sip_limiter_take(limiter, &a, 100000) > 0);
  sip_limiter_free(limiter);
}

static void who_has_not_asked_for_longest_is_forgotten(void)
{
  struct sip_limiter *limiter = NULL;
  struct sip_origin first = client(0), second = client(1), key;

  CHECK_INT(sip_limiter_new(&limiter, 0.001, 1), 0);
  for (unsigned i = 0; i < SIP_LIMITER_CLIENTS; i++) {
    key = client(i);
    CHECK_INT(sip_limiter_take(limiter, &key, 1), 0);
  }
  CHECK(sip_limiter_take(limiter, &first, 1) > 0); /* now the second is the oldest */
  key = client(SIP_LIMITER_CLIENTS);
  CHECK_INT(sip_limiter_take(limiter, &key, 1), 0);
  CHECK_INT(sip_limiter_count(limiter), SIP_LIMITER_CLIENTS);
  CHECK(sip_limiter_take(limiter, &first, 1) > 0);
  CHECK_INT(sip_limiter_take(limiter, &second, 1), 0); /* forgotten: a full bucket */
  for (unsigned i = 0; i < 3 * SIP_LIMITER_CLIENTS; i++) {
    key = client(i * 7919);
    (void)sip_limiter_take(limiter, &key, i);
  }
  CHECK_INT(sip_limiter_count(limiter), SIP_LIMITER_CLIENTS);
  sip_limiter_free(limiter);
}

static void connections_are_counted_by_client(void)
{
  enum { CLIENTS = 5000 };
  static struct sip_peer *joined[CLIENTS][2];
  struct sip_peers *peers = NULL;
  struct sip_origin key;

  CHECK_INT(sip_peers_new(&peers), 0);
  for (unsigned i = 0; i < CLIENTS; i++) {
    key = client(i);
    CHECK_INT(sip_peers_count(peers, &key), 0);
    joined[i][0] = sip_peers_join(peers, &key);
    joined[i][1] = sip_peers_join(peers, &key);
    CHECK(joined[i][0] != NULL && joined[i][0] == joined[i][1]);
    CHECK_INT(sip_peers_count(peers, &key), 2);
  }
  for (unsigned i = 0; i < CLIENTS; i++) {
    key = client(i);
    sip_peers_leave(peers, joined[i][0]);
    CHECK_INT(sip_peers_count(peers, &key), 1);
    sip_peers_leave(peers, joined[i][1]);
    CHECK_INT(sip_peers_count(peers, &key), 0);
  }
  sip_peers_leave(peers, NULL);
  sip_peers_free(peers);
}

static void a_body_has_the_limit_of_its_route(void)
{
  static const struct {
    const char *method, *target;
    uint64_t limit;
  } cases[] = {
    { "POST", "/up", 1 },          { "POST", "/up?a=/b", 1 },
    { "POST", "/up#x", 1 },        { "PUT", "/up", 99 },
    { "POST", "/up/", 99 },        { "POST", "/u", 99 },
    { "POST", "/upper", 99 },      { "POST", "/o/7/files", 2 },
    { "POST", "/o//files", 99 },   { "POST", "/o/7/8/files", 99 },
    { "POST", "/all/a/b/c", 3 },   { "POST", "/all/", 3 },
    { "POST", "/all", 99 },        { "POST", "", 99 },
    { "POST", "*", 99 },           { "POST", "/", 99 },
    { "POST", "/o/7/filesx", 99 }, { "POST", "//up", 99 },
  };
  struct sip_body_limits *limits = NULL;

  CHECK_INT(sip_body_limits_new(&limits), 0);
  CHECK_INT(sip_body_limits_add(limits, "POST", "/up", 1), 0);
  CHECK_INT(sip_body_limits_add(limits, "POST", "/o/:id/files", 2), 0);
  CHECK_INT(sip_body_limits_add(limits, "POST", "/all/*", 3), 0);
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    uint64_t found = sip_body_limits_find(limits, cases[i].method, cases[i].target, 99);

    if (found != cases[i].limit) {
      SIP_TEST_FAIL("%s %s: %llu, not %llu", cases[i].method, cases[i].target,
                    (unsigned long long)found, (unsigned long long)cases[i].limit);
    }
  }
  sip_body_limits_clear(limits);
  CHECK_INT(sip_body_limits_find(limits, "POST", "/up", 99), 99);
  CHECK_INT(sip_body_limits_add(limits, "POST", "/up", 5), 0);
  CHECK_INT(sip_body_limits_find(limits, "POST", "/up", 99), 5);
  sip_body_limits_free(limits);
}

int main(void)
{
  a_bucket_holds_its_burst_and_fills_with_time();
  who_has_not_asked_for_longest_is_forgotten();
  connections_are_counted_by_client();
  a_body_has_the_limit_of_its_route();
  (void)printf("ok\n");
  return 0;
}
