/* log.c - the one writer of log lines.
 *
 * Standard error belongs to the process, and so does what is set up here: it is written once before
 * any thread starts and only read afterwards. The last warnings and errors are kept beside it, for
 * whoever asks. A line is built on the stack, so logging works when memory is out. */
#include "core/log.h"

#include "core/utf8.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum {
  LINE_BYTES = 8192,
  STRUCTURE_BYTES = 1024 /* kept for quotes, keys and the end, so that a cut line still parses */
};

static struct {
  int fd;
  bool json, colour;
  enum sip_log_level level;
} sink = { STDERR_FILENO, false, false,
           SIP_LOG_INFO }; /* written before threads start, read-only afterwards */

static struct {
  pthread_mutex_t mu; /* guards the others; held for a copy */
  size_t count;       /* so far: the next one's place is its rest */
  struct sip_log_kept lines[SIP_LOG_KEPT];
} kept = { .mu = PTHREAD_MUTEX_INITIALIZER };

struct line {
  char text[LINE_BYTES];
  size_t len;
  bool cut;
};

static const char *const level_names[] = { "debug", "info", "warn", "error" };
static const char *const level_colours[] = { "\033[2m", "\033[32m", "\033[33m", "\033[31m" };

void sip_log_setup(int fd, enum sip_log_style style, enum sip_log_level level)
{
  bool terminal = isatty(fd) == 1;

  sink.fd = fd;
  sink.json = style == SIP_LOG_JSON || (style == SIP_LOG_AUTO && !terminal);
  sink.colour = terminal;
  sink.level = level;
}

bool sip_log_on(enum sip_log_level level)
{
  return level >= sink.level;
}

bool sip_log_parse_level(const char *name, enum sip_log_level *out)
{
  for (size_t i = 0; i < sizeof level_names / sizeof level_names[0]; i++) {
    if (strcmp(name, level_names[i]) == 0) {
      *out = (enum sip_log_level)i;
      return true;
    }
  }
  return false;
}

static void line_add(struct line *line, const char *data, size_t len)
{
  if (len >= sizeof line->text - line->len) {
    line->cut = true; /* dozens of fields: the end is lost */
    return;
  }
  memcpy(line->text + line->len, data, len);
  line->len += len;
}

static void line_adds(struct line *line, const char *text)
{
  line_add(line, text, strlen(text));
}

/* Text from anywhere: JSON escapes in both styles (a newline of a traceback stays one for people).
 */
static void line_escape(struct line *line, const char *text, bool json)
{
  const unsigned char *s = (const unsigned char *)text;
  size_t left = strlen(text);
  char hex[8];

  while (left > 0) {
    size_t n = sip_utf8_length((const char *)s, left);

    if (line->len > sizeof line->text - STRUCTURE_BYTES) {
      line->cut = true;
      return;
    }
    if (n == 0) {
      line_adds(line, "\xef\xbf\xbd"); /* U+FFFD in place of a broken byte */
      n = 1;
    } else if (n > 1 || (*s >= 0x20 && *s != 0x7f && (!json || (*s != '"' && *s != '\\')))) {
      line_add(line, (const char *)s, n);
    } else if (json && (*s == '"' || *s == '\\')) {
      line_add(line, "\\", 1);
      line_add(line, (const char *)s, 1);
    } else if (*s == '\n') {
      line_adds(line, json ? "\\n" : "\n    ");
    } else if (*s == '\t') {
      line_adds(line, json ? "\\t" : "  ");
    } else {
      (void)snprintf(hex, sizeof hex, "\\u%04x", *s);
      line_adds(line, hex);
    }
    s += n;
    left -= n;
  }
}

static void line_time(struct line *line, bool json)
{
  struct timeval now;
  struct tm parts;
  char text[48];

  (void)gettimeofday(&now, NULL); /* cannot fail with valid pointers */
  if (json) {
    (void)gmtime_r(&now.tv_sec, &parts);
    (void)strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
  } else {
    (void)localtime_r(&now.tv_sec, &parts);
    (void)strftime(text, sizeof text, "%H:%M:%S", &parts);
  }
  line_adds(line, text);
  (void)snprintf(text, sizeof text, json ? ".%03dZ" : ".%03d", (int)(now.tv_usec / 1000));
  line_adds(line, text);
}

static void line_pair(struct line *line, const char *key, const char *value)
{
  line_adds(line, ",\"");
  line_escape(line, key, true);
  line_adds(line, "\":\"");
  line_escape(line, value, true);
  line_adds(line, "\"");
}

