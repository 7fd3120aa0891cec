#ifndef SIP_CLI_SETTINGS_H
#define SIP_CLI_SETTINGS_H
/* settings.h - what flags, environment, .env.local and .env say, in this order. Main thread, before
 * others start.
 *
 * A verb puts the option tables it wants beside its own, parses, then calls sip_settings_load. */
#include "cli/options.h"
#include "core/err.h"

#include <stdbool.h>
#include <stddef.h>

struct sip_kafka_settings;

#define SIP_DEFAULT_OUTBOX "sipeat-outbox.db" /* in the working directory */

enum { SIP_MAX_PROPERTIES = 64 };

/* All text is borrowed, from argv or from the environment. */
struct sip_settings {
  const char *brokers;   /* -b; NULL: the environment decides */
  const char *log_level; /* after load never NULL */
  const char *log_format;
  const char *properties[SIP_MAX_PROPERTIES]; /* -X name=value, in order */
  size_t property_count;
};

/* PEM files of a server that speaks https; NULL: none was named. */
struct sip_tls_settings {
  const char *cert, *key;
};

extern const struct sip_option sip_tls_options[];    /* target: struct sip_tls_settings */
extern const struct sip_option sip_broker_options[]; /* -b, -X; target: struct sip_settings */
extern const struct sip_option sip_log_options[];    /* --log-level, --log-format */

/** Merges .env.local and .env of the working directory into the environment and sets the log up.
 *  @return 0, or a negative code with file and line, or the option's name, in the message */
int sip_settings_load(struct sip_settings *settings, struct sip_err *err);

/** What the clients of this process use: -b, then -X, then KAFKA_* of the environment.
 *  sip_kafka_settings_brokers(*out) is NULL when nobody named a broker. */
int sip_settings_kafka(const struct sip_settings *settings, struct sip_kafka_settings **out,
                       struct sip_err *err);

/** `flag` when it was given, else the environment variable when it is set and not empty, else
 * `fallback`. */
const char *sip_settings_text(const char *flag, const char *variable, const char *fallback);

/** The directory of what is kept across restarts: the flag, SIPEAT_STATE, below XDG_STATE_HOME, or
 * .sipeat here; in `place` when it is neither of the first two. */
const char *sip_settings_state(const char *flag, char *place, size_t size);

/** The file of users, tokens and sessions: SIPEAT_ACCESS, or access.db in that directory, in
 *  `place`; ":memory:" for the state "off". */
const char *sip_settings_access(const char *state, char *place, size_t size);

/** Logs or prints what is wrong. @return SIP_EXIT_SETTINGS */
int sip_settings_refused(const char *command, const struct sip_err *err);

#endif
