#ifndef SIP_HTTP_TARGET_H
#define SIP_HTTP_TARGET_H
/* target.h - where a transfer goes: a checked URL, and the part of it that may appear in a message.
 */
#include "core/base.h"
#include "core/err.h"

#include <curl/curl.h>
#include <stdbool.h>

struct sip_target {
  CURLU *url;     /* owned; for CURLOPT_CURLU or further questions */
  char text[300]; /* "scheme://host:port": no user, path or query */
  char host[256];
  bool loopback; /* localhost, 127.0.0.0/8 or ::1 */
};

/** Takes a URL apart. `schemes` is "http,https" or "smtp,smtps". The message of a failure holds
 * nothing of the URL.
 *  @return 0; UV_EINVAL named INVALID_URL; UV_ENOMEM */
int sip_target_init(struct sip_target *target, const struct sip_slice *url, const char *schemes,
                    struct sip_err *err);

/** "host:port" of a URL, lower case. @return as sip_target_init */
int sip_target_place(const struct sip_slice *url, const char *schemes, char *out, size_t size,
                     struct sip_err *err);

/** Harmless on a zeroed target. */
void sip_target_deinit(struct sip_target *target);

#endif
