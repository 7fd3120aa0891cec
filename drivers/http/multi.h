#ifndef SIP_HTTP_MULTI_H
#define SIP_HTTP_MULTI_H
/* multi.h - libcurl's transfers on a libuv loop: one for each worker, shared by the HTTP client and
 * SMTP.
 *
 * Loop thread only. A transfer belongs to its starter and may be freed at any time outside of
 * libcurl's own callbacks; `on_done` is called exactly once for each transfer that was added and
 * not removed before. */
#include "core/err.h"
#include "core/list.h"
#include "http/easy.h"

#include <curl/curl.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct sip_multi;
struct sip_transfer;

/** `result` is CURLE_OK or why it ended. Nothing of libcurl runs below this call: new transfers may
 * be added and this one freed. UV_ECANCELED at the close of the engine is told as
 * CURLE_ABORTED_BY_CALLBACK with `canceled` set. */
typedef void (*sip_transfer_done_fn)(struct sip_transfer *transfer, CURLcode result);

/* Embedded in its owner's heap block. */
struct sip_transfer {
  CURL *easy;
  struct sip_multi *multi; /* borrowed while active, else NULL */
  struct sip_list link;    /* in the engine's list while active */
  sip_transfer_done_fn on_done;
  uint64_t timeout_ms;
  uint64_t deadline_ms;         /* of the loop's clock */
  bool canceled;                /* the engine was closed */
  char detail[CURL_ERROR_SIZE]; /* libcurl's own words about a failure */
};

/** An engine without transfers; costs no thread. @return 0 or a negative code */
int sip_multi_new(struct sip_multi **out, uv_loop_t *loop, struct sip_err *err);

/** Ends every transfer as canceled and frees the engine in the loop's next turns. Accepts NULL. */
void sip_multi_close(struct sip_multi *multi);

/** Makes the easy handle of a zeroed transfer. @return 0 or UV_ENOMEM */
int sip_transfer_init(struct sip_transfer *transfer, const struct sip_easy_options *options,
                      struct sip_err *err);

/** Starts it; the first call of `on_done` is from a later turn of the loop.
 *  @return 0; SIP_EQUEUEFULL with 4,096 transfers running; SIP_ECLOSED after sip_multi_close;
 * UV_ENOMEM */
int sip_multi_add(struct sip_multi *multi, struct sip_transfer *transfer,
                  sip_transfer_done_fn on_done, struct sip_err *err);

/** Lets a paused transfer go on. What its write callback refuses now ends it: on_done is called
 * inside. */
void sip_transfer_resume(struct sip_transfer *transfer);

/** Stops it if it runs, without a call of `on_done`, and frees the easy handle. Harmless on a
 * zeroed transfer. */
void sip_transfer_deinit(struct sip_transfer *transfer);

#endif
