/* client.c - the pool: its queue, who gets which connection, when one is opened, its end.
 *
 * Loop thread only. A job is in one of four places: with its owner, in the queue, given to a
 * connection (client_link.c), or under way on it (client_pipe.c). The queue is strictly in order:
 * a transaction that waits for a connection of its own is not overtaken for ever. The pool frees
 * itself when it is closed and its last connection, request and transaction are gone. */
#include "postgres/client_state.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BACKOFF_FIRST_MS = 100, BACKOFF_MOST_MS = 5000 };

/* --- lifetimes --- */

static void pool_on_timer_close(uv_handle_t *handle)
{
  sip_pg_pool_unref(SIP_CONTAINER(handle, struct sip_pg_pool, timer));
}

void sip_pg_pool_unref(struct sip_pg_pool *pool)
{
  assert(pool->refs > 0);
  if (--pool->refs == 0) {
    free(pool->url);
    free(pool);
  }
}

/* The n-th part of a list with commas; the only one counts for all. @return NULL: there is none */
static const char *list_part(const char *list, size_t n, size_t *len)
{
  if (strchr(list, ',') == NULL) {
    *len = strlen(list);
    return list;
  }
  for (; n > 0 && list != NULL; n--) {
    list = strchr(list, ',');
    list = list == NULL ? NULL : list + 1;
  }
  *len = list == NULL ? 0 : strcspn(list, ",");
  return list;
}

bool sip_pg_place(const char *url, size_t n, char *out, size_t size)
{
  PQconninfoOption *list = PQconninfoParse(url, NULL);
  const char *hosts = "", *address = "", *ports = "";
  size_t host_len = 0, port_len = 0;
  const char *host, *port;

  for (const PQconninfoOption *at = list; at != NULL && at->keyword != NULL; at++) {
    const char *value = at->val == NULL ? "" : at->val;

    hosts = strcmp(at->keyword, "host") == 0 ? value : hosts;
    address = strcmp(at->keyword, "hostaddr") == 0 ? value : address;
    ports = strcmp(at->keyword, "port") == 0 ? value : ports;
  }
  hosts = *address != '\0' ? address : hosts; /* where libpq connects to */
  host =
    list == NULL || (n > 0 && strchr(hosts, ',') == NULL) ? NULL : list_part(hosts, n, &host_len);
  if (host != NULL) {
    port = list_part(ports, n, &port_len);
    host_len = *host == '/' ? 0 : host_len;
    (void)snprintf(out, size, "%.*s:%.*s", host_len == 0 ? 9 : (int)host_len,
                   host_len == 0 ? "localhost" : host, port_len == 0 ? 4 : (int)port_len,
                   port_len == 0 ? "5432" : port); /* a longer one is cut, and permitted nowhere */
    for (char *at = out; *at != '\0'; at++) {
      *at = (char)(*at >= 'A' && *at <= 'Z' ? *at - 'A' + 'a' : *at);
    }
  }
  PQconninfoFree(list); /* accepts NULL */
  return host != NULL;
}

/* What may be shown of a URL: the server and the database. */
static int pool_parse(struct sip_pg_pool *pool, struct sip_err *err)
{
  const char *host = "localhost", *port = "", *name = "";
  char *why = NULL;
  PQconninfoOption *list = PQconninfoParse(pool->url, &why);
  struct sip_buf shown = SIP_BUF_INIT;
  int rc;

  if (list == NULL) { /* libpq's words may quote the URL, and with it the password */
    PQfreemem(why);
    return sip_err_set(err, SIP_ECONFIG,
                       "sql: the URL does not parse (postgres://user:password@host:5432/database; "
                       "percent-encode what is special)");
  }
  for (const PQconninfoOption *at = list; at->keyword != NULL; at++) {
    const char *value = at->val == NULL ? "" : at->val;

    host = strcmp(at->keyword, "host") == 0 && *value != '\0' ? value : host;
    port = strcmp(at->keyword, "port") == 0 ? value : port;
    name = strcmp(at->keyword, "dbname") == 0 ? value : name;
  }
  rc = sip_buf_addf(&shown, "%s%s%s/%s", host, *port == '\0' ? "" : ":", port, name);
  PQconninfoFree(list);
  if (rc == 0) {
    (void)strncpy(pool->shown, shown.data, sizeof pool->shown - 1); /* cut when it is long */
  }
  sip_buf_deinit(&shown);
  return rc;
}

