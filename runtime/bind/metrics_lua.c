/* metrics_lua.c - module sipeat.core.metrics, which stdlib/metrics.lua is made of.
 *
 * declare(kind, name, help, labels, options) -> metric | nil, message, code; kind is "counter",
 * "gauge" or "histogram", options = {limit?, merge?, buckets?}. metric:add(n?, value…), :set(n,
 * value…), :observe(n, value…), :observe_traced(trace_id, n, value…), :remove(value…), :kind() ->
 * kind, merge; :with(value…) -> series with add(n?), set(n), observe(n). seconds() -> a monotonic
 * time; since(series, began) observes how long ago that was. text(format) -> all metrics of the
 * process as "openmetrics" or "prometheus", without the last line. A wrong number throws; a value
 * of a label is shown by tostring. Loop thread. */
#include "bind/metrics_lua.h"

#include "bind/bind.h"
#include "core/metrics.h"
#include "vm/vm.h"

#include <lauxlib.h>
#include <math.h>
#include <stdlib.h>

static const char METRIC[] = "sipeat.metric";
static const char SERIES[] = "sipeat.metric.series";
static const char SHARD[] = "sipeat.metrics.shard";
static const char BUFFER[] = "sipeat.metrics.text";
static const char service; /* its address is the key of the shard */
static const char *const kinds[] = { "counter", "gauge", "histogram", NULL };
static const char *const merges[] = { "last", "sum", "max", NULL };

/* --- the shard of a state --- */

static int shard_gc(lua_State *L)
{
  struct sip_metrics_shard **box = luaL_checkudata(L, 1, SHARD);

  sip_metrics_shard_unref(*box);
  *box = NULL;
  return 0;
}

/* Protected: a box for the shard that the registry keeps. Argument: where to say its address. */
static int make_box(lua_State *L)
{
  struct sip_metrics_shard ***out = lua_touserdata(L, 1);

  *out = sip_box_new(L, SHARD, shard_gc);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &service);
  return 0;
}

int sip_metrics_lua_attach(struct sip_vm *vm, struct sip_metrics *metrics, struct sip_err *err)
{
  lua_State *L = sip_vm_state(vm);
  struct sip_metrics_shard **box = NULL;
  int rc;

  if (!lua_checkstack(L, 2)) {
    return sip_err_set(err, UV_ENOMEM, "metrics: no memory for the stack");
  }
  lua_pushcfunction(L, make_box);
  lua_pushlightuserdata(L, (void *)&box);
  rc = sip_vm_call(vm, 1, 0, err);
  if (rc == 0 && sip_metrics_shard_new(box, metrics) < 0) {
    rc = sip_err_set(err, UV_ENOMEM, "metrics: no memory");
  }
  return rc < 0 ? rc : sip_vm_set_service(vm, &service, *box);
}

int sip_metrics_lua_shard(struct sip_metrics_shard **out, struct sip_vm *vm, struct sip_err *err)
{
  struct sip_metrics_shard *shard = sip_vm_service(sip_vm_state(vm), &service);
  struct sip_metrics *metrics = NULL;
  int rc = 0;

  if (shard == NULL) {
    rc = sip_metrics_new(&metrics);
    rc = rc < 0 ? sip_err_set(err, rc, "metrics: no memory")
                : sip_metrics_lua_attach(vm, metrics, err);
    sip_metrics_unref(metrics); /* the shard keeps it */
    shard = sip_vm_service(sip_vm_state(vm), &service);
  }
  if (rc == 0) {
    *out = shard;
  }
  return rc;
}

/* --- metrics --- */

static struct sip_metric *check_metric(lua_State *L, enum sip_metric_kind kind, const char *verb)
{
  struct sip_metric *metric = *(struct sip_metric **)luaL_checkudata(L, 1, METRIC);

  if (sip_metric_kind(metric) != kind) {
    luaL_error(L, "metric %s: a %s has no %s", sip_metric_name(metric),
               kinds[sip_metric_kind(metric)], verb);
  }
  return metric;
}

static struct sip_series *check_series(lua_State *L, struct sip_metric *metric, int first)
{
  struct sip_slice values[SIP_METRIC_LABELS];
  size_t count = sip_metric_labels(metric);
  struct sip_series *series;

  if (lua_gettop(L) < first - 1 || lua_gettop(L) - first + 1 != (int)count) {
    luaL_error(L, "metric %s: it has %d labels, got %d values", sip_metric_name(metric), (int)count,
               lua_gettop(L) - first + 1);
  }
  luaL_checkstack(L, (int)count, NULL);
  for (size_t i = 0; i < count; i++) {
    int index = first + (int)i;

    values[i].data = lua_type(L, index) == LUA_TSTRING ? lua_tolstring(L, index, &values[i].len)
                                                       : luaL_tolstring(L, index, &values[i].len);
  }
  series = sip_metric_series(metric, values);
  if (series == NULL) {
    luaL_error(L, "metric %s: not enough memory", sip_metric_name(metric));
  }
  return series;
}

