/* client_dns_test.c - a resolver that does not answer holds nothing up: not the loop, a timeout, a
 * cancel, the end.
 *
 * This program's getaddrinfo takes the place of libc's in libcurl as well. */
#include "http/client.h"
#include "http/multi.h"
#include "support/test.h"

#include <netdb.h>
#include <stdatomic.h>
#include <unistd.h>

static atomic_int lookups;

int getaddrinfo(const char *restrict node, const char *restrict service,
                const struct addrinfo *restrict hints, struct addrinfo **restrict out)
{
  (void)service;
  (void)hints;
  (void)out;
  atomic_fetch_add(&lookups, 1);
  if (node != NULL && strcmp(node, "unknown.test") == 0) {
    return EAI_NONAME;
  }
  for (;;) {
    (void)pause(); /* in libcurl's resolver thread; ends with the process */
  }
}

struct outcome {
  struct sip_err err;
  bool done;
};

static void on_notify(struct sip_http_call *call, void *arg)
{
  struct outcome *outcome = arg;

  outcome->done = sip_http_call_is_done(call, &outcome->err);
}

static struct sip_http_call *start(struct sip_multi *multi, const char *url, uint64_t timeout_ms,
                                   struct outcome *outcome)
{
  struct sip_http_request request = { 0 };
  struct sip_http_call *call = NULL;

  memset(outcome, 0, sizeof *outcome);
  request.method = (struct sip_slice){ "GET", 3 };
  request.url = (struct sip_slice){ url, strlen(url) };
  request.transfer.timeout_ms = timeout_ms;
  request.transfer.connect_timeout_ms = timeout_ms;
  request.max_body_bytes = 1000;
  CHECK_INT(sip_http_call_start(&call, multi, &request, on_notify, outcome, NULL), 0);
  return call;
}

static void turn_until(uv_loop_t *loop, int wanted)
{
  while (atomic_load(&lookups) < wanted) {
    (void)uv_run(loop, UV_RUN_NOWAIT);
  }
}

int main(void)
{
  struct sip_multi *multi = NULL;
  struct sip_http_call *call;
  struct outcome outcome;
  uint64_t before;
  uv_loop_t loop;

  (void)unsetenv("http_proxy"); /* a proxy would do the lookup */
  (void)unsetenv("all_proxy");
  CHECK_INT(uv_loop_init(&loop), 0);
  CHECK_INT(sip_multi_new(&multi, &loop, NULL), 0);
  before = uv_hrtime() / 1000000;

  call = start(multi, "http://unknown.test/", 5000, &outcome);
  while (!outcome.done) {
    (void)uv_run(&loop, UV_RUN_ONCE);
  }
  CHECK_STR(outcome.err.name, "EDNS");
  CHECK_HAS(outcome.err.message, "http GET http://unknown.test:80: the host name is not known");
  sip_http_call_free(call);

  call = start(multi, "http://hangs.test/", 100, &outcome);
  while (!outcome.done) {
    (void)uv_run(&loop, UV_RUN_ONCE);
  }
  CHECK_STR(outcome.err.name, "ETIMEDOUT");
  CHECK_HAS(outcome.err.message, "looking up the host");
  sip_http_call_free(call);

  call = start(multi, "http://hangs-too.test/", 60000, &outcome);
  turn_until(&loop, 3);
  sip_http_call_free(
    call); /* would join the thread, and wait for ever, without CURLOPT_QUICK_EXIT */

  call = start(multi, "http://hangs-still.test/", 60000, &outcome);
  turn_until(&loop, 4);
  sip_multi_close(multi);
  CHECK_INT(outcome.err.code, UV_ECANCELED);
  sip_http_call_free(call);
  CHECK(uv_hrtime() / 1000000 - before < 10000);
  SIP_TEST_END(&loop);
  return 0;
}
