/* client_text.c - a statement's question marks, and the text of arrays. Any thread; no state. */
#include "postgres/client.h"

#include <ctype.h>
#include <string.h>

/* --- what is not code: texts, names, comments --- */

static size_t skip_quoted(const char *text, size_t at, size_t len, bool escapes)
{
  char quote = text[at++];

  while (at < len && text[at] != quote) {
    at += escapes && text[at] == '\\' && at + 1 < len ? 2 : 1;
  }
  return at < len ? at + 1 : len; /* a doubled quote is two texts side by side: the same end */
}

static size_t skip_comment(const char *text, size_t at, size_t len)
{
  size_t depth = 0;

  do { /* they nest */
    if (at + 1 < len && text[at] == '/' && text[at + 1] == '*') {
      depth++;
      at += 2;
    } else if (at + 1 < len && text[at] == '*' && text[at + 1] == '/') {
      depth--;
      at += 2;
    } else {
      at++;
    }
  } while (depth > 0 && at < len);
  return at < len ? at : len;
}

static bool is_word(char c)
{
  return isalnum((unsigned char)c) || c == '_' || (unsigned char)c >= 0x80;
}

/* $$ … $$ or $tag$ … $tag$; `at` when this is none. */
static size_t skip_dollar(const char *text, size_t at, size_t len)
{
  size_t end = at + 1, tag;

  while (end < len && is_word(text[end])) {
    end++;
  }
  if (end >= len || text[end] != '$' || isdigit((unsigned char)text[at + 1])) {
    return at;
  }
  tag = end + 1 - at;
  for (size_t i = end + 1; i + tag <= len; i++) {
    if (memcmp(text + i, text + at, tag) == 0) {
      return i + tag;
    }
  }
  return len;
}

/* Where code goes on after what begins at `at`; `at` itself when that is code. */
static size_t skip(const char *text, size_t at, size_t len)
{
  char c = text[at], next = at + 1 < len ? text[at + 1] : '\0';
  bool after_word = at > 0 && is_word(text[at - 1]);

  if (c == '\'') {
    bool escapes =
      at > 0 && (text[at - 1] == 'E' || text[at - 1] == 'e') && (at == 1 || !is_word(text[at - 2]));

    return skip_quoted(text, at, len, escapes);
  } else if (c == '"') {
    return skip_quoted(text, at, len, false);
  } else if (c == '-' && next == '-') {
    const char *end = memchr(text + at, '\n', len - at);

    return end == NULL ? len : (size_t)(end - text) + 1;
  } else if (c == '/' && next == '*') {
    return skip_comment(text, at, len);
  } else if (c == '$' && !after_word) {
    return skip_dollar(text, at, len);
  }
  return at;
}

/* --- statements --- */

static size_t skip_white(const char *text, size_t len)
{
  size_t at = 0, next;

  while (at < len) {
    bool comment = text[at] == '-' || text[at] == '/';

    next = comment ? skip(text, at, len) : at;
    if (next == at && !isspace((unsigned char)text[at])) {
      break;
    }
    at = next == at ? at + 1 : next;
  }
  return at;
}

static bool begins_with(const char *text, size_t len, const char *word)
{
  size_t n = strlen(word);

  return len >= n && strncasecmp(text, word, n) == 0 && (len == n || !is_word(text[n]));
}

/* Whether it begins or ends a transaction, which is ours to do. */
static bool ends_transaction(const char *text, size_t len)
{
  static const char *const words[] = { "BEGIN", "START", "COMMIT", "END", "ABORT" };
  size_t at = skip_white(text, len);

  text += at;
  len -= at;
  for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
    if (begins_with(text, len, words[i])) {
      return true;
    }
  }
  if (begins_with(text, len, "PREPARE")) {
    at = 7 + skip_white(text + 7, len - 7);
    return begins_with(text + at, len - at, "TRANSACTION");
  } else if (begins_with(text, len, "ROLLBACK")) { /* but not ROLLBACK TO a savepoint */
    at = 8 + skip_white(text + 8, len - 8);
    return !begins_with(text + at, len - at, "TO");
  }
  return false;
}

static bool has_dollars(const char *text, size_t len)
{
  for (size_t at = 0; at < len;) {
    size_t next = skip(text, at, len);

    if (next == at && text[at] == '$' && at + 1 < len && isdigit((unsigned char)text[at + 1]) &&
        (at == 0 || !is_word(text[at - 1]))) {
      return true;
    }
    at = next == at ? at + 1 : next;
  }
  return false;
}