static double check_number(lua_State *L, int index)
{
  double number = luaL_checknumber(L, index);

  luaL_argcheck(L, !isnan(number), index, "not a number");
  return number;
}

static int l_add(lua_State *L)
{
  struct sip_metric *metric = *(struct sip_metric **)luaL_checkudata(L, 1, METRIC);
  double n = lua_isnoneornil(L, 2) ? 1 : check_number(L, 2);

  if (lua_gettop(L) < 2) {
    lua_settop(L, 2);
  }
  if (sip_metric_kind(metric) == SIP_COUNTER) {
    luaL_argcheck(L, n >= 0 && isfinite(n), 2, "a counter only grows");
  } else {
    (void)check_metric(L, SIP_GAUGE, "add");
    luaL_argcheck(L, sip_metric_merge(metric) == SIP_MERGE_SUM, 1,
                  "a gauge is added to only with merge = \"sum\"");
  }
  sip_series_add(check_series(L, metric, 3), n);
  return 0;
}

static int l_set(lua_State *L)
{
  struct sip_metric *metric = check_metric(L, SIP_GAUGE, "set");
  double value = luaL_checknumber(L, 2);

  sip_series_set(check_series(L, metric, 3), value);
  return 0;
}

static int l_observe(lua_State *L)
{
  struct sip_metric *metric = check_metric(L, SIP_HISTOGRAM, "observe");
  double value = check_number(L, 2);

  sip_series_observe(check_series(L, metric, 3), value);
  return 0;
}

static int l_observe_traced(lua_State *L)
{
  struct sip_metric *metric = check_metric(L, SIP_HISTOGRAM, "observe");
  const char *trace_id = luaL_checkstring(L, 2);
  double value = check_number(L, 3);

  sip_series_observe_traced(check_series(L, metric, 4), value, trace_id);
  return 0;
}

static int l_remove(lua_State *L)
{
  struct sip_metric *metric = *(struct sip_metric **)luaL_checkudata(L, 1, METRIC);
  struct sip_slice values[SIP_METRIC_LABELS];
  size_t count = sip_metric_labels(metric);

  if (lua_gettop(L) - 1 != (int)count || count == 0) {
    return luaL_error(L, "metric %s: it has %d labels, got %d values", sip_metric_name(metric),
                      (int)count, lua_gettop(L) - 1);
  }
  luaL_checkstack(L, (int)count, NULL);
  for (size_t i = 0; i < count; i++) {
    values[i].data = luaL_tolstring(L, (int)i + 2, &values[i].len);
  }
  sip_metric_remove(metric, values);
  return 0;
}

static int series_gc(lua_State *L)
{
  struct sip_series **box = luaL_checkudata(L, 1, SERIES);

  sip_series_drop(*box);
  *box = NULL;
  return 0;
}

static struct sip_series *check_kept(lua_State *L, enum sip_metric_kind kind)
{
  struct sip_series *series = *(struct sip_series **)luaL_checkudata(L, 1, SERIES);

  luaL_argcheck(L, series != NULL && sip_metric_kind(series->metric) == kind, 1,
                "of another kind of metric");
  return series;
}

static int l_series_add(lua_State *L)
{
  double n = lua_isnoneornil(L, 2) ? 1 : check_number(L, 2);

  luaL_argcheck(L, n >= 0 && isfinite(n), 2, "a counter only grows");
  sip_series_add(check_kept(L, SIP_COUNTER), n);
  return 0;
}

static int l_series_set(lua_State *L)
{
  sip_series_set(check_kept(L, SIP_GAUGE), luaL_checknumber(L, 2));
  return 0;
}

static int l_series_observe(lua_State *L)
{
  sip_series_observe(check_kept(L, SIP_HISTOGRAM), check_number(L, 2));
  return 0;
}

/* since(series, began): observes the time since then, as of seconds(). */
static int l_since(lua_State *L)
{
  sip_series_observe(check_kept(L, SIP_HISTOGRAM), (double)uv_hrtime() / 1e9 - check_number(L, 2));
  return 0;
}

static int l_with(lua_State *L)
{
  static const luaL_Reg methods[] = { { "add", l_series_add },
                                      { "set", l_series_set },
                                      { "observe", l_series_observe },
                                      { NULL, NULL } };
  struct sip_metric *metric = *(struct sip_metric **)luaL_checkudata(L, 1, METRIC);
  struct sip_series *series = check_series(L, metric, 2);
  struct sip_series **box = sip_box_class(L, SERIES, series_gc, methods);

  *box = sip_series_keep(series);
  return 1;
}

/* seconds() -> a time that only grows, to the nanosecond: of no day. */
static int l_seconds(lua_State *L)
{
  lua_pushnumber(L, (double)uv_hrtime() / 1e9);
  return 1;
}

