/* log_test.c - both styles, escaping, cutting: what is written is read back through a pipe. */
#include "core/log.h"

#include "support/test.h"

#include <unistd.h>

static char text[65536];

static const char *read_line(int fd)
{
  ssize_t n = read(fd, text, sizeof text - 1);

  CHECK(n > 0);
  text[n] = '\0';
  CHECK_INT(text[n - 1], '\n');
  CHECK(strchr(text, '\n') == text + n - 1 || text[0] != '{');
  return text;
}

int main(void)
{
  struct sip_log_field fields[] = { { "topic", "a\"b" }, { "offset", "7" } };
  static char big[20000];
  enum sip_log_level level;
  int ends[2];

  CHECK_INT(pipe(ends), 0);
  sip_log_setup(ends[1], SIP_LOG_AUTO, SIP_LOG_INFO); /* a pipe: JSON */
  sip_log(SIP_LOG_DEBUG, "test", NULL, "too low");
  CHECK(!sip_log_on(SIP_LOG_DEBUG));
  sip_log_fields(SIP_LOG_WARN, "kafka", "ev-1", fields, 2, "line 1\nline \x01 \xff end\\");
  (void)read_line(ends[0]);
  CHECK_HAS(text, "\"level\":\"warn\",\"module\":\"kafka\",\"event_id\":\"ev-1\",\"topic\":"
                  "\"a\\\"b\",\"offset\":\"7\"");
  CHECK_HAS(text, "\"message\":\"line 1\\nline \\u0001 \xef\xbf\xbd end\\\\\"}\n");
  memset(big, '"', sizeof big - 1);
  sip_log(SIP_LOG_ERROR, "test", "", "%s", big);
  (void)read_line(ends[0]);
  CHECK(strlen(text) <= 8192);
  CHECK(strstr(text, "event_id") == NULL);
  CHECK_HAS(text, "\",\"cut\":\"true\"}\n");
  sip_log_setup(ends[1], SIP_LOG_HUMAN, SIP_LOG_DEBUG);
  sip_log_fields(SIP_LOG_DEBUG, "task", "ev-2", fields, 1, "esc \033[31m");
  (void)read_line(ends[0]);
  CHECK_HAS(text, "debug task [ev-2]: esc \\u001b[31m topic=a\"b\n");
  CHECK(sip_log_parse_level("error", &level) && level == SIP_LOG_ERROR);
  CHECK(!sip_log_parse_level("loud", &level));
  return 0;
}
