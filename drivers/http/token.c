/* token.c - one POST to a token endpoint, over libcurl, waiting for its answer. */
#include "http/token.h"

#include "core/buf.h"
#include "http/easy.h"
#include "http/target.h"

#include <string.h>

enum { TOKEN_TIMEOUT_MS = 10000, TOKEN_LIMIT_BYTES = 64 << 10, STATUS_OK = 200 };

static size_t token_on_body(char *data, size_t one, size_t len, void *arg)
{
  struct sip_buf *body = arg;

  (void)one; /* always 1 */
  return body->len + len > TOKEN_LIMIT_BYTES || sip_buf_add(body, data, len) < 0 ? 0 : len;
}

static int token_form(CURL *easy, struct sip_buf *form, const char *scope)
{
  char *escaped = scope == NULL ? NULL : curl_easy_escape(easy, scope, 0);
  int rc = scope != NULL && escaped == NULL
             ? UV_ENOMEM
             : sip_buf_addf(form, "grant_type=client_credentials%s%s",
                            escaped == NULL ? "" : "&scope=", escaped == NULL ? "" : escaped);

  curl_free(escaped);
  return rc;
}

static bool token_configure(CURL *easy, const char *url, const char *id, const char *secret,
                            const char *form, struct sip_buf *body)
{
  return curl_easy_setopt(easy, CURLOPT_URL, url) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_USERNAME, id) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_PASSWORD, secret) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_COPYPOSTFIELDS, form) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_USERAGENT, "sipeat/" SIP_VERSION) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, token_on_body) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_WRITEDATA, body) == CURLE_OK;
}

static int token_perform(CURL *easy, const char *where, const char *detail, struct sip_err *err)
{
  CURLcode result = curl_easy_perform(easy);
  long status = 0;

  if (result != CURLE_OK) {
    return sip_err_set(err, UV_EIO, "token from %s: %s", where,
                       detail[0] == '\0' ? curl_easy_strerror(result) : detail);
  }
  (void)curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
  if (status != STATUS_OK) {
    return sip_err_set(err, UV_EACCES, "token from %s: refused with status %ld", where, status);
  }
  return 0;
}

int sip_http_token(const char *url, const char *id, const char *secret, const char *scope,
                   const char *ca_file, char **body, struct sip_err *err)
{
  const struct sip_easy_options options = { .timeout_ms = TOKEN_TIMEOUT_MS,
                                            .connect_timeout_ms = TOKEN_TIMEOUT_MS,
                                            .ca_file = ca_file };
  struct sip_buf form = SIP_BUF_INIT, answer = SIP_BUF_INIT;
  char detail[CURL_ERROR_SIZE] = "", where[300];
  CURL *easy = NULL;
  int rc = sip_target_place(&(struct sip_slice){ url, strlen(url) }, "http,https", where,
                            sizeof where, err);

  if (rc == 0) {
    rc = sip_easy_new(&easy, &options, detail, err);
  }
  if (rc == 0 && (token_form(easy, &form, scope) < 0 ||
                  !token_configure(easy, url, id, secret, form.data, &answer))) {
    rc = sip_err_set(err, UV_ENOMEM, "token from %s: out of memory", where);
  }
  if (rc == 0) {
    rc = token_perform(easy, where, detail, err);
  }
  if (rc == 0) {
    *body = answer.len == 0 ? strdup("") : strndup(answer.data, answer.len);
    rc = *body == NULL ? sip_err_set(err, UV_ENOMEM, "token: out of memory") : 0;
  }
  if (answer.data != NULL) {
    explicit_bzero(answer.data, answer.len);
  }
  sip_buf_deinit(&answer);
  sip_buf_deinit(&form);
  curl_easy_cleanup(easy); /* accepts NULL */
  return rc;
}
