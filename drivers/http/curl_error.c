/* curl_error.c - what libcurl's failures are called. Any thread.
 *
 * libcurl's own words are taken over for TLS only: elsewhere they may hold parts of the URL. */
#include "http/curl_error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct meaning {
  CURLcode result;
  int code;
  const char *name;
  const char *text;
};

static const struct meaning meanings[] = {
  { CURLE_COULDNT_RESOLVE_HOST, SIP_EHTTP, "EDNS",
    "the host name is not known (is it spelled right, does DNS work?)" },
  { CURLE_COULDNT_RESOLVE_PROXY, SIP_EHTTP, "EDNS",
    "the proxy's host name is not known (see HTTPS_PROXY and HTTP_PROXY)" },
  { CURLE_OUT_OF_MEMORY, UV_ENOMEM, "ENOMEM", "not enough memory" },
  { CURLE_TOO_MANY_REDIRECTS, SIP_EHTTP, "TOO_MANY_REDIRECTS",
    "more redirects than allowed (see the option redirects)" },
  { CURLE_GOT_NOTHING, UV_ECONNRESET, "ECONNRESET", "the server closed without an answer" },
  { CURLE_SEND_ERROR, UV_ECONNRESET, "ECONNRESET", "the connection broke while sending" },
  { CURLE_RECV_ERROR, UV_ECONNRESET, "ECONNRESET", "the connection broke while receiving" },
  { CURLE_PARTIAL_FILE, UV_ECONNRESET, "ECONNRESET",
    "the server closed in the middle of its answer" },
  { CURLE_UNSUPPORTED_PROTOCOL, SIP_EHTTP, "BAD_RESPONSE", "the answer is not HTTP" },
  { CURLE_WEIRD_SERVER_REPLY, SIP_EHTTP, "BAD_RESPONSE", "the answer makes no sense" },
  { CURLE_HTTP2, SIP_EHTTP, "BAD_RESPONSE", "the answer is not valid HTTP/2" },
  { CURLE_BAD_CONTENT_ENCODING, SIP_EHTTP, "BAD_RESPONSE",
    "the body does not decompress as its content-encoding says" },
  { CURLE_URL_MALFORMAT, UV_EINVAL, "INVALID_URL", "the URL is not usable" },
  { CURLE_SSL_CONNECT_ERROR, SIP_EHTTP, "ETLS", "no TLS connection" },
  { CURLE_PEER_FAILED_VERIFICATION, SIP_EHTTP, "ETLS", "the server's certificate is not trusted" },
  { CURLE_SSL_CERTPROBLEM, SIP_EHTTP, "ETLS", "the client certificate is not usable" },
  { CURLE_SSL_CIPHER, SIP_EHTTP, "ETLS", "no common TLS cipher" },
  { CURLE_SSL_CACERT_BADFILE, SIP_EHTTP, "ETLS",
    "the CA file cannot be read (see ca_file and SSL_CERT_FILE)" },
  { CURLE_SSL_ISSUER_ERROR, SIP_EHTTP, "ETLS", "the certificate's issuer is not trusted" },
  { CURLE_SSL_INVALIDCERTSTATUS, SIP_EHTTP, "ETLS", "the server's certificate is revoked" },
  { CURLE_USE_SSL_FAILED, SIP_EHTTP, "ETLS", "the server offers no TLS" },
};

static const struct meaning *meaning_of(CURLcode result)
{
  static const struct meaning other = { CURLE_OK, SIP_EHTTP, "HTTP", NULL };

  for (size_t i = 0; i < sizeof meanings / sizeof meanings[0]; i++) {
    if (meanings[i].result == result) {
      return &meanings[i];
    }
  }
  return &other;
}

static int refused(CURL *easy, const char *what, const char *target, struct sip_err *err)
{
  long os_error = 0;

  (void)curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &os_error);
  if (os_error == 0 || os_error == EINPROGRESS || os_error == ECONNREFUSED) {
    return sip_err_set(err, UV_ECONNREFUSED, "%s %s: connection refused (is it running there?)",
                       what, target);
  }
  return sip_err_errno(err, (int)os_error, "%s %s", what, target);
}

static int timed_out(CURL *easy, const char *what, const char *target, struct sip_err *err)
{
  curl_off_t name = 0, connect = 0, first = 0;
  const char *stage = "receiving the answer";
  long port = 0; /* of the connection, also of one that was kept: its times are all 0 */

  (void)curl_easy_getinfo(easy, CURLINFO_NAMELOOKUP_TIME_T, &name);
  (void)curl_easy_getinfo(easy, CURLINFO_CONNECT_TIME_T, &connect);
  (void)curl_easy_getinfo(easy, CURLINFO_STARTTRANSFER_TIME_T, &first);
  (void)curl_easy_getinfo(easy, CURLINFO_PRIMARY_PORT, &port);
  if (first == 0) {
    stage = connect > 0 || port > 0 ? "waiting for the answer"
            : name > 0              ? "connecting"
                                    : "looking up the host, or waiting for a free connection";
  }
  return sip_err_set(err, UV_ETIMEDOUT, "%s %s: timed out while %s", what, target, stage);
}

int sip_curl_error(CURL *easy, const char *detail, CURLcode result, const char *what,
                   const char *target, struct sip_err *err)
{
  const struct meaning *meaning = meaning_of(result);

  if (result == CURLE_COULDNT_CONNECT) {
    return refused(easy, what, target, err);
  }
  if (result == CURLE_OPERATION_TIMEDOUT) {
    return timed_out(easy, what, target, err);
  }
  if (strcmp(meaning->name, "ETLS") == 0 && detail[0] != '\0') {
    return sip_err_named(err, meaning->code, meaning->name, "%s %s: %s: %.200s", what, target,
                         meaning->text, detail);
  }
  return sip_err_named(err, meaning->code, meaning->name, "%s %s: %s", what, target,
                       meaning->text == NULL ? curl_easy_strerror(result) : meaning->text);
}
