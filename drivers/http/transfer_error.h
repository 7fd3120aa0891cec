#ifndef SIP_HTTP_TRANSFER_ERROR_H
#define SIP_HTTP_TRANSFER_ERROR_H
/* transfer_error.h - what libcurl's failures are called, and what to do about them. Any thread. */
#include "http/multi.h"

/** Fills `err` for a transfer that ended with `result`. `what` is the operation, such as "http
 * GET"; `target` where to, as in struct sip_target. Names: ECONNREFUSED, ECONNRESET, EHOSTUNREACH,
 * ENETUNREACH, ETIMEDOUT, EDNS, ETLS, ECANCELED, ENOMEM, TOO_MANY_REDIRECTS, BAD_RESPONSE,
 * INVALID_URL, and HTTP for the rest. @return its code */
int sip_transfer_error(const struct sip_transfer *transfer, CURLcode result, const char *what,
                       const char *target, struct sip_err *err);

#endif
