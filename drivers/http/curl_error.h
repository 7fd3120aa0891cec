#ifndef SIP_HTTP_CURL_ERROR_H
#define SIP_HTTP_CURL_ERROR_H
/* curl_error.h - what libcurl's failures are called, and what to do about them. Any thread. */
#include "core/err.h"

#include <curl/curl.h>

/** Fills `err` for a transfer that ended with `result`; `detail` is what libcurl left in
 * CURLOPT_ERRORBUFFER. `what` is the operation, such as "http GET"; `target` where to, as in struct
 * sip_target. Names: ECONNREFUSED, ECONNRESET, EHOSTUNREACH, ENETUNREACH, ETIMEDOUT, EDNS, ETLS,
 * ENOMEM, TOO_MANY_REDIRECTS, BAD_RESPONSE, INVALID_URL, and HTTP for the rest. @return its code */
int sip_curl_error(CURL *easy, const char *detail, CURLcode result, const char *what,
                   const char *target, struct sip_err *err);

#endif
