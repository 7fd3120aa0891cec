/* alloc_test.c - HTTP client and mail when libcurl runs out of memory: the n-th of its allocations
 * fails, n = 1, 2, …, until the whole scenario passes. Each round ends in a clean error, and leaves
 * no handle and no thread. */
#include "http/client.h"
#include "http/multi.h"
#include "http/server.h"
#include "http/smtp.h"
#include "support/process.h"
#include "support/test.h"

#include <curl/curl.h>
#include <stdatomic.h>

static uv_loop_t loop;
static atomic_long countdown; /* allocations until one fails; 0 and below: none does */

static bool fails_now(void)
{
  return atomic_load(&countdown) > 0 && atomic_fetch_sub(&countdown, 1) == 1;
}

static void *fault_malloc(size_t size)
{
  return fails_now() ? NULL : malloc(size);
}

static void *fault_realloc(void *block, size_t size)
{
  return fails_now() ? NULL : realloc(block, size);
}

static char *fault_strdup(const char *text)
{
  return fails_now() ? NULL : strdup(text);
}

static void *fault_calloc(size_t count, size_t size)
{
  return fails_now() ? NULL : calloc(count, size);
}

static void on_request(struct sip_exchange *exchange, void *arg)
{
  struct sip_slice body = { "hello", 5 };

  (void)arg;
  CHECK_INT(sip_exchange_respond(exchange, 200, NULL, 0, &body, NULL), 0);
  sip_exchange_release(exchange);
}

static void on_notify(struct sip_http_call *call, void *arg)
{
  (void)call;
  (void)arg;
}

/* One request on an engine of its own. @return 0 or the code it ended with */
static int request(const char *url)
{
  struct sip_header header = { { "x-a", 3 }, { "b", 1 } };
  struct sip_http_request options = { 0 };
  struct sip_http_call *call = NULL;
  struct sip_multi *multi = NULL;
  struct sip_err err = { 0 };
  int rc = sip_multi_new(&multi, &loop, &err);

  if (rc < 0) {
    CHECK(err.message[0] != '\0');
    return rc;
  }
  options.method = (struct sip_slice){ "POST", 4 };
  options.url = (struct sip_slice){ url, strlen(url) };
  options.body = (struct sip_slice){ "body", 4 };
  options.headers = &header;
  options.header_count = 1;
  options.transfer.timeout_ms = 5000;
  options.transfer.connect_timeout_ms = 5000;
  options.max_body_bytes = 1000;
  rc = sip_http_call_start(&call, multi, &options, on_notify, NULL, &err);
  while (rc == 0 && !sip_http_call_is_done(call, &err)) {
    (void)uv_run(&loop, UV_RUN_ONCE);
  }
  if (rc == 0 && err.code == 0) {
    CHECK_INT(sip_http_call_status(call), 200);
    CHECK_INT(sip_http_call_body(call).len, 5);
  }
  CHECK(err.code == 0 || err.message[0] != '\0');
  sip_http_call_free(call);
  sip_multi_close(multi);
  return err.code;
}

struct mailed {
  struct sip_err err;
  bool done;
};

static void on_mailed(struct sip_smtp_job *job, const struct sip_err *err, void *arg)
{
  struct mailed *mailed = arg;

  (void)job;
  mailed->err = *err;
  mailed->done = true;
}

static int mail(const char *url)
{
  struct sip_slice to[] = { { "ada@x.test", 10 }, { "unknown@x.test", 14 } };
  struct sip_buf message = SIP_BUF_INIT;
  struct sip_smtp_request options = { 0 };
  struct sip_smtp_job *job = NULL;
  struct mailed mailed = { 0 };
  struct sip_smtp *smtp = NULL;
  int rc = sip_smtp_new(&smtp, &loop, &mailed.err);

  if (rc < 0) {
    return rc;
  }
  CHECK_INT(sip_buf_adds(&message, "Subject: x\r\n\r\nHi.\r\n"), 0);
  options.url = (struct sip_slice){ url, strlen(url) };
  options.from = (struct sip_slice){ "a@b.test", 8 };
  options.to = to;
  options.to_count = 2;
  options.message = &message;
  options.transfer.timeout_ms = 5000;
  options.transfer.connect_timeout_ms = 5000;
  rc = sip_smtp_send(&job, smtp, &options, on_mailed, &mailed, &mailed.err);
  while (rc == 0 && !mailed.done) {
    (void)uv_run(&loop, UV_RUN_ONCE);
  }
  CHECK(mailed.err.code == 0 || mailed.err.message[0] != '\0');
  sip_smtp_job_free(job);
  sip_smtp_close(smtp);
  return mailed.err.code;
}

/* @return how many allocations the scenario makes until it passes */
static long sweep(int (*scenario)(const char *url), const char *url)
{
  long n = 0, failures = 0;
  bool failed = true;

  while (failed) {
    atomic_store(&countdown, ++n);
    failures += scenario(url) < 0;
    failed = atomic_load(&countdown) <= 0;
    atomic_store(&countdown, 0);
    CHECK(n < 20000);
  }
  CHECK_INT(scenario(url), 0);
  CHECK(failures > 10);
  return n;
}

int main(void)
{
  struct sip_server_options options;
  struct sip_server *server = NULL;
  struct sip_process smtp;
  char url[100];

  (void)signal(SIGPIPE, SIG_IGN);
  CHECK_INT(curl_global_init_mem(CURL_GLOBAL_DEFAULT, fault_malloc, free, fault_realloc,
                                 fault_strdup, fault_calloc),
            CURLE_OK);
  sip_process_start(&smtp, __FILE__, "fake_smtp.py", NULL, NULL);
  CHECK_INT(uv_loop_init(&loop), 0);
  sip_server_options_init(&options);
  CHECK_INT(sip_server_start(&server, &loop, &options, on_request, NULL, NULL), 0);
  (void)snprintf(url, sizeof url, "http://%s/x", sip_server_address(server));
  (void)printf("http: %ld allocations\n", sweep(request, url));
  (void)snprintf(url, sizeof url, "smtp://127.0.0.1:%s", smtp.line);
  (void)printf("mail: %ld allocations\n", sweep(mail, url));
  sip_server_free(server);
  sip_process_stop(&smtp);
  (void)uv_run(&loop, UV_RUN_DEFAULT); /* the mail threads end */
  curl_global_cleanup();
  SIP_TEST_END(&loop);
  return 0;
}
