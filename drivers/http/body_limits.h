#ifndef SIP_HTTP_BODY_LIMITS_H
#define SIP_HTTP_BODY_LIMITS_H
/* body_limits.h - how large a body may be, by route: known before the body is read. One owner. */
#include "core/base.h"

struct sip_body_limits;

/** An empty one. @return 0 or UV_ENOMEM */
int sip_body_limits_new(struct sip_body_limits **out);
void sip_body_limits_free(struct sip_body_limits *limits); /* accepts NULL */
void sip_body_limits_clear(struct sip_body_limits *limits);

/** `pattern` is a path of literal segments, ":name" for one, and "*" at its end for the rest. The
 *  first that matches counts. @return 0 or UV_ENOMEM */
int sip_body_limits_add(struct sip_body_limits *limits, const char *method, const char *pattern,
                        uint64_t max_bytes);

/** For a request as sent, with its query; percent-encodings are compared as they stand. @return
 *  `fallback` when no route says */
uint64_t sip_body_limits_find(const struct sip_body_limits *limits, const char *method,
                              const char *target, uint64_t fallback);

#endif
