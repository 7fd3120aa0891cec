#ifndef SIP_MODULES_H
#define SIP_MODULES_H
/* modules.h - which modules this program has: the one place, beside cli/, that names concrete
 * drivers. Loop thread. */
#include "core/err.h"

#include <stdbool.h>
#include <stdint.h>

struct sip_deaths;
struct sip_journal_shared;
struct sip_kafka_settings;
struct sip_memory_log;
struct sip_outbox;
struct sip_metrics;
struct sip_serial;
struct sip_tap;
struct sip_vm;

/** Provides every module to the state. @return 0 or a negative code */
int sip_modules_start(struct sip_vm *vm, struct sip_err *err);

/** The state counts for this process, with the metrics of other workers. Right after start.
 *  @return 0 or a negative code */
int sip_modules_count(struct sip_vm *vm, struct sip_metrics *metrics, struct sip_err *err);

/** Names the cluster, before the first client is made; `settings` are copied. Connects flow to
 * Kafka.
 *  @return 0 or a negative code */
int sip_modules_configure_kafka(struct sip_vm *vm, const struct sip_kafka_settings *settings,
                                struct sip_err *err);

/** Gives the state the process's outbox, which is borrowed until stop, after the cluster was named.
 * The first state of a process also takes its records to the broker. `path_is_fixed`: the script
 * does not choose the file.
 *  @return 0 or a negative code */
int sip_modules_configure_outbox(struct sip_vm *vm, struct sip_outbox *outbox, bool path_is_fixed,
                                 struct sip_err *err);

/** Gives the state the process's serial thread, which is counted. Without it, a thread of its own
 *  starts when a line is opened. @return 0 or a negative code */
int sip_modules_configure_serial(struct sip_vm *vm, struct sip_serial *serial, struct sip_err *err);

/** The journal of a process, not open yet: a file, or a PostgreSQL server's connection string.
 *  @return NULL for want of memory */
struct sip_journal_shared *sip_modules_journal(const char *place);

/** Before the first commit: what runs is noted in it. Borrowed until the state is freed. */
int sip_modules_set_deaths(struct sip_vm *vm, struct sip_deaths *deaths, struct sip_err *err);

/** Who is shown the attempts of the flows; borrowed until stop. @return 0 or a negative code */
int sip_modules_set_tap(struct sip_vm *vm, struct sip_tap *tap, struct sip_err *err);

/** Instead of sip_modules_start and a cluster, for tests of scripts: flows take their events from
 * `log`, which is borrowed until the state is freed, and what would leave the machine (HTTP, mail,
 * records) goes to the fakes of stdlib/testing_*.lua. @return 0 or a negative code */
int sip_modules_start_fakes(struct sip_vm *vm, struct sip_memory_log *log, struct sip_err *err);

/** Whether a broker answers. */
bool sip_modules_connected(struct sip_vm *vm);

/** A script is about to load: flows and routes that it registers are kept apart. */
int sip_modules_begin(struct sip_vm *vm, struct sip_err *err);

/** It has loaded: its flows, routes and timers take the place of the old ones. @return 0; or a
 * negative code when a flow cannot be opened: then the old ones go on, and what it registered is
 * forgotten */
int sip_modules_commit(struct sip_vm *vm, struct sip_err *err);

/** It has not: what it registered is forgotten. */
void sip_modules_rollback(struct sip_vm *vm);

/** Takes no more events, lets those in flight finish for at most `limit_ms`, commits, and leaves
 * the groups; `on_done` follows. @return 0, or a negative code: on_done is not called */
int sip_modules_drain(struct sip_vm *vm, uint64_t limit_ms, void (*on_done)(void *arg), void *arg,
                      struct sip_err *err);

/** Stops every driver; call before sip_vm_free. */
void sip_modules_stop(struct sip_vm *vm);

#endif