/* One question mark at `*at`. */
static int add_mark(struct sip_buf *out, const char *text, size_t *at, size_t len, unsigned *number)
{
  size_t from = ++*at;

  if (from < len && text[from] == '?') {
    ++*at;
    return sip_buf_add(out, "?", 1);
  }
  while (*at < len && isdigit((unsigned char)text[*at])) {
    ++*at;
  }
  if (*at > from) { /* ?1 */
    int rc = sip_buf_add(out, "$", 1);

    return rc < 0 ? rc : sip_buf_add(out, text + from, *at - from);
  }
  return sip_buf_addf(out, "$%u", ++*number);
}

static int add_marked(struct sip_buf *out, const char *text, size_t len)
{
  unsigned number = 0;
  int rc = 0;

  for (size_t at = 0; rc == 0 && at < len;) {
    size_t next = skip(text, at, len);

    if (next == at && text[at] == '?') {
      rc = add_mark(out, text, &at, len, &number);
    } else {
      next = next == at ? at + 1 : next;
      rc = sip_buf_add(out, text + at, next - at);
      at = next;
    }
  }
  return rc;
}

int sip_pg_job_set_sql(struct sip_pg_job *job, const char *text, size_t len, struct sip_err *err)
{
  int rc;

  if (len > SIP_PG_MAX_SQL_BYTES) {
    return sip_err_set(err, SIP_ETOOBIG, "sql: a statement of more than %d bytes",
                       SIP_PG_MAX_SQL_BYTES);
  } else if (memchr(text, '\0', len) != NULL) {
    return sip_err_set(err, SIP_EDATA, "sql: a statement with a NUL byte");
  }
  sip_buf_clear(&job->sql);
  if (job->kind != SIP_PG_SCRIPT && ends_transaction(text, len)) {
    return sip_err_named(err, SIP_ESQL, "SQL_ERROR",
                         "sql: %.*s: transactions are db:transaction(function(tx) … end)",
                         len < 40 ? (int)len : 40, text);
  }
  rc = job->kind == SIP_PG_SCRIPT || has_dollars(text, len) ? sip_buf_add(&job->sql, text, len)
                                                            : add_marked(&job->sql, text, len);
  if (rc == 0 && job->sql.data == NULL) {
    rc = sip_buf_add(&job->sql, " ", 1); /* nothing, which the server takes */
  }
  return rc == 0 ? 0 : sip_err_set(err, rc, "sql: no memory for the statement");
}

/* --- arrays: {1,2,NULL,"a, \"b\"",{3}} --- */

static enum sip_pg_token array_quoted(struct sip_slice text, size_t *at, struct sip_buf *out)
{
  for (++*at; *at < text.len && text.data[*at] != '"'; ++*at) {
    if (text.data[*at] == '\\' && ++*at == text.len) {
      return SIP_PG_WRONG;
    }
    if (sip_buf_add(out, text.data + *at, 1) < 0) {
      return SIP_PG_WRONG;
    }
  }
  if (*at == text.len) {
    return SIP_PG_WRONG;
  }
  ++*at;
  return SIP_PG_ITEM;
}

static enum sip_pg_token array_plain(struct sip_slice text, size_t *at, struct sip_buf *out)
{
  size_t from = *at;

  while (*at < text.len && strchr(",{}\"", text.data[*at]) == NULL) {
    ++*at;
  }
  if (*at - from == 4 && memcmp(text.data + from, "NULL", 4) == 0) {
    return SIP_PG_NULL;
  }
  return *at == from || sip_buf_add(out, text.data + from, *at - from) < 0 ? SIP_PG_WRONG
                                                                           : SIP_PG_ITEM;
}

enum sip_pg_token sip_pg_array_next(struct sip_slice text, size_t *at, struct sip_buf *out)
{
  sip_buf_clear(out);
  if (*at == 0 && text.len > 0 && text.data[0] == '[') { /* [0:2]={…}: bounds are not kept */
    const char *begin = memchr(text.data, '{', text.len);

    *at = begin == NULL ? text.len : (size_t)(begin - text.data);
  }
  while (*at < text.len && text.data[*at] == ',') {
    ++*at;
  }
  if (*at >= text.len) {
    return SIP_PG_END;
  }
  switch (text.data[*at]) {
  case '{':
    ++*at;
    return SIP_PG_OPEN;
  case '}':
    ++*at;
    return SIP_PG_CLOSE;
  case '"':
    return array_quoted(text, at, out);
  default:
    return array_plain(text, at, out);
  }
}
