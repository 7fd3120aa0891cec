/* user_sql.c - reads SQL just far enough to tell texts and comments from the rest. Any thread. */
#include "journal/user_sql.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

static bool starts(const char *at, const char *end, const char *with)
{
  size_t len = strlen(with);

  return (size_t)(end - at) >= len && memcmp(at, with, len) == 0;
}

/* Behind what begins at `at` and ends with the next `closing`, or at the end of the statement. */
static const char *behind(const char *at, const char *end, const char *closing)
{
  const char *found = at < end ? memmem(at, (size_t)(end - at), closing, strlen(closing)) : NULL;

  return found == NULL ? end : found + strlen(closing);
}

/* Behind a text of PostgreSQL such as $tag$…$tag$; `at` itself when there is none. */
static const char *skip_dollar_text(const char *at, const char *end)
{
  const char *tag_end = at + 1;
  char tag[70];

  while (tag_end < end && (isalnum((unsigned char)*tag_end) || *tag_end == '_')) {
    tag_end++;
  }
  if (tag_end == end || *tag_end != '$' || tag_end - at > 64 || isdigit((unsigned char)at[1])) {
    return at;
  }
  memcpy(tag, at, (size_t)(tag_end - at) + 1);
  tag[tag_end - at + 1] = '\0';
  return behind(tag_end + 1, end, tag);
}

/* Behind the text, name or comment at `at`; `at` itself when there is none. A doubled quote in a
 * text is the end of one and the beginning of the next, which comes to the same. */
static const char *skip(const char *at, const char *end)
{
  if (starts(at, end, "--")) {
    return behind(at, end, "\n");
  } else if (starts(at, end, "/*")) {
    return behind(at + 2, end, "*/");
  } else if (*at == '\'') {
    return behind(at + 1, end, "'");
  } else if (*at == '"') {
    return behind(at + 1, end, "\"");
  } else if (*at == '$') {
    return skip_dollar_text(at, end);
  }
  return at;
}

int sip_user_sql_check(struct sip_slice sql, struct sip_err *err)
{
  static const char *const allowed[] = { "select", "insert", "update", "delete", "with",
                                         "values", "create", "alter",  "drop" };
  const char *at = sql.data, *end = sql.data + sql.len;
  size_t len = 0;

  while (at < end && (isspace((unsigned char)*at) || skip(at, end) != at)) {
    at = isspace((unsigned char)*at) ? at + 1 : skip(at, end);
  }
  while (at + len < end && isalpha((unsigned char)at[len])) {
    len++;
  }
  for (size_t i = 0; i < sizeof allowed / sizeof *allowed; i++) {
    if (strlen(allowed[i]) == len && strncasecmp(allowed[i], at, len) == 0) {
      return 0;
    }
  }
  return sip_err_named(err, SIP_ESCRIPT, "SQL_REFUSED",
                       "journal: a statement begins with select, insert, update, delete, with, "
                       "values, create, alter or drop; this one rides in the journal's "
                       "transaction: %.80s",
                       sql.data);
}

int sip_user_sql_number(struct sip_buf *out, struct sip_slice sql)
{
  const char *at = sql.data, *end = sql.data + sql.len;
  int count = 0, rc = 0;

  while (rc == 0 && at < end) {
    const char *next = skip(at, end);

    if (next != at) {
      rc = sip_buf_add(out, at, (size_t)(next - at));
      at = next;
    } else if (*at != '?') {
      rc = sip_buf_add(out, at++, 1);
    } else if (at + 1 < end && isdigit((unsigned char)at[1])) {
      rc = sip_buf_adds(out, "$");
      at++;
    } else {
      rc = sip_buf_addf(out, "$%d", ++count);
      at++;
    }
  }
  return rc < 0 ? rc : sip_buf_add(out, "", 1);
}
