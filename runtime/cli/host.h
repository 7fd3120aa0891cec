#ifndef SIP_CLI_HOST_H
#define SIP_CLI_HOST_H
/* host.h - the running program behind `sipeat run` and `sipeat dev`: one struct that owns the loop
 * and everything on it, opens it in order and closes it in the reverse one.
 *
 * Opened: loop, signals, script engine, HTTP server, broker, script, flows, watch. Closed: watch,
 * flows (drained), notices (flushed), tasks, clients, script engine, loop, broker. Main thread. */
#include "cli/settings.h"

#include <stdbool.h>
#include <stdint.h>

struct sip_host_options {
  const char *name;   /* "sipeat run", for messages */
  const char *script; /* as typed */
  const char *http;   /* HOST:PORT, or "off" */
  struct sip_tls_settings tls;
  bool dev;          /* capture what would leave the machine; a taken port is no error */
  bool permissions;  /* only show what the script uses */
  bool embedded;     /* start a broker in this process when none is named */
  bool watch;        /* load the script again when it is saved */
  const char *state; /* directory for what is kept across restarts, or "off" */
  int64_t workers;   /* threads that handle events; the main one is the first */
  uint64_t memory_bytes, hard_limit_ms; /* of scripts: see struct sip_vm_options */
  uint64_t drain_ms;                    /* what a signal leaves for events in flight */
  const char *samples;                  /* JSON lines that are published again and again, or NULL */
  const char *outbox;  /* its file; NULL: SIPEAT_OUTBOX, the script, or the default decide */
  const char *journal; /* file, connection string or "none"; NULL: SIPEAT_JOURNAL or the default */
  uint64_t every_ms;   /* pause between two samples */
};

/** Runs until a signal. `settings` are loaded. @return an exit code, after what went wrong was
 * logged */
int sip_host_run(struct sip_settings *settings, const struct sip_host_options *options);

#endif