static void write_json(struct line *line, enum sip_log_level level, const char *module,
                       const char *event_id, const struct sip_log_field *fields, size_t count,
                       const char *text)
{
  line_adds(line, "{\"time\":\"");
  line_time(line, true);
  line_adds(line, "\"");
  line_pair(line, "level", level_names[level]);
  line_pair(line, "module", module);
  if (event_id != NULL && event_id[0] != '\0') {
    line_pair(line, "event_id", event_id);
  }
  for (size_t i = 0; i < count; i++) {
    line_pair(line, fields[i].key, fields[i].value);
  }
  line_pair(line, "message", text);
  line_adds(line, line->cut ? ",\"cut\":\"true\"}" : "}");
}

static void write_human(struct line *line, enum sip_log_level level, const char *module,
                        const char *event_id, const struct sip_log_field *fields, size_t count,
                        const char *text)
{
  line_time(line, false);
  line_adds(line, " ");
  if (sink.colour) {
    line_adds(line, level_colours[level]);
  }
  line_adds(line, level_names[level]);
  if (sink.colour) {
    line_adds(line, "\033[0m");
  }
  line_adds(line, strlen(level_names[level]) == 4 ? "  " : " ");
  line_escape(line, module, false);
  if (event_id != NULL && event_id[0] != '\0') {
    line_adds(line, " [");
    line_escape(line, event_id, false);
    line_adds(line, "]");
  }
  line_adds(line, ": ");
  line_escape(line, text, false);
  for (size_t i = 0; i < count; i++) {
    line_adds(line, " ");
    line_escape(line, fields[i].key, false);
    line_adds(line, "=");
    line_escape(line, fields[i].value, false);
  }
  if (line->cut) {
    line_adds(line, " …");
  }
}

/* A copy that ends with a whole character. */
static void keep_text(char *out, size_t size, const char *text)
{
  size_t len = strlen(text), at = 0, n;

  while (at < len && (n = sip_utf8_length(text + at, len - at)) > 0 && at + n < size) {
    at += n;
  }
  memcpy(out, text, at);
  out[at] = '\0';
}

static void keep(enum sip_log_level level, const char *module, const char *event_id,
                 const char *text)
{
  struct sip_log_kept *line;
  struct timeval now;

  (void)gettimeofday(&now, NULL); /* cannot fail with valid pointers */
  (void)pthread_mutex_lock(&kept.mu);
  line = &kept.lines[kept.count++ % SIP_LOG_KEPT];
  line->at_ms = (int64_t)now.tv_sec * 1000 + now.tv_usec / 1000;
  line->level = level;
  keep_text(line->module, sizeof line->module, module);
  keep_text(line->event_id, sizeof line->event_id, event_id == NULL ? "" : event_id);
  keep_text(line->text, sizeof line->text, text);
  (void)pthread_mutex_unlock(&kept.mu);
}

size_t sip_log_recent(struct sip_log_kept *out, size_t max)
{
  size_t count;

  (void)pthread_mutex_lock(&kept.mu);
  count = kept.count < SIP_LOG_KEPT ? kept.count : SIP_LOG_KEPT;
  count = count < max ? count : max;
  for (size_t i = 0; i < count; i++) {
    out[i] = kept.lines[(kept.count - 1 - i) % SIP_LOG_KEPT];
  }
  (void)pthread_mutex_unlock(&kept.mu);
  return count;
}

void sip_log_fields(enum sip_log_level level, const char *module, const char *event_id,
                    const struct sip_log_field *fields, size_t count, const char *text)
{
  struct line line;

  if (level >= SIP_LOG_WARN) {
    keep(level, module, event_id, text);
  }
  if (!sip_log_on(level)) {
    return;
  }
  line.len = 0;
  line.cut = false;
  if (sink.json) {
    write_json(&line, level, module, event_id, fields, count, text);
  } else {
    write_human(&line, level, module, event_id, fields, count, text);
  }
  line.text[line.len < sizeof line.text ? line.len++ : sizeof line.text - 1] = '\n';
  if (write(sink.fd, line.text, line.len) < 0) {
    return; /* nowhere left to report that the log cannot be written */
  }
}

void sip_log(enum sip_log_level level, const char *module, const char *event_id, const char *format,
             ...)
{
  char text[LINE_BYTES / 2];
  va_list args;

  if (!sip_log_on(level) && level < SIP_LOG_WARN) {
    return;
  }
  va_start(args, format);
  (void)vsnprintf(text, sizeof text, format, args);
  va_end(args);
  sip_log_fields(level, module, event_id, NULL, 0, text);
}
