/* client_tls_test.c - a certificate that nobody signed is refused, and accepted when its own CA
 * file is given. */
#include "http/client.h"
#include "http/multi.h"
#include "support/process.h"
#include "support/test.h"

static void on_notify(struct sip_http_call *call, void *arg)
{
  if (sip_http_call_is_done(call, NULL)) {
    ++*(int *)arg;
  }
}

static void run(uv_loop_t *loop, struct sip_multi *multi, const char *url, const char *ca_file,
                struct sip_err *err)
{
  struct sip_http_request request = { 0 };
  struct sip_http_call *call = NULL;
  int ended = 0;

  request.method = (struct sip_slice){ "GET", 3 };
  request.url = (struct sip_slice){ url, strlen(url) };
  request.transfer.timeout_ms = 10000;
  request.transfer.connect_timeout_ms = 10000;
  request.max_body_bytes = 1 << 20;
  request.transfer.ca_file = ca_file;
  CHECK_INT(sip_http_call_start(&call, multi, &request, on_notify, &ended, err), 0);
  while (ended == 0) {
    (void)uv_run(loop, UV_RUN_ONCE);
  }
  (void)sip_http_call_is_done(call, err);
  sip_http_call_free(call);
}

int main(void)
{
  struct sip_multi *multi = NULL;
  struct sip_process server;
  struct sip_err err = { 0 };
  char url[64], other[64], *cert;
  uv_loop_t loop;

  (void)signal(SIGPIPE, SIG_IGN);
  (void)unsetenv("SSL_CERT_FILE");
  (void)unsetenv("SSL_CERT_DIR");
  sip_process_start(&server, __FILE__, "bad_http.py", "tls", NULL);
  cert = strchr(server.line, ' ');
  CHECK(cert != NULL);
  *cert++ = '\0';
  (void)snprintf(url, sizeof url, "https://localhost:%s/echo?token=hidden", server.line);
  (void)snprintf(other, sizeof other, "https://127.0.0.1:%s/echo", server.line);
  CHECK_INT(uv_loop_init(&loop), 0);
  CHECK_INT(sip_multi_new(&multi, &loop, &err), 0);

  run(&loop, multi, url, NULL, &err);
  CHECK_STR(err.name, "ETLS");
  CHECK_HAS(err.message, "http GET https://localhost:");
  CHECK_HAS(err.message, "certificate");
  CHECK(strstr(err.message, "hidden") == NULL);
  run(&loop, multi, url, cert, &err);
  CHECK_INT(err.code, 0);
  run(&loop, multi, other, cert, &err); /* trusted, but made out to another name */
  CHECK_STR(err.name, "ETLS");
  run(&loop, multi, url, "/nowhere/ca.pem", &err);
  CHECK_STR(err.name, "ETLS");
  CHECK_INT(setenv("SSL_CERT_FILE", cert, 1), 0);
  run(&loop, multi, url, NULL, &err);
  CHECK_INT(err.code, 0);

  sip_multi_close(multi);
  sip_process_stop(&server);
  SIP_TEST_END(&loop);
  return 0;
}
