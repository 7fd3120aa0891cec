#ifndef SIP_CORE_LOG_H
#define SIP_CORE_LOG_H
/* log.h - structured log lines on standard error: for people on a terminal, JSON lines otherwise.
 *
 * Any thread. One line is one write(2), so lines of several threads never mix. A line longer than 8
 * KiB is cut and marked. Text from outside is escaped: no control byte reaches a terminal. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum sip_log_level { SIP_LOG_DEBUG, SIP_LOG_INFO, SIP_LOG_WARN, SIP_LOG_ERROR };

enum sip_log_style { SIP_LOG_AUTO, SIP_LOG_HUMAN, SIP_LOG_JSON };

struct sip_log_field {
  const char *key;   /* borrowed */
  const char *value; /* borrowed; NUL-terminated text */
};

/** Before any thread starts. AUTO chooses by isatty(fd). */
void sip_log_setup(int fd, enum sip_log_style style, enum sip_log_level level);

bool sip_log_on(enum sip_log_level level);

/** One line. `module` is a word such as "kafka"; `event_id` is NULL outside of an event. */
void sip_log(enum sip_log_level level, const char *module, const char *event_id, const char *format,
             ...) __attribute__((format(printf, 4, 5)));

/** As sip_log, with a ready text and fields. */
void sip_log_fields(enum sip_log_level level, const char *module, const char *event_id,
                    const struct sip_log_field *fields, size_t count, const char *text);

/* A warning or an error that was logged. */
struct sip_log_kept {
  int64_t at_ms; /* since 1970-01-01 UTC */
  enum sip_log_level level;
  char module[32], event_id[64]; /* "": none */
  char text[512];                /* cut; as it was given, not escaped */
};

enum { SIP_LOG_KEPT = 128 };

/** Copies the last ones, newest first. @return how many */
size_t sip_log_recent(struct sip_log_kept *out, size_t max);

/** "debug", "info", "warn" or "error" to a level; false when it is none of them. */
bool sip_log_parse_level(const char *name, enum sip_log_level *out);

#endif
