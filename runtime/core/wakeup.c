/* wakeup.c - a uv_async_t on the heap with a callback that stops at close. */
#include "core/wakeup.h"

#include <stdlib.h>

struct sip_wakeup {
  uv_async_t async;
  sip_wakeup_fn fn; /* NULL once closed */
  void *arg;        /* borrowed from the owner until close */
};

static void wakeup_on_send(uv_async_t *async)
{
  struct sip_wakeup *wakeup = async->data;

  if (wakeup->fn != NULL) {
    wakeup->fn(wakeup->arg);
  }
}

static void wakeup_on_close(uv_handle_t *handle)
{
  free(handle->data);
}

int sip_wakeup_new(struct sip_wakeup **out, uv_loop_t *loop, sip_wakeup_fn fn, void *arg)
{
  struct sip_wakeup *wakeup = calloc(1, sizeof *wakeup);
  int rc;

  if (wakeup == NULL) {
    return UV_ENOMEM;
  }
  wakeup->fn = fn;
  wakeup->arg = arg;
  rc = uv_async_init(loop, &wakeup->async, wakeup_on_send);
  if (rc < 0) {
    free(wakeup);
    return rc;
  }
  wakeup->async.data = wakeup;
  *out = wakeup;
  return 0;
}

void sip_wakeup_send(struct sip_wakeup *wakeup)
{
  (void)uv_async_send(
    &wakeup->async); /* fails only on a closed handle, which the contract excludes */
}

void sip_wakeup_close(struct sip_wakeup *wakeup)
{
  if (wakeup != NULL) {
    wakeup->fn = NULL;
    uv_close((uv_handle_t *)&wakeup->async, wakeup_on_close);
  }
}
