#ifndef SIP_HTTP_TOKEN_H
#define SIP_HTTP_TOKEN_H
/* token.h - a token for a program, by OAuth 2 (RFC 6749 section 4.4). Blocks: any thread but a
 * loop's. */
#include "core/err.h"

/** Asks the endpoint with the client's id and secret; `scope` and `ca_file` may be NULL.
 *  @param body  the answer, JSON; freed by the caller
 *  @return 0, or a negative code; the message has neither the secret nor the answer */
int sip_http_token(const char *url, const char *id, const char *secret, const char *scope,
                   const char *ca_file, char **body, struct sip_err *err);

#endif
