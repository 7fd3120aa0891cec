/* client_test.c - the HTTP client against a server that answers well and badly. */
#include "http/client.h"

#include "http/multi.h"
#include "support/process.h"
#include "support/test.h"

static struct sip_process server;
static struct sip_multi *multi;
static uv_loop_t loop;

struct outcome {
  struct sip_http_call *call;
  struct sip_err err;
  struct sip_buf taken;
  int notified;
  bool done;
};

static void on_notify(struct sip_http_call *call, void *arg)
{
  struct outcome *outcome = arg;

  outcome->notified++;
  outcome->done = sip_http_call_is_done(call, &outcome->err);
}

static void never_notified(struct sip_http_call *call, void *arg)
{
  (void)call;
  (void)arg;
  SIP_TEST_FAIL("a call that was freed or canceled notifies");
}

static struct sip_slice text(const char *s)
{
  return (struct sip_slice){ s, strlen(s) };
}

static struct sip_http_request request_to(const char *path)
{
  static char urls[4][512]; /* the last four that were asked for stay valid */
  static int next;
  char *url = urls[next++ % 4];
  struct sip_http_request request = { 0 };

  (void)snprintf(url, sizeof urls[0], "http://user:secret@127.0.0.1:%s%s", server.line, path);
  request.method = text("GET");
  request.url = text(url);
  request.transfer.timeout_ms = 5000;
  request.transfer.connect_timeout_ms = 2000;
  request.max_body_bytes = 1 << 20;
  return request;
}

static void start(struct outcome *outcome, const struct sip_http_request *request)
{
  struct sip_err err = { 0 };

  memset(outcome, 0, sizeof *outcome);
  if (sip_http_call_start(&outcome->call, multi, request, on_notify, outcome, &err) < 0) {
    SIP_TEST_FAIL("start: %s", err.message);
  }
}

static void await(struct outcome *outcome)
{
  while (!outcome->done) {
    (void)uv_run(&loop, UV_RUN_ONCE);
  }
}

static void run(struct outcome *outcome, const char *path)
{
  struct sip_http_request request = request_to(path);

  start(outcome, &request);
  await(outcome);
}

static void finish(struct outcome *outcome)
{
  sip_http_call_free(outcome->call);
  sip_buf_deinit(&outcome->taken);
}

static const char *body_of(struct outcome *outcome)
{
  struct sip_slice body = sip_http_call_body(outcome->call);

  return body.data == NULL ? "" : body.data;
}

static void expect_failure(const char *path, uint64_t timeout_ms, const char *name)
{
  struct sip_http_request request = request_to(path);
  struct outcome outcome;

  request.transfer.timeout_ms = timeout_ms;
  start(&outcome, &request);
  await(&outcome);
  if (strcmp(outcome.err.name, name) != 0) {
    SIP_TEST_FAIL("%s gives %s (%s), expected %s", path, outcome.err.name, outcome.err.message,
                  name);
  }
  CHECK_HAS(outcome.err.message, "http GET http://127.0.0.1:");
  CHECK(strstr(outcome.err.message, path) == NULL);
  CHECK(strstr(outcome.err.message, "secret") == NULL);
  finish(&outcome);
}

/* Runs first: over the one connection that is kept. */
static void a_post_is_not_sent_again_when_a_kept_connection_ends(void)
{
  static const struct {
    const char *method;
    int times;
  } cases[] = { { "POST", 1 }, { "PATCH", 1 }, { "GET", 2 } };

  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct sip_http_request request = request_to("/close");
    struct outcome outcome;
    int before;

    run(&outcome, "/closed");
    before = atoi(body_of(&outcome));
    finish(&outcome);
    request.method = text(cases[i].method);
    start(&outcome, &request);
    await(&outcome);
    CHECK(strcmp(outcome.err.name, "ECONNRESET") == 0);
    CHECK_HAS(outcome.err.message, "closed without an answer");
    finish(&outcome);
    run(&outcome, "/closed");
    CHECK_INT(atoi(body_of(&outcome)) - before, cases[i].times);
    finish(&outcome);
  }
}

static void answers_of_every_status_are_successes(void)
{
  static const int statuses[] = { 200, 204, 301, 401, 404, 429, 500, 503 };
  struct sip_slice value;
  struct outcome outcome;
  char path[32];

  for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
    (void)snprintf(path, sizeof path, "/status/%d", statuses[i]);
    run(&outcome, path);
    CHECK_INT(outcome.err.code, 0);
    CHECK_INT(sip_http_call_status(outcome.call), statuses[i]);
    CHECK(sip_header_list_find(sip_http_call_headers(outcome.call), "retry-after", &value));
    CHECK_INT(value.len, 1);
    finish(&outcome);
  }
}

