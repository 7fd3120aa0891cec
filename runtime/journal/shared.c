/* shared.c - one store for all workers of a process. */
#include "journal/shared.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

struct sip_journal_shared {
  const struct sip_store_ops *ops;
  char *place;
  uv_mutex_t mutex;
  struct sip_store *store; /* under the mutex, with what follows; NULL: not open */
  struct sip_store_report report;
  struct sip_err err; /* code 0, or why it cannot be opened */
  char note[200];     /* empty: none */
};

/* With the mutex held. */
static int shared_write_note(struct sip_journal_shared *shared, struct sip_err *err)
{
  return shared->store == NULL || shared->ops->note == NULL || shared->note[0] == '\0'
           ? 0
           : shared->ops->note(shared->store, shared->note, err);
}

struct sip_journal_shared *sip_journal_shared_new(const struct sip_store_ops *ops,
                                                  const char *place)
{
  struct sip_journal_shared *shared = calloc(1, sizeof *shared);

  if (shared == NULL) {
    return NULL;
  }
  shared->ops = ops;
  shared->place = strdup(place);
  if (shared->place == NULL || uv_mutex_init(&shared->mutex) < 0) {
    free(shared->place);
    free(shared);
    return NULL;
  }
  return shared;
}

int sip_journal_shared_open(struct sip_journal_shared *shared, struct sip_store **store,
                            bool *first, struct sip_err *err)
{
  int rc;

  uv_mutex_lock(&shared->mutex);
  *first = shared->store == NULL;
  if (shared->store == NULL && shared->err.code == 0) {
    if (shared->ops->open(&shared->store, shared->place, &shared->report, &shared->err) == 0) {
      (void)shared_write_note(shared, NULL); /* others are told less; the journal works */
    }
  }
  rc = shared->err.code;
  *store = shared->store;
  if (rc < 0) {
    *err = shared->err;
  }
  uv_mutex_unlock(&shared->mutex);
  return rc;
}

int sip_journal_shared_note(struct sip_journal_shared *shared, const char *line,
                            struct sip_err *err)
{
  int rc;

  uv_mutex_lock(&shared->mutex);
  (void)snprintf(shared->note, sizeof shared->note, "%s", line);
  rc = shared_write_note(shared, err);
  uv_mutex_unlock(&shared->mutex);
  return rc;
}

const struct sip_store_ops *sip_journal_shared_ops(const struct sip_journal_shared *shared)
{
  return shared->ops;
}

const char *sip_journal_shared_place(const struct sip_journal_shared *shared)
{
  return shared->place;
}

const struct sip_store_report *sip_journal_shared_report(const struct sip_journal_shared *shared)
{
  return &shared->report;
}

int sip_journal_shared_shrink(struct sip_journal_shared *shared, int64_t *before, int64_t *after,
                              struct sip_err *err)
{
  *before = *after = 0;
  return shared->ops->shrink == NULL ? 0 : shared->ops->shrink(shared->store, before, after, err);
}

void sip_journal_shared_free(struct sip_journal_shared *shared)
{
  if (shared == NULL) {
    return;
  }
  if (shared->store != NULL) {
    shared->ops->close(shared->store);
  }
  uv_mutex_destroy(&shared->mutex);
  free(shared->place);
  free(shared);
}