static int l_kind(lua_State *L)
{
  const struct sip_metric *metric = *(struct sip_metric **)luaL_checkudata(L, 1, METRIC);

  lua_pushstring(L, kinds[sip_metric_kind(metric)]);
  lua_pushstring(L, merges[sip_metric_merge(metric)]);
  return 2;
}

static int metric_gc(lua_State *L)
{
  *(struct sip_metric **)luaL_checkudata(L, 1, METRIC) = NULL; /* the shard owns it */
  return 0;
}

static void read_labels(lua_State *L, int index, struct sip_metric_spec *spec, const char **labels)
{
  size_t count = (size_t)lua_rawlen(L, index);

  luaL_argcheck(L, count <= SIP_METRIC_LABELS, index, "at most 8 labels");
  luaL_checkstack(L, SIP_METRIC_LABELS, NULL);
  for (size_t i = 0; i < count; i++) {
    luaL_argcheck(L, lua_rawgeti(L, index, (lua_Integer)i + 1) == LUA_TSTRING, index,
                  "names of labels are text");
    labels[i] = lua_tostring(L, -1); /* stays on the stack */
  }
  spec->labels = labels;
  spec->label_count = count;
}

static void read_buckets(lua_State *L, int options, struct sip_metric_spec *spec, double *buckets)
{
  if (lua_getfield(L, options, "buckets") == LUA_TTABLE) {
    spec->bucket_count = (size_t)lua_rawlen(L, -1);
    luaL_argcheck(L, spec->bucket_count <= SIP_METRIC_BUCKETS, options, "at most 32 buckets");
    for (size_t i = 0; i < spec->bucket_count; i++) {
      (void)lua_rawgeti(L, -1, (lua_Integer)i + 1);
      buckets[i] = luaL_checknumber(L, -1);
      lua_pop(L, 1);
    }
    spec->buckets = buckets;
  }
  lua_pop(L, 1);
}

static int l_declare(lua_State *L)
{
  struct sip_metric_spec spec = { .kind = (enum sip_metric_kind)luaL_checkoption(L, 1, NULL, kinds),
                                  .name = luaL_checkstring(L, 2),
                                  .help = luaL_checkstring(L, 3) };
  const char *labels[SIP_METRIC_LABELS];
  double buckets[SIP_METRIC_BUCKETS];
  struct sip_metrics_shard *shard = NULL;
  struct sip_err err = { 0 };
  static const luaL_Reg methods[] = {
    { "add", l_add },         { "set", l_set },
    { "observe", l_observe }, { "observe_traced", l_observe_traced },
    { "remove", l_remove },   { "with", l_with },
    { "kind", l_kind },       { NULL, NULL }
  };
  struct sip_metric **box;

  luaL_checktype(L, 4, LUA_TTABLE);
  luaL_checktype(L, 5, LUA_TTABLE);
  read_labels(L, 4, &spec, labels);
  read_buckets(L, 5, &spec, buckets);
  lua_getfield(L, 5, "limit");
  spec.limit = (size_t)luaL_optinteger(L, -1, 0);
  lua_getfield(L, 5, "merge");
  spec.merge = (enum sip_metric_merge)luaL_checkoption(L, -1, "last", merges);
  box = sip_box_class(L, METRIC, metric_gc, methods);
  if (sip_metrics_lua_shard(&shard, sip_vm_of(L), &err) < 0 ||
      sip_metric_declare(box, shard, &spec, &err) < 0) {
    return sip_push_err(L, &err);
  }
  return 1;
}

static int text_gc(lua_State *L)
{
  struct sip_buf **box = luaL_checkudata(L, 1, BUFFER);

  if (*box != NULL) {
    sip_buf_deinit(*box);
    free(*box);
    *box = NULL;
  }
  return 0;
}

static int l_text(lua_State *L)
{
  static const char *const formats[] = { "openmetrics", "prometheus", NULL };
  enum sip_metrics_format format = (enum sip_metrics_format)luaL_checkoption(L, 1, NULL, formats);
  struct sip_metrics_shard *shard = NULL;
  struct sip_err err = { 0 };
  struct sip_buf **box;

  if (sip_metrics_lua_shard(&shard, sip_vm_of(L), &err) < 0) {
    return luaL_error(L, "%s", err.message);
  }
  box = sip_box_new(L, BUFFER, text_gc);
  *box = calloc(1, sizeof **box);
  if (*box == NULL || sip_metrics_write(shard, format, *box) < 0) {
    return luaL_error(L, "metrics: not enough memory");
  }
  lua_pushlstring(L, (*box)->data == NULL ? "" : (*box)->data, (*box)->len);
  return 1;
}

int sip_open_metrics(lua_State *L)
{
  static const luaL_Reg functions[] = { { "declare", l_declare },
                                        { "text", l_text },
                                        { "seconds", l_seconds },
                                        { "since", l_since },
                                        { NULL, NULL } };

  luaL_newlib(L, functions);
  return 1;
}