static size_t or_default(size_t value, size_t standard)
{
  return value == 0 ? standard : value;
}

int sip_pg_pool_new(struct sip_pg_pool **out, uv_loop_t *loop, const struct sip_pg_options *options,
                    struct sip_err *err)
{
  struct sip_pg_pool *pool = calloc(1, sizeof *pool);
  struct sip_pg_options *o;
  int rc = UV_ENOMEM;

  if (pool == NULL) {
    return sip_err_set(err, UV_ENOMEM, "sql: no memory for the connections");
  }
  o = &pool->options;
  *o = *options;
  o->max = or_default(o->max, 8);
  o->min = o->min > o->max ? o->max : o->min;
  o->pipeline = or_default(o->pipeline, 16);
  o->max_result_bytes = or_default(o->max_result_bytes, (size_t)64 << 20);
  o->max_queue = or_default(o->max_queue, 10000);
  o->wait_ms = or_default(o->wait_ms, 5000);
  o->connect_timeout_ms = or_default(o->connect_timeout_ms, 10000);
  o->idle_ms = or_default(o->idle_ms, 60000);
  o->health_ms = or_default(o->health_ms, 30000);
  pool->loop = loop;
  pool->refs = 1; /* of the timer */
  sip_list_init(&pool->queue);
  sip_list_init(&pool->links);
  pool->url = strdup(options->url);
  o->url = pool->url;
  if (pool->url != NULL) {
    rc = pool_parse(pool, err);
  } else {
    (void)sip_err_set(err, rc, "sql: no memory for the connections");
  }
  if (rc < 0) {
    free(pool->url);
    free(pool);
    return rc;
  }
  (void)uv_timer_init(loop, &pool->timer); /* always 0 */
  *out = pool;
  return 0;
}

void sip_pg_pool_status(const struct sip_pg_pool *pool, struct sip_pg_status *out)
{
  *out = pool->counts;
  out->waiting = pool->queued;
  for (const struct sip_list *at = pool->links.next; at != &pool->links; at = at->next) {
    const struct sip_pg_link *link = SIP_CONTAINER(at, struct sip_pg_link, node);

    out->connections += link->state == SIP_PG_READY;
    out->connecting += link->state < SIP_PG_READY;
    out->held += link->tx != NULL;
    out->idle += link->state == SIP_PG_READY && link->tx == NULL && link->sent_count == 0;
    out->under_way += link->sent_count;
  }
}

/* --- the queue --- */

/* Makes `err` of a job that has waited for too long. */
static void pool_explain(const struct sip_pg_pool *pool, struct sip_err *err)
{
  if (pool->ready_count == 0 && pool->trouble.code != 0) {
    *err = pool->trouble;
  } else if (pool->ready_count == 0) {
    (void)sip_err_named(err, SIP_ESQL, "SQL_CANNOT_OPEN",
                        "sql: %s: no connection within %llu ms (is the server reachable?)",
                        pool->shown, (unsigned long long)pool->options.wait_ms);
  } else {
    (void)sip_err_named(err, SIP_ESQL, "SQL_POOL_TIMEOUT",
                        "sql: %s: no connection became free within %llu ms: all %zu are in use "
                        "(max_connections; are transactions left open while something is awaited?)",
                        pool->shown, (unsigned long long)pool->options.wait_ms, pool->link_count);
  }
}

