/* envfile.c - reads .env files. Values are secrets: no message shows one. */
#include "cli/envfile.h"

#include "core/buf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_FILE_BYTES = 1024 * 1024 };

struct reader {
  const char *file; /* borrowed, for messages */
  const char *at, *end;
  int line;
};

static bool reader_has(const struct reader *r)
{
  return r->at < r->end;
}

static bool is_blank(char c)
{
  return c == ' ' || c == '\t' || c == '\r';
}

static void skip_blanks(struct reader *r)
{
  while (reader_has(r) && is_blank(*r->at)) {
    r->at++;
  }
}

static void skip_line(struct reader *r)
{
  const char *newline = memchr(r->at, '\n', (size_t)(r->end - r->at));

  r->at = newline != NULL ? newline + 1 : r->end;
  r->line++;
}

static bool is_name(char c, bool first)
{
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' ||
         (!first && c >= '0' && c <= '9');
}

static int read_name(struct reader *r, struct sip_buf *name, struct sip_err *err)
{
  const char *start = r->at;

  if (r->end - r->at > 7 && memcmp(r->at, "export", 6) == 0 && is_blank(r->at[6])) {
    r->at += 6;
    skip_blanks(r);
    start = r->at;
  }
  while (reader_has(r) && is_name(*r->at, r->at == start)) {
    r->at++;
  }
  if (r->at == start) {
    return sip_err_set(err, SIP_EDATA, "%s:%d: a line is NAME=value, or a comment after #", r->file,
                       r->line);
  }
  sip_buf_clear(name);
  if (sip_buf_add(name, start, (size_t)(r->at - start)) < 0) {
    return sip_err_set(err, UV_ENOMEM, "%s:%d: no memory for the name", r->file, r->line);
  }
  skip_blanks(r);
  if (!reader_has(r) || *r->at != '=') {
    /* the word is not shown: it may be the second line of a secret */
    return sip_err_set(err, SIP_EDATA, "%s:%d: \"=\" is missing after the name", r->file, r->line);
  }
  r->at++;
  skip_blanks(r);
  return 0;
}

static char unescaped(char c)
{
  switch (c) {
  case 'n':
    return '\n';
  case 'r':
    return '\r';
  case 't':
    return '\t';
  default:
    return c;
  }
}

static int read_quoted(struct reader *r, const char *name, struct sip_buf *value,
                       struct sip_err *err)
{
  char quote = *r->at++;
  int first_line = r->line;

  while (reader_has(r) && *r->at != quote) {
    char c = *r->at++;

    if (c == '\n') {
      r->line++;
    }
    if (quote == '"' && c == '\\' && reader_has(r) && strchr("nrt\"\\$", *r->at) != NULL) {
      c = unescaped(*r->at++);
    }
    if (sip_buf_add(value, &c, 1) < 0) {
      return sip_err_set(err, UV_ENOMEM, "%s:%d: no memory for the value", r->file, r->line);
    }
  }
  if (!reader_has(r)) {
    return sip_err_set(err, SIP_EDATA, "%s:%d: the quote %c that begins %.60s is never closed",
                       r->file, first_line, quote, name);
  }
  r->at++;
  skip_blanks(r);
  if (reader_has(r) && *r->at != '\n' && *r->at != '#') {
    return sip_err_set(err, SIP_EDATA, "%s:%d: unexpected text after the closing quote of %.60s",
                       r->file, r->line, name);
  }
  return 0;
}

static int read_plain(struct reader *r, struct sip_buf *value, struct sip_err *err)
{
  const char *start = r->at, *stop;

  while (reader_has(r) && *r->at != '\n' &&
         !(*r->at == '#' && (r->at == start || is_blank(r->at[-1])))) {
    r->at++;
  }
  stop = r->at;
  while (stop > start && is_blank(stop[-1])) {
    stop--;
  }
  if (sip_buf_add(value, start, (size_t)(stop - start)) < 0) {
    return sip_err_set(err, UV_ENOMEM, "%s:%d: no memory for the value", r->file, r->line);
  }
  return 0;
}

static int read_variable(struct reader *r, struct sip_buf *name, struct sip_buf *value,
                         sip_env_fn fn, void *arg, struct sip_err *err)
{
  int rc = read_name(r, name, err);

  if (rc < 0) {
    return rc;
  }
  sip_buf_clear(value);
  if (reader_has(r) && (*r->at == '"' || *r->at == '\'')) {
    rc = read_quoted(r, name->data, value, err);
  } else {
    rc = read_plain(r, value, err);
  }
  if (rc < 0) {
    return rc;
  }
  return fn(arg, name->data, value->data != NULL ? value->data : "", err);
}

int sip_envfile_parse(const char *file, const char *text, size_t len, sip_env_fn fn, void *arg,
                      struct sip_err *err)
{
  struct reader r = { .file = file, .at = text, .end = text + len, .line = 1 };
  struct sip_buf name = SIP_BUF_INIT, value = SIP_BUF_INIT;
  const char *nul = len > 0 ? memchr(text, '\0', len) : NULL;
  int rc = 0;

  if (nul != NULL) {
    for (const char *c = text; c < nul; c++) {
      r.line += *c == '\n';
    }
    return sip_err_set(err, SIP_EDATA, "%s:%d: a NUL byte: this is not a text file", file, r.line);
  }
  if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
    r.at += 3; /* the byte order mark that some editors write */
  }
  while (rc == 0 && reader_has(&r)) {
    skip_blanks(&r);
    if (reader_has(&r) && *r.at != '\n' && *r.at != '#') {
      rc = read_variable(&r, &name, &value, fn, arg, err);
    }
    if (rc == 0 && reader_has(&r)) {
      skip_line(&r);
    }
  }
  sip_buf_deinit(&name);
  sip_buf_deinit(&value);
  return rc;
}

static int merge_one(void *arg, const char *name, const char *value, struct sip_err *err)
{
  (void)arg;
  if (setenv(name, value, 0) != 0) {
    return sip_err_errno(err, errno, "set the environment variable %.60s", name);
  }
  return 0;
}

static int read_all(int fd, const char *file, struct sip_buf *out, struct sip_err *err)
{
  struct stat st;

  if (fstat(fd, &st) != 0) {
    return sip_err_errno(err, errno, "read %s", file);
  }
  if (!S_ISREG(st.st_mode)) {
    return sip_err_set(err, UV_EINVAL, "read %s: not a regular file", file);
  }
  for (;;) {
    char chunk[4096];
    ssize_t got = read(fd, chunk, sizeof chunk);

    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got < 0) {
      return sip_err_errno(err, errno, "read %s", file);
    }
    if (got == 0) {
      return 0;
    }
    if (out->len + (size_t)got > MAX_FILE_BYTES) {
      return sip_err_set(err, SIP_ETOOBIG, "read %s: larger than 1 MiB", file);
    }
    if (sip_buf_add(out, chunk, (size_t)got) < 0) {
      return sip_err_set(err, UV_ENOMEM, "read %s: no memory", file);
    }
  }
}

int sip_envfile_merge(const char *file, struct sip_err *err)
{
  struct sip_buf text = SIP_BUF_INIT;
  int fd, rc;

  fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (fd < 0) {
    int saved = errno;

    return saved == ENOENT ? 0 : sip_err_errno(err, saved, "open %s", file);
  }
  rc = read_all(fd, file, &text, err);
  if (rc == 0 && text.len > 0) {
    rc = sip_envfile_parse(file, text.data, text.len, merge_one, NULL, err);
  }
  sip_buf_deinit(&text);
  (void)close(fd); /* read only: nothing can be lost */
  return rc < 0 ? rc : 1;
}