static void requests_arrive_as_given(void)
{
  struct sip_header headers[] = { { text("X-One"), text("1") }, { text("X-Empty"), text("") } };
  struct sip_http_request request = request_to("/echo?q=1");
  struct sip_slice value;
  struct outcome outcome;

  request.method = text("PATCH");
  request.headers = headers;
  request.header_count = 2;
  request.body = text("payload");
  start(&outcome, &request);
  await(&outcome);
  CHECK_INT(outcome.err.code, 0);
  CHECK_HAS(body_of(&outcome), "\"method\": \"PATCH\"");
  CHECK_HAS(body_of(&outcome), "\"path\": \"/echo?q=1\"");
  CHECK_HAS(body_of(&outcome), "[\"X-One\", \"1\"]");
  CHECK_HAS(body_of(&outcome), "[\"X-Empty\", \"\"]");
  CHECK_HAS(body_of(&outcome), "[\"User-Agent\", \"sipeat/");
  CHECK_HAS(body_of(&outcome), "[\"Content-Length\", \"7\"]");
  CHECK_HAS(body_of(&outcome), "\"body\": \"payload\"");
  CHECK(strstr(body_of(&outcome), "Expect") == NULL);
  CHECK(strstr(body_of(&outcome), "Content-Type") == NULL);
  CHECK(sip_header_list_find(sip_http_call_headers(outcome.call), "x-mixed-case", &value));
  CHECK_INT(value.len, strlen("spaced"));
  finish(&outcome);
}

static void methods_have_the_body_they_should(void)
{
  struct sip_http_request request = request_to("/echo");
  struct outcome outcome;

  request.method = text("POST"); /* no body: still a length of 0 */
  start(&outcome, &request);
  await(&outcome);
  CHECK_HAS(body_of(&outcome), "[\"Content-Length\", \"0\"]");
  finish(&outcome);
  request.method = text("HEAD");
  start(&outcome, &request);
  await(&outcome);
  CHECK_INT(outcome.err.code, 0);
  CHECK_INT(sip_http_call_body(outcome.call).len, 0);
  finish(&outcome);
  request.method = text("DELETE");
  start(&outcome, &request);
  await(&outcome);
  CHECK_HAS(body_of(&outcome), "\"method\": \"DELETE\"");
  finish(&outcome);
}

static void failures_have_stable_names(void)
{
  expect_failure("/hang", 200, "ETIMEDOUT");
  expect_failure("/hang-head", 200, "ETIMEDOUT");
  expect_failure("/hang-body", 200, "ETIMEDOUT");
  expect_failure("/slow-head", 200, "ETIMEDOUT");
  expect_failure("/close", 5000, "ECONNRESET");
  expect_failure("/close-head", 5000, "ECONNRESET");
  expect_failure("/close-body", 5000, "ECONNRESET");
  expect_failure("/garbage", 5000, "BAD_RESPONSE");
  expect_failure("/bad-chunk", 5000, "ECONNRESET");
  expect_failure("/bad-gzip", 5000, "BAD_RESPONSE");
  expect_failure("/bytes/10000000", 5000, "TOO_BIG");
  expect_failure("/bomb", 5000, "TOO_BIG");
  expect_failure("/endless-head", 5000, "TOO_BIG");
  expect_failure("/big-head/1000", 5000, "TOO_BIG");
}

static void nobody_listening_is_refused(void)
{
  struct sip_http_request request = request_to("/");
  struct outcome outcome;

  request.url = text("http://127.0.0.1:1/hook/token");
  start(&outcome, &request);
  await(&outcome);
  CHECK_STR(outcome.err.name, "ECONNREFUSED");
  CHECK_STR(outcome.err.message,
            "http GET http://127.0.0.1:1: connection refused (is it running there?)");
  finish(&outcome);
}

