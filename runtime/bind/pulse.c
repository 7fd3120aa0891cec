/* pulse.c - a timer of which only its lateness matters. Unreferenced: it keeps no loop alive. */
#include "bind/pulse.h"

#include "bind/metrics_lua.h"
#include "core/base.h"
#include "core/metrics.h"
#include "vm/vm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EVERY_MS = 200, NS_PER_MS = 1000000 };

static const char service; /* its address is the key */

struct pulse {
  uv_timer_t timer;
  struct sip_series *lag; /* borrowed from the shard, which the state keeps */
  uint64_t due_ns;
};

static void pulse_begin(struct pulse *pulse);

static void pulse_on_timeout(uv_timer_t *timer)
{
  struct pulse *pulse = SIP_CONTAINER(timer, struct pulse, timer);
  uint64_t now = uv_hrtime();

  sip_series_observe(pulse->lag, now > pulse->due_ns ? (double)(now - pulse->due_ns) / 1e9 : 0);
  pulse_begin(pulse);
}

/* The timer counts from the loop's own time, which is as old as this turn of it. */
static void pulse_begin(struct pulse *pulse)
{
  uv_update_time(pulse->timer.loop);
  pulse->due_ns = uv_hrtime() + (uint64_t)EVERY_MS * NS_PER_MS;
  (void)uv_timer_start(&pulse->timer, pulse_on_timeout, EVERY_MS, 0); /* the callback is set */
}

static void pulse_on_close(uv_handle_t *handle)
{
  free(SIP_CONTAINER((uv_timer_t *)handle, struct pulse, timer));
}

int sip_pulse_start(struct sip_vm *vm, struct sip_err *err)
{
  static const char *const labels[] = { "worker" };
  const struct sip_metric_spec spec = { .kind = SIP_HISTOGRAM,
                                        .name = "sipeat_loop_lag_seconds",
                                        .help = "How late a worker came to what was due.",
                                        .labels = labels,
                                        .label_count = 1 };
  lua_State *L = sip_vm_state(vm);
  struct sip_metrics_shard *shard = NULL;
  struct sip_metric *metric = NULL;
  struct pulse *pulse;
  char number[16];
  int workers, rc = sip_metrics_lua_shard(&shard, vm, err);

  rc = rc < 0 ? rc : sip_metric_declare(&metric, shard, &spec, err);
  if (metric == NULL) {
    return rc;
  }
  pulse = calloc(1, sizeof *pulse);
  (void)snprintf(number, sizeof number, "%d", sip_vm_worker(L, &workers));
  if (pulse != NULL) {
    pulse->lag = sip_metric_series(metric, &(struct sip_slice){ number, strlen(number) });
  }
  if (pulse == NULL || pulse->lag == NULL || sip_vm_set_service(vm, &service, pulse) < 0) {
    free(pulse);
    return sip_err_set(err, UV_ENOMEM, "metrics: no memory");
  }
  (void)uv_timer_init(sip_vm_loop(L), &pulse->timer); /* always 0 */
  uv_unref((uv_handle_t *)&pulse->timer);
  pulse_begin(pulse);
  return 0;
}

void sip_pulse_stop(struct sip_vm *vm)
{
  struct pulse *pulse = sip_vm_service(sip_vm_state(vm), &service);

  if (pulse != NULL) {
    (void)sip_vm_set_service(vm, &service, NULL); /* removing allocates nothing */
    uv_close((uv_handle_t *)&pulse->timer, pulse_on_close);
  }
}
