/* suspects.c - the list of events that ran when a process died, and its file. */
#include "flow/suspects.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { KEPT_S = 7 * 86400, LINE_BYTES = 4 * SIP_SUSPECT_NAME };

void sip_suspects_deinit(struct sip_suspects *suspects)
{
  free(suspects->list);
  *suspects = (struct sip_suspects){ 0 };
}

struct sip_suspect *sip_suspects_find(const struct sip_suspects *suspects,
                                      const struct sip_suspect *event)
{
  for (size_t i = 0; i < suspects->count; i++) {
    struct sip_suspect *entry = &suspects->list[i];

    if (entry->offset == event->offset && entry->partition == event->partition &&
        strcmp(entry->topic, event->topic) == 0 && strcmp(entry->group, event->group) == 0 &&
        strcmp(entry->cluster, event->cluster) == 0) {
      return entry;
    }
  }
  return NULL;
}

void sip_suspects_remove(struct sip_suspects *suspects, struct sip_suspect *entry)
{
  *entry = suspects->list[--suspects->count];
}

static int suspects_push(struct sip_suspects *suspects, const struct sip_suspect *event)
{
  struct sip_suspect *list = suspects->list;

  if (suspects->count == SIP_SUSPECTS_MAX) {
    struct sip_suspect *oldest = list;

    for (size_t i = 1; i < suspects->count; i++) {
      oldest = list[i].died_at_s < oldest->died_at_s ? &list[i] : oldest;
    }
    *oldest = *event;
    return 0;
  }
  list = realloc(list, (suspects->count + 1) * sizeof *list);
  if (list == NULL) {
    return UV_ENOMEM;
  }
  suspects->list = list;
  list[suspects->count++] = *event;
  return 0;
}

int sip_suspects_add(struct sip_suspects *suspects, const struct sip_suspect *event)
{
  struct sip_suspect *entry = sip_suspects_find(suspects, event);
  struct sip_suspect added = *event;

  added.died_at_s = (int64_t)time(NULL);
  added.deaths = entry == NULL ? 1 : entry->deaths + 1;
  if (entry == NULL) {
    return suspects_push(suspects, &added);
  }
  *entry = added;
  return 0;
}

/* A text up to the next tab. @return what follows, or NULL */
static const char *take_text(const char *at, char *out)
{
  size_t len = at == NULL ? 0 : strcspn(at, "\t\n");

  if (len == 0 || len >= SIP_SUSPECT_NAME) {
    return NULL;
  }
  memcpy(out, at, len);
  out[len] = '\0';
  return at + len + (at[len] != '\0');
}

static const char *take_number(const char *at, int64_t *out)
{
  char *end;

  if (at == NULL) {
    return NULL;
  }
  errno = 0;
  *out = strtoll(at, &end, 10);
  return errno != 0 || end == at || (*end != '\t' && *end != '\n') ? NULL : end + 1;
}

static int suspects_parse(const char *line, struct sip_suspect *out)
{
  int64_t deaths = 0, partition = 0;
  const char *at = take_number(line, &deaths);

  *out = (struct sip_suspect){ 0 };
  at = take_number(at, &out->died_at_s);
  at = take_text(at, out->cluster);
  at = take_text(at, out->group);
  at = take_text(at, out->topic);
  at = take_number(at, &partition);
  at = take_number(at, &out->offset);
  if (at == NULL || deaths < 1 || deaths > 1000000 || partition < 0 || partition > INT32_MAX) {
    return SIP_EDATA;
  }
  out->deaths = (unsigned)deaths;
  out->partition = (int32_t)partition;
  return 0;
}

int sip_suspects_read(struct sip_suspects *suspects, const char *path, struct sip_err *err)
{
  FILE *file = fopen(path, "re");
  int64_t oldest_s = (int64_t)time(NULL) - KEPT_S;
  struct sip_suspect entry;
  char line[LINE_BYTES];
  int rc = 0;

  suspects->count = 0;
  if (file == NULL) {
    return errno == ENOENT ? 0 : sip_err_errno(err, errno, "open %s", path);
  }
  while (rc == 0 && fgets(line, sizeof line, file) != NULL) {
    if (suspects_parse(line, &entry) == 0 && entry.died_at_s >= oldest_s) {
      rc = suspects_push(suspects, &entry);
    }
  }
  if (rc < 0) {
    (void)sip_err_set(err, rc, "read %s: no memory", path);
  } else if (ferror(file) != 0) {
    rc = sip_err_errno(err, errno, "read %s", path);
  }
  (void)fclose(file); /* nothing was written */
  return rc;
}

int sip_suspects_write(const struct sip_suspects *suspects, const char *path, struct sip_err *err)
{
  char beside[4096];
  FILE *file;
  bool written;

  if ((size_t)snprintf(beside, sizeof beside, "%s.new", path) >= sizeof beside) {
    return sip_err_set(err, UV_ENAMETOOLONG, "write %s: the name is too long", path);
  }
  file = fopen(beside, "we");
  if (file == NULL) {
    return sip_err_errno(err, errno, "open %s", beside);
  }
  for (size_t i = 0; i < suspects->count; i++) {
    const struct sip_suspect *entry = &suspects->list[i];

    (void)fprintf(file, "%u\t%lld\t%s\t%s\t%s\t%d\t%lld\n", entry->deaths,
                  (long long)entry->died_at_s, entry->cluster, entry->group, entry->topic,
                  (int)entry->partition, (long long)entry->offset);
  }
  written = ferror(file) == 0;
  if (fclose(file) != 0 || !written || rename(beside, path) < 0) {
    int why = errno;

    (void)unlink(beside);
    return sip_err_errno(err, why, "write %s", path);
  }
  return 0;
}