static void bad_requests_are_refused_before_they_start(void)
{
  static const struct {
    const char *url, *name;
  } urls[] = { { "", "INVALID_URL" },
               { "discord.com/api", "INVALID_URL" },
               { "file:///etc/passwd", "INVALID_URL" },
               { "gopher://127.0.0.1/", "INVALID_URL" },
               { "http://:80/", "INVALID_URL" },
               { "http://host:99999/", "INVALID_URL" },
               { "http://host/a b", "INVALID_URL" },
               { "http://host/a\r\nX: y", "INVALID_URL" } };
  static const struct sip_header headers[] = {
    { { "X-A", 3 }, { "a\r\nX-B: c", 9 } },
    { { "X-A", 3 }, { "a\nb", 3 } },
    { { "X-A", 3 }, { "a\0b", 3 } },
    { { "X A", 3 }, { "a", 1 } },
    { { "", 0 }, { "a", 1 } },
    { { "X:", 2 }, { "a", 1 } },
    { { "Content-Length", 14 }, { "3", 1 } },
  };
  struct sip_http_request request = request_to("/");
  struct sip_http_call *call = NULL;
  struct sip_err err;

  for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
    request.url = text(urls[i].url);
    CHECK(sip_http_call_start(&call, multi, &request, never_notified, NULL, &err) < 0);
    CHECK_STR(err.name, urls[i].name);
    CHECK(urls[i].url[0] == '\0' || strstr(err.message, urls[i].url) == NULL);
  }
  request = request_to("/");
  request.header_count = 1;
  for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++) {
    request.headers = &headers[i];
    CHECK_INT(sip_http_call_start(&call, multi, &request, never_notified, NULL, &err), UV_EINVAL);
  }
  request = request_to("/");
  request.method = text("GET /x HTTP/1.1\r\nX:");
  CHECK_INT(sip_http_call_start(&call, multi, &request, never_notified, NULL, &err), UV_EINVAL);
  CHECK(call == NULL);
}

static void redirects_are_followed_only_when_asked(void)
{
  struct sip_http_request request = request_to("/redirect/2");
  struct outcome outcome;

  run(&outcome, "/redirect/2");
  CHECK_INT(sip_http_call_status(outcome.call), 302);
  CHECK_STR(body_of(&outcome), "moved");
  finish(&outcome);
  request.redirects = 2;
  start(&outcome, &request);
  await(&outcome);
  CHECK_INT(sip_http_call_status(outcome.call), 200);
  CHECK_HAS(body_of(&outcome), "/redirect/0");
  finish(&outcome);
  request.redirects = 1;
  start(&outcome, &request);
  await(&outcome);
  CHECK_STR(outcome.err.name, "TOO_MANY_REDIRECTS");
  finish(&outcome);
  request = request_to("/redirect-to-file");
  request.redirects = 5;
  start(&outcome, &request);
  await(&outcome);
  CHECK(outcome.err.code < 0);
  finish(&outcome);
}

static void only_the_final_head_counts(void)
{
  struct sip_slice value;
  struct outcome outcome;

  run(&outcome, "/early-hints");
  CHECK_INT(sip_http_call_status(outcome.call), 200);
  CHECK(sip_header_list_find(sip_http_call_headers(outcome.call), "x-real", &value));
  CHECK(!sip_header_list_find(sip_http_call_headers(outcome.call), "link", &value));
  finish(&outcome);
  run(&outcome, "/trailers");
  CHECK_STR(body_of(&outcome), "ok");
  CHECK(!sip_header_list_find(sip_http_call_headers(outcome.call), "x-trailer", &value));
  finish(&outcome);
  run(&outcome, "/gzip");
  CHECK_INT(sip_http_call_body(outcome.call).len, 900);
  finish(&outcome);
}

static void a_streamed_body_waits_for_its_reader(void)
{
  static const size_t total = 32 << 20;
  struct sip_http_request request = request_to("/bytes/33554432");
  struct outcome outcome;
  size_t received = 0, largest = 0;

  request.stream = true;
  request.max_body_bytes = UINT64_MAX;
  start(&outcome, &request);
  while (!sip_http_call_has_head(outcome.call)) {
    (void)uv_run(&loop, UV_RUN_ONCE);
  }
  for (int turn = 0; turn < 200; turn++) { /* nobody reads: it must not pile up */
    (void)uv_run(&loop, UV_RUN_NOWAIT);
  }
  CHECK(sip_http_call_body(outcome.call).len < 512 * 1024);
  while (!outcome.done || sip_http_call_body(outcome.call).len > 0) {
    if (sip_http_call_body(outcome.call).len == 0) {
      (void)uv_run(&loop, UV_RUN_ONCE);
      continue;
    }
    sip_http_call_take(outcome.call, &outcome.taken);
    received += outcome.taken.len;
    largest = outcome.taken.len > largest ? outcome.taken.len : largest;
  }
  CHECK_INT(outcome.err.code, 0);
  CHECK_INT(received, total);
  CHECK(largest < 512 * 1024);
  finish(&outcome);
  request.max_body_bytes = 1 << 20; /* the cap holds for streams, also while one is paused */
  start(&outcome, &request);
  while (!outcome.done) {
    (void)uv_run(&loop, UV_RUN_ONCE);
    sip_http_call_take(outcome.call, &outcome.taken);
  }
  CHECK_STR(outcome.err.name, "TOO_BIG");
  finish(&outcome);
}

