#ifndef SIP_HTTP_SMTP_H
#define SIP_HTTP_SMTP_H
/* smtp.h - brings ready messages (mime.h) to a mail server.
 *
 * libcurl's SMTP waits inside of one call for the reply to the end of a message (7.88, smtp_done)
 * and to QUIT, so it runs on up to four threads of its own, started when there is work; each keeps
 * its connection. Everything here is for the loop thread. */
#include "core/buf.h"
#include "core/err.h"
#include "http/easy.h"

#include <stddef.h>

struct sip_smtp;
struct sip_smtp_job;

/* Borrowed until sip_smtp_send returns, but for the message. */
struct sip_smtp_request {
  struct sip_slice
    url; /* smtp[s]://[user:password@]host[:port][?tls=none|required]; see docs/mail.md */
  struct sip_slice from; /* bare addresses, as sip_address_parse gives them */
  const struct sip_slice *to;
  size_t to_count;         /* 1 to 100 */
  struct sip_buf *message; /* lines end in CRLF; taken over, also on failure */
  struct sip_easy_options transfer;
};

/* One address that the server refused while it took the message for others. */
struct sip_smtp_refusal {
  const char *address;
  int status;       /* 4xx: may work later; 5xx: will not */
  const char *text; /* the server's line, printable ASCII */
};

/** How it ended: err->code 0 when the server took the message for at least one address. Names:
 * SMTP_TEMPORARY (4xx), SMTP_REFUSED (5xx), SMTP_AUTH (user or password refused), else see
 * curl_error.h. Not called after sip_smtp_job_free. */
typedef void (*sip_smtp_done_fn)(struct sip_smtp_job *job, const struct sip_err *err, void *arg);

/** An engine without a thread. @return 0 or a negative code */
int sip_smtp_new(struct sip_smtp **out, uv_loop_t *loop, struct sip_err *err);

/** Ends what waits and what runs with UV_ECANCELED, and frees the engine in later turns of the
 * loop, once its threads have ended: within a second. Accepts NULL. */
void sip_smtp_close(struct sip_smtp *smtp);

/** Queues one message. @return 0; UV_EINVAL (INVALID_URL, addresses); SIP_EQUEUEFULL with 1,000
 * waiting; SIP_ECLOSED */
int sip_smtp_send(struct sip_smtp_job **out, struct sip_smtp *smtp,
                  const struct sip_smtp_request *request, sip_smtp_done_fn on_done, void *arg,
                  struct sip_err *err);

/** Refused addresses of a job that is done; borrowed until the job is freed. */
size_t sip_smtp_job_refusals(const struct sip_smtp_job *job, const struct sip_smtp_refusal **out);

/** The starter has no more use for it: stops it if it waits or runs. Accepts NULL. */
void sip_smtp_job_free(struct sip_smtp_job *job);

#endif