/* Ends those that may wait no longer, or all when trying again is of no use. */
static void pool_expire(struct sip_pg_pool *pool)
{
  uint64_t now = uv_now(pool->loop);
  struct sip_list over, *node;
  bool final = pool->ready_count == 0 && sip_pg_error_is_final(&pool->trouble);

  sip_list_init(&over);
  while (!sip_list_empty(&pool->queue)) {
    struct sip_pg_job *job = SIP_CONTAINER(pool->queue.next, struct sip_pg_job, node);

    if (!final && job->deadline_ms > now) {
      break;
    }
    sip_list_remove(&job->node);
    pool->queued--;
    pool_explain(pool, &job->err);
    sip_list_push(&over, &job->node);
  }
  if (final) { /* the next job tries anew: somebody may have put it right */
    memset(&pool->trouble, 0, sizeof pool->trouble);
    pool->next_try_ms = 0;
  }
  while ((node = sip_list_shift(&over)) != NULL) {
    sip_pg_job_end(SIP_CONTAINER(node, struct sip_pg_job, node));
  }
}

static bool is_exclusive(const struct sip_pg_job *job)
{
  return job->kind == SIP_PG_BEGIN || job->kind == SIP_PG_SCRIPT;
}

/* The connection for a job, or NULL: it waits. */
static struct sip_pg_link *pool_pick(struct sip_pg_pool *pool, const struct sip_pg_job *job)
{
  struct sip_pg_link *best = NULL;
  size_t least = pool->options.pipeline;
  bool grows = pool->link_count < pool->options.max && pool->failures == 0;

  for (struct sip_list *at = pool->links.next; at != &pool->links; at = at->next) {
    struct sip_pg_link *link = SIP_CONTAINER(at, struct sip_pg_link, node);
    size_t load = link->sent_count;

    if (link->state != SIP_PG_READY || link->tx != NULL || !sip_list_empty(&link->waiting) ||
        link->in_script) {
      continue;
    }
    if (load < least && (load == 0 || (!grows && !is_exclusive(job)))) {
      best = link;
      least = load;
    }
  }
  return best;
}

/* Whether one more connection is wanted now. */
static bool pool_wants_link(const struct sip_pg_pool *pool)
{
  size_t connecting = pool->link_count - pool->ready_count;
  size_t wanted = pool->queued;

  if (pool->link_count >= pool->options.max || uv_now(pool->loop) < pool->next_try_ms ||
      (pool->failures > 0 && connecting > 0)) { /* one at a time while the server is away */
    return false;
  }
  if (wanted == 0 && pool->failures == 0 && pool->counts.opened > 0 &&
      pool->link_count < pool->options.min) {
    return true;
  }
  return connecting < wanted;
}

static void pool_on_timer(uv_timer_t *timer)
{
  sip_pg_pool_pump(SIP_CONTAINER(timer, struct sip_pg_pool, timer));
}

static void pool_arm(struct sip_pg_pool *pool)
{
  uint64_t now = uv_now(pool->loop), due;

  if (sip_list_empty(&pool->queue)) {
    (void)uv_timer_stop(&pool->timer);
    return;
  }
  due = SIP_CONTAINER(pool->queue.next, struct sip_pg_job, node)->deadline_ms;
  if (pool->next_try_ms > now && pool->next_try_ms < due) {
    due = pool->next_try_ms;
  }
  (void)uv_timer_start(&pool->timer, pool_on_timer, due > now ? due - now : 1, 0);
}

static void pool_turn(struct sip_pg_pool *pool)
{
  struct sip_err err = { 0 };

  pool_expire(pool);
  while (!sip_list_empty(&pool->queue)) {
    struct sip_pg_job *job = SIP_CONTAINER(pool->queue.next, struct sip_pg_job, node);
    struct sip_pg_link *link = pool_pick(pool, job);

    if (link == NULL) {
      break;
    }
    sip_list_remove(&job->node);
    pool->queued--;
    job->link = link;
    if (job->kind == SIP_PG_BEGIN) {
      link->tx = job->tx;
      job->tx->link = link;
    }
    sip_list_push(&link->waiting, &job->node);
    sip_pg_link_turn(link);
  }
  while (!pool->closing && pool_wants_link(pool)) {
    if (sip_pg_link_new(pool, &err) < 0) {
      sip_pg_pool_tried(pool, &err);
    }
  }
}

