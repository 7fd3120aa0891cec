/* secret.c - settings from variables, files and credentials. */
#include "core/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SECRET_LIMIT_BYTES = 64 << 10, NAME_LIMIT_BYTES = 256 };

void sip_secret_free(char *text)
{
  if (text != NULL) {
    explicit_bzero(text, strlen(text));
    free(text);
  }
}

/* Reads what is there, to its end or until `text` is full. @return its length, or -1 with errno */
static ssize_t secret_fill(int fd, char *text)
{
  size_t len = 0;

  for (;;) {
    ssize_t n = read(fd, text + len, SECRET_LIMIT_BYTES + 1 - len);

    if (n < 0 && errno == EINTR) {
      continue;
    }
    if (n <= 0 || len + (size_t)n > SECRET_LIMIT_BYTES) {
      return n < 0 ? -1 : (ssize_t)(len + (size_t)n);
    }
    len += (size_t)n;
  }
}

static int secret_read(const char *name, const char *path, char **out, struct sip_err *err)
{
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe must not hang us */
  char *text = NULL;
  ssize_t len = -1;
  int errnum = errno;

  if (fd >= 0) {
    text = calloc(1, SECRET_LIMIT_BYTES + 2);
    errnum = ENOMEM;
  }
  if (text != NULL) {
    len = secret_fill(fd, text);
    errnum = errno;
  }
  if (fd >= 0) {
    (void)close(fd); /* nothing was written */
  }
  if (len < 0 || len > SECRET_LIMIT_BYTES || strlen(text) < (size_t)len) {
    sip_secret_free(text);
    return len < 0
             ? sip_err_errno(err, errnum, "%s: cannot read %s", name, path)
             : sip_err_set(err, SIP_ECONFIG, "%s: %s is no text of at most 64 KiB", name, path);
  }
  while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == '\r')) {
    text[--len] = '\0';
  }
  if (len == 0) {
    free(text);
    return 0;
  }
  *out = text;
  return 1;
}

int sip_secret_find(const char *name, char **out, struct sip_err *err)
{
  char variable[NAME_LIMIT_BYTES + 8], path[PATH_MAX];
  const char *value = getenv(name), *directory = getenv("CREDENTIALS_DIRECTORY");

  if (value != NULL && value[0] != '\0') {
    *out = strdup(value);
    return *out != NULL ? 1 : sip_err_set(err, UV_ENOMEM, "%s: out of memory", name);
  }
  if (strlen(name) > NAME_LIMIT_BYTES || strchr(name, '/') != NULL) {
    return 0;
  }
  (void)snprintf(variable, sizeof variable, "%s_FILE", name); /* it fits */
  value = getenv(variable);
  if (value != NULL && value[0] != '\0') {
    return secret_read(variable, value, out, err);
  }
  if (directory == NULL || directory[0] != '/' ||
      (size_t)snprintf(path, sizeof path, "%s/%s", directory, name) >= sizeof path ||
      access(path, F_OK) != 0) {
    return 0;
  }
  return secret_read("CREDENTIALS_DIRECTORY", path, out, err);
}
