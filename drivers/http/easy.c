/* easy.c - the settings that every transfer of libcurl shares. Any thread; one owner. */
#include "http/easy.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>

static bool easy_configure(CURL *easy, const struct sip_easy_options *options, char *detail)
{
  bool given = options->ca_file != NULL || options->ca_dir != NULL;
  const char *file = given ? options->ca_file : getenv("SSL_CERT_FILE");
  const char *dir = given ? options->ca_dir : getenv("SSL_CERT_DIR");
  uint64_t timeout_ms = options->timeout_ms, connect_ms = options->connect_timeout_ms;

  assert(timeout_ms > 0 && connect_ms > 0); /* 0 would mean libcurl's own defaults */
  timeout_ms = timeout_ms > INT32_MAX ? INT32_MAX : timeout_ms; /* 24 days: what its timers hold */
  connect_ms = connect_ms > timeout_ms ? timeout_ms : connect_ms;
  return curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, detail) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L) ==
           CURLE_OK && /* removal joins no resolver */
         curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)timeout_ms) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)connect_ms) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2) == CURLE_OK &&
         (file == NULL || curl_easy_setopt(easy, CURLOPT_CAINFO, file) == CURLE_OK) &&
         (dir == NULL || curl_easy_setopt(easy, CURLOPT_CAPATH, dir) == CURLE_OK);
}

int sip_easy_new(CURL **out, const struct sip_easy_options *options, char *detail,
                 struct sip_err *err)
{
  CURL *easy = curl_easy_init();

  if (easy == NULL || !easy_configure(easy, options, detail)) {
    curl_easy_cleanup(easy); /* accepts NULL */
    return sip_err_set(err, UV_ENOMEM, "no memory for a transfer");
  }
  *out = easy;
  return 0;
}