void sip_pg_pool_pump(struct sip_pg_pool *pool)
{
  pool->again = true;
  if (pool->pumping || pool->closing) {
    return; /* whoever is in it goes round once more */
  }
  pool->pumping = true;
  pool->refs++;
  while (pool->again && !pool->closing) {
    pool->again = false;
    pool_turn(pool);
  }
  pool->pumping = false;
  if (!pool->closing) {
    pool_arm(pool);
  }
  sip_pg_pool_unref(pool);
}

void sip_pg_pool_requeue(struct sip_pg_pool *pool, struct sip_pg_job *job)
{
  job->link = NULL;
  job->sent = false;
  sip_list_unshift(&pool->queue, &job->node);
  pool->queued++;
}

void sip_pg_pool_tried(struct sip_pg_pool *pool, const struct sip_err *err)
{
  uint64_t pause = BACKOFF_FIRST_MS;

  if (err == NULL) {
    pool->failures = 0;
    pool->next_try_ms = 0;
    memset(&pool->trouble, 0, sizeof pool->trouble);
    return;
  }
  pool->trouble = *err;
  for (unsigned i = 0; i < pool->failures && pause < BACKOFF_MOST_MS; i++) {
    pause *= 2;
  }
  pool->failures++;
  pause = pause > BACKOFF_MOST_MS ? BACKOFF_MOST_MS : pause;
  pause -= uv_hrtime() / 1000 % (pause / 4); /* many clients do not come back at once */
  pool->next_try_ms = uv_now(pool->loop) + pause;
}

/* --- jobs --- */

void sip_pg_job_end(struct sip_pg_job *job)
{
  job->started = false;
  job->sent = false;
  job->link = NULL;
  if (job->dropped) {
    sip_pg_job_free(job);
  } else {
    job->done(job, job->arg);
  }
}

int sip_pg_start(struct sip_pg_pool *pool, struct sip_pg_job *job, sip_pg_done_fn done, void *arg,
                 struct sip_err *err)
{
  struct sip_pg_tx *tx = job->tx;

  if (pool->closing) {
    return sip_err_set(err, SIP_ECLOSED, "sql: the database was closed");
  }
  if (tx != NULL && job->kind != SIP_PG_BEGIN && tx->link == NULL) {
    if (tx->lost.code != 0) {
      *err = tx->lost;
      return tx->lost.code;
    }
    return sip_err_named(err, SIP_ESQL, "SQL_ROLLED_BACK", "sql: the transaction is over");
  }
  if (pool->queued >= pool->options.max_queue) {
    return sip_err_set(err, SIP_EQUEUEFULL, "sql: %s: %zu statements wait already", pool->shown,
                       pool->queued);
  }
  job->pool = pool;
  job->done = done;
  job->arg = arg;
  job->started = true;
  if (tx != NULL && job->kind != SIP_PG_BEGIN) {
    job->link = tx->link;
    sip_list_push(&tx->link->waiting, &job->node);
    sip_pg_link_turn(tx->link);
    return 0;
  }
  job->deadline_ms = uv_now(pool->loop) + pool->options.wait_ms;
  sip_list_push(&pool->queue, &job->node);
  pool->queued++;
  sip_pg_pool_pump(pool);
  return 0;
}

void sip_pg_pool_close(struct sip_pg_pool *pool)
{
  struct sip_list *node;
  struct sip_err err = { 0 };

  if (pool == NULL || pool->closing) {
    return;
  }
  pool->closing = true;
  (void)sip_err_set(&err, UV_ECANCELED, "sql: the database was closed");
  while (!sip_list_empty(&pool->links)) {
    sip_pg_link_break(SIP_CONTAINER(pool->links.next, struct sip_pg_link, node), &err);
  }
  while ((node = sip_list_shift(&pool->queue)) != NULL) {
    struct sip_pg_job *job = SIP_CONTAINER(node, struct sip_pg_job, node);

    pool->queued--;
    job->err = err;
    sip_pg_job_end(job);
  }
  (void)uv_timer_stop(&pool->timer);
  uv_close((uv_handle_t *)&pool->timer, pool_on_timer_close);
}
