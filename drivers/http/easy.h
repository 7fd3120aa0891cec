#ifndef SIP_HTTP_EASY_H
#define SIP_HTTP_EASY_H
/* easy.h - the settings that every transfer of libcurl shares, HTTP or mail. Any thread; one owner.
 */
#include "core/err.h"

#include <curl/curl.h>
#include <stdint.h>

struct sip_easy_options {
  uint64_t timeout_ms;         /* for all of it; above 0 */
  uint64_t connect_timeout_ms; /* name, TCP and TLS; above 0 */
  const char *ca_file; /* PEM; both NULL: SSL_CERT_FILE and SSL_CERT_DIR, else the system's */
  const char *ca_dir;
};

/** A handle without signals, that never waits for a resolver thread, with deadlines, and TLS
 * verified from 1.2 up. `detail` (CURL_ERROR_SIZE bytes, borrowed as long as the handle lives)
 * takes libcurl's words about a failure.
 *  @return 0 or UV_ENOMEM */
int sip_easy_new(CURL **out, const struct sip_easy_options *options, char *detail,
                 struct sip_err *err);

#endif
