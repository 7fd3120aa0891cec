/* tap.c - a ring of attempts, which exists while somebody watches. */
#include "flow/tap.h"

#include <stdlib.h>
#include <uv.h>

struct sip_tap {
  atomic_size_t watchers;     /* read by workers without the lock: a late view costs an entry */
  uv_mutex_t mutex;           /* for what follows */
  uint64_t next;              /* number of the next entry */
  struct sip_tap_entry *ring; /* owned; NULL while nobody watches */
};

int sip_tap_new(struct sip_tap **out)
{
  struct sip_tap *tap = calloc(1, sizeof *tap);

  if (tap == NULL || uv_mutex_init(&tap->mutex) < 0) {
    free(tap);
    return UV_ENOMEM;
  }
  *out = tap;
  return 0;
}

void sip_tap_free(struct sip_tap *tap)
{
  if (tap != NULL) {
    uv_mutex_destroy(&tap->mutex);
    free(tap->ring);
  }
  free(tap);
}

int sip_tap_open(struct sip_tap *tap, uint64_t *cursor)
{
  int rc = 0;

  uv_mutex_lock(&tap->mutex);
  if (tap->ring == NULL) {
    tap->ring = calloc(SIP_TAP_KEPT, sizeof *tap->ring);
    rc = tap->ring == NULL ? UV_ENOMEM : 0;
  }
  *cursor = tap->next;
  if (rc == 0) {
    atomic_fetch_add(&tap->watchers, 1);
  }
  uv_mutex_unlock(&tap->mutex);
  return rc;
}

void sip_tap_close(struct sip_tap *tap)
{
  uv_mutex_lock(&tap->mutex);
  if (atomic_fetch_sub(&tap->watchers, 1) == 1) {
    free(tap->ring);
    tap->ring = NULL;
  }
  uv_mutex_unlock(&tap->mutex);
}

bool sip_tap_is_open(const struct sip_tap *tap)
{
  return tap != NULL && atomic_load_explicit(&tap->watchers, memory_order_relaxed) > 0;
}

void sip_tap_put(struct sip_tap *tap, const struct sip_tap_entry *entry)
{
  uv_mutex_lock(&tap->mutex);
  if (tap->ring != NULL) {
    tap->ring[tap->next++ % SIP_TAP_KEPT] = *entry;
  }
  uv_mutex_unlock(&tap->mutex);
}

size_t sip_tap_take(struct sip_tap *tap, uint64_t *cursor, struct sip_tap_entry *out, size_t max,
                    uint64_t *missed)
{
  size_t count = 0;

  uv_mutex_lock(&tap->mutex);
  *missed = tap->next - *cursor > SIP_TAP_KEPT ? tap->next - *cursor - SIP_TAP_KEPT : 0;
  *cursor += *missed;
  while (tap->ring != NULL && *cursor < tap->next && count < max) {
    out[count++] = tap->ring[(*cursor)++ % SIP_TAP_KEPT];
  }
  uv_mutex_unlock(&tap->mutex);
  return count;
}