static void connections_are_kept_and_limited(void)
{
  enum { CALLS = 200 };
  static struct outcome outcomes[CALLS];
  struct sip_http_request request;
  struct outcome outcome;
  int before, after;

  run(&outcome, "/count");
  before = atoi(body_of(&outcome));
  finish(&outcome);
  for (int i = 0; i < 20; i++) {
    run(&outcome, "/status/200");
    finish(&outcome);
  }
  run(&outcome, "/count");
  CHECK_INT(atoi(body_of(&outcome)), before);
  finish(&outcome);
  request = request_to("/slow/5");
  for (int i = 0; i < CALLS; i++) {
    start(&outcomes[i], &request);
  }
  for (int i = 0; i < CALLS; i++) {
    await(&outcomes[i]);
    CHECK_INT(outcomes[i].err.code, 0);
    CHECK_INT(sip_http_call_body(outcomes[i].call).len, 30);
    finish(&outcomes[i]);
  }
  run(&outcome, "/count");
  after = atoi(body_of(&outcome));
  CHECK(after - before <= 64);
  finish(&outcome);
}

static void waiting_for_a_connection_times_out_too(void)
{
  enum { CALLS = 70 }; /* more than may be open to one host */
  static struct outcome outcomes[CALLS];
  struct sip_http_request request = request_to("/hang");
  uint64_t before = uv_now(&loop);

  request.transfer.timeout_ms = 20000;
  for (int i = 0; i < CALLS; i++) {
    request.transfer.timeout_ms = i < 64 ? 20000 : 200;
    start(&outcomes[i], &request);
  }
  for (int i = 64; i < CALLS; i++) {
    await(&outcomes[i]);
    CHECK_STR(outcomes[i].err.name, "ETIMEDOUT");
  }
  CHECK(uv_now(&loop) - before < 5000);
  for (int i = 0; i < CALLS; i++) {
    finish(&outcomes[i]);
  }
}

static void a_freed_call_says_nothing_more(void)
{
  struct sip_http_request request = request_to("/slow/20");
  struct sip_http_call *call = NULL;
  struct outcome outcome;

  for (int turns = 0; turns < 30; turns++) {
    CHECK_INT(sip_http_call_start(&call, multi, &request, on_notify, &outcome, NULL), 0);
    for (int turn = 0; turn < turns; turn++) {
      (void)uv_run(&loop, UV_RUN_NOWAIT);
    }
    sip_http_call_free(call);
  }
  sip_http_call_free(NULL);
}

static void closing_the_engine_cancels_what_runs(void)
{
  struct sip_http_request request = request_to("/hang");
  struct sip_err err = { 0 };
  struct sip_http_call *late = NULL;
  struct outcome outcome;

  start(&outcome, &request);
  for (int i = 0; i < 5; i++) {
    (void)uv_run(&loop, UV_RUN_NOWAIT);
  }
  sip_multi_close(multi);
  CHECK(outcome.done);
  CHECK_INT(outcome.notified, 1);
  CHECK_INT(outcome.err.code, UV_ECANCELED);
  CHECK_INT(sip_http_call_start(&late, multi, &request, never_notified, NULL, &err), SIP_ECLOSED);
  finish(&outcome); /* after the engine: allowed */
}

int main(void)
{
  struct sip_err err = { 0 };

  (void)signal(SIGPIPE, SIG_IGN);
  sip_process_start(&server, __FILE__, "bad_http.py", NULL, NULL);
  CHECK_INT(uv_loop_init(&loop), 0);
  CHECK_INT(sip_multi_new(&multi, &loop, &err), 0);
  a_post_is_not_sent_again_when_a_kept_connection_ends();
  answers_of_every_status_are_successes();
  requests_arrive_as_given();
  methods_have_the_body_they_should();
  failures_have_stable_names();
  nobody_listening_is_refused();
  bad_requests_are_refused_before_they_start();
  redirects_are_followed_only_when_asked();
  only_the_final_head_counts();
  a_streamed_body_waits_for_its_reader();
  connections_are_kept_and_limited();
  waiting_for_a_connection_times_out_too();
  a_freed_call_says_nothing_more();
  closing_the_engine_cancels_what_runs();
  sip_process_stop(&server);
  SIP_TEST_END(&loop);
  return 0;
}
