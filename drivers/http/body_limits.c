/* body_limits.c - how large a body may be, by route. One owner. */
#include "http/body_limits.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

struct limit {
  struct limit *next;
  char *method, *pattern;
  uint64_t max_bytes;
};

struct sip_body_limits {
  struct limit *first, **last; /* owned, in the order of their coming */
};

int sip_body_limits_new(struct sip_body_limits **out)
{
  struct sip_body_limits *limits = calloc(1, sizeof *limits);

  if (limits == NULL) {
    return UV_ENOMEM;
  }
  limits->last = &limits->first;
  *out = limits;
  return 0;
}

static void limit_free(struct limit *limit)
{
  free(limit->method);
  free(limit->pattern);
  free(limit);
}

void sip_body_limits_clear(struct sip_body_limits *limits)
{
  struct limit *limit, *next;

  for (limit = limits->first; limit != NULL; limit = next) {
    next = limit->next;
    limit_free(limit);
  }
  limits->first = NULL;
  limits->last = &limits->first;
}

void sip_body_limits_free(struct sip_body_limits *limits)
{
  if (limits != NULL) {
    sip_body_limits_clear(limits);
    free(limits);
  }
}

int sip_body_limits_add(struct sip_body_limits *limits, const char *method, const char *pattern,
                        uint64_t max_bytes)
{
  struct limit *limit = calloc(1, sizeof *limit);

  if (limit == NULL) {
    return UV_ENOMEM;
  }
  limit->method = strdup(method);
  limit->pattern = strdup(pattern);
  limit->max_bytes = max_bytes;
  if (limit->method == NULL || limit->pattern == NULL) {
    limit_free(limit);
    return UV_ENOMEM;
  }
  *limits->last = limit;
  limits->last = &limit->next;
  return 0;
}

/* Both begin with a slash, or are at their ends. */
static bool matches(const char *pattern, const char *path, size_t path_len)
{
  const char *end = path + path_len;

  while (*pattern == '/' && path < end && *path == '/') {
    size_t want, have;

    pattern++;
    path++;
    if (strcmp(pattern, "*") == 0) {
      return true;
    }
    want = strcspn(pattern, "/");
    have = 0;
    while (path + have < end && path[have] != '/') {
      have++;
    }
    if (*pattern == ':' ? have == 0 : want != have || memcmp(pattern, path, want) != 0) {
      return false;
    }
    pattern += want;
    path += have;
  }
  return *pattern == '\0' && path == end;
}

uint64_t sip_body_limits_find(const struct sip_body_limits *limits, const char *method,
                              const char *target, uint64_t fallback)
{
  size_t len = strcspn(target, "?#");

  for (const struct limit *limit = limits->first; limit != NULL; limit = limit->next) {
    if (strcmp(limit->method, method) == 0 && matches(limit->pattern, target, len)) {
      return limit->max_bytes;
    }
  }
  return fallback;
}
