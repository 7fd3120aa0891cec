#ifndef SIP_CLI_HOST_STATE_H
#define SIP_CLI_HOST_STATE_H
/* host_state.h - what the files of the host share; nobody else includes it. Main thread. */
#include "cli/host.h"
#include "cli/notify.h"
#include "cli/rendezvous.h"
#include "core/list.h"
#include "vm/script.h"
#include "vm/task.h"
#include "vm/vm.h"

#include <lua.h>
#include <uv.h>

struct sip_deaths;
struct sip_embedded_broker;
struct sip_journal_shared;
struct sip_kafka_settings;
struct sip_metrics;
struct sip_outbox;
struct sip_serial;
struct sip_tap;
struct sip_watch;
struct sip_workers;

enum sip_host_phase {
  SIP_HOST_STARTING, /* nothing runs yet */
  SIP_HOST_RUNNING,
  SIP_HOST_DRAINING, /* a signal came: what is in flight ends */
  SIP_HOST_STOPPED,  /* the main loop ends */
};

enum { SIP_HOST_SIGNALS = 3 };

/* A task that waits for the end of a reload; lives on its stack. */
struct sip_reload_wait {
  struct sip_wait wait;
  struct sip_list node; /* in host->reload_waits */
};

struct sip_host {
  const struct sip_host_options *options; /* borrowed: outlives the host */
  enum sip_host_phase phase;
  int exit_code;
  int signal_number;   /* the first SIGINT or SIGTERM, or 0 */
  uint64_t started_ms; /* loop time */

  uv_loop_t loop;
  bool loop_open, drain_timer_open, flushing;
  bool hurried; /* a second signal came */
  uv_signal_t signals[SIP_HOST_SIGNALS];
  size_t signal_count; /* initialised ones */
  uv_timer_t drain_timer;
  struct sip_notify notify; /* the service manager */
  struct sip_vm *vm;
  struct sip_kafka_settings *kafka;
  struct sip_metrics *metrics;        /* of the process */
  struct sip_tap *tap;                /* likewise */
  struct sip_serial *serial;          /* of the process */
  struct sip_outbox *outbox;          /* of the process; opened when a script wants it */
  struct sip_journal_shared *journal; /* of the process; likewise. NULL: there is none */
  struct sip_embedded_broker *embedded;
  struct sip_rendezvous *note;
  struct sip_workers *workers; /* the others; NULL: there are none */
  struct sip_deaths *deaths;   /* NULL: deaths are not looked for */
  struct sip_watch *watch;
  struct sip_script *script;
  struct sip_task *samples; /* borrowed: while it runs */
  char http[128];           /* where the server listens; "" when it does not */
  char console[128];        /* the path that signs in once, "" without */
  char scratch[64];         /* dev's temporary directory, "" without */

  /* reload.c */
  bool reloading, reload_again;
  bool reload_loaded;               /* here; the other workers may still load */
  struct sip_script *reload_script; /* owned: then; NULL when it did not load */
  struct sip_err reload_failed;     /* then */
  uint64_t reload_began_ns;
  uint64_t reloads, refused;    /* counters for /metrics */
  struct sip_err reload_error;  /* why the last one was refused; code 0 after a good one */
  struct sip_list reload_waits; /* for the one that runs */
  struct sip_list reload_next;  /* for the one after it */
};

/** host.c: begins to drain, as a signal does. */
void sip_host_stop(struct sip_host *host);

/** reload.c: loads the script for the first time, and applies it. Turns the loop.
 *  @return 0 or a negative code */
int sip_host_load(struct sip_host *host, struct sip_err *err);

/** reload.c: loads the script again beside the one that runs; one that was asked for meanwhile
 *  follows. What comes of it is logged. */
void sip_host_reload(struct sip_host *host);

/** reload.c: a worker has loaded it, or not: when all have, it takes over everywhere or nowhere. */
void sip_host_reload_settle(struct sip_host *host);

/** host_journal.c: names the journal of the process. @return 0 or a negative code */
int sip_host_journal_open(struct sip_host *host, struct sip_err *err);

/** host_journal.c: after the script was loaded and before it takes over: opens the journal if the
 *  script wants one, and takes up what was left in it. @return 0 or a negative code */
int sip_host_journal_recover(struct sip_host *host, struct sip_err *err);

/** host.c: gives the state of another worker what all of them have: outbox, serial thread, deaths.
 *  @return 0 or a negative code */
int sip_host_attach(const struct sip_host *host, struct sip_vm *vm, struct sip_deaths **deaths,
                    struct sip_err *err);

/** reload.c: tells the service manager that the program runs, and on which version. */
void sip_host_notify(struct sip_host *host);

/** reload.c: wakes who waits for a reload that will not end any more. */
void sip_host_reload_cancel(struct sip_host *host);

/** reload.c: sip_watch_fn of the script's files. */
void sip_host_on_saved(void *host);

/** host_dev.c: makes dev's temporary directory and sets what scripts find in the environment,
 *  unless it is set: the capture's endpoints. Before other threads start. */
int sip_host_dev_open(struct sip_host *host, struct sip_err *err);
void sip_host_dev_close(struct sip_host *host);

/** host_dev.c: where to look, and what to type next. */
void sip_host_dev_banner(const struct sip_host *host);

/** host_dev.c: the topic of the script's only flow; NULL when it has none, several, or a pattern.
 *  Borrowed until the next reload. */
const char *sip_host_dev_only_topic(const struct sip_host *host);

/** host_broker.c: names the broker, and starts the embedded one when there is none.
 *  @return 0 or a negative code */
int sip_host_broker_open(struct sip_host *host, struct sip_settings *settings, struct sip_err *err);
void sip_host_broker_close(struct sip_host *host);

/** host_lua.c: sipeat.core.host, for stdlib/service.lua. */
int sip_host_provide(struct sip_host *host, struct sip_err *err);

#endif
