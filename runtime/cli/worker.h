#ifndef SIP_CLI_WORKER_H
#define SIP_CLI_WORKER_H
/* worker.h - the other workers of `sipeat run --workers N`: threads with a loop, a Lua state,
 * consumers and a producer of their own. The main thread is the first worker.
 *
 * They share nothing but the settings and the outbox. The main thread asks, over a mutex and
 * a wake-up; a worker answers in the same way. All functions: main thread. */
#include "cli/host_state.h"
#include "flow/engine.h"

struct sip_workers;

/** Starts the others, `host->options->workers` less one, with the script of the host, which has
 *  loaded it. Turns the loop until all of them run. `on_change` is called on the main loop whenever
 *  one has answered. @return 0 or a negative code; `*out` is to be stopped and freed all the same
 */
int sip_workers_start(struct sip_workers **out, struct sip_host *host,
                      void (*on_change)(struct sip_host *host), struct sip_err *err);

/** Every one loads the script beside the one that runs. NULL is fine here and below. */
void sip_workers_load(struct sip_workers *workers);

/** Whether one still loads. */
bool sip_workers_loading(struct sip_workers *workers);

/** Once none loads: 0 when all of them have loaded `version`, or a negative code with the reason.
 */
int sip_workers_loaded(struct sip_workers *workers, const char *version, struct sip_err *err);

/** What they have loaded takes over, or is forgotten. */
void sip_workers_settle(struct sip_workers *workers, bool commit);

/** Each finishes what is in flight, for `limit_ms`, and ends. Called again, it shortens the limit.
 */
void sip_workers_stop(struct sip_workers *workers, uint64_t limit_ms);

/** Whether one has not ended. */
bool sip_workers_alive(struct sip_workers *workers);

/** 0, or a negative code with the error that ended one of them. */
int sip_workers_failed(struct sip_workers *workers, struct sip_err *err);

/** After all have ended. NULL is fine. */
void sip_workers_free(struct sip_workers *workers);

/* What a worker last said of itself; a fraction of a second old. */
enum { SIP_WORKER_FLOWS = 64 };
struct sip_worker_status {
  int index;
  bool connected;
  size_t memory_bytes, tasks, flow_count;
  struct sip_flow_status flows[SIP_WORKER_FLOWS];
  char groups[SIP_WORKER_FLOWS][256]; /* what the flows' `group` points at */
};

size_t sip_workers_count(const struct sip_workers *workers);

/** Copies what the n-th of them (from 0) said. */
void sip_workers_status(struct sip_workers *workers, size_t n, struct sip_worker_status *out);

#endif
