/* client_link.c - one connection: its life from the first attempt to its end, and its clock.
 *
 * A link is never mended: when anything about its connection is wrong it is broken, and the pool
 * makes another one. Whoever calls into a link must take it for gone afterwards. Loop thread. */
#include "postgres/client_state.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { ANSWER_SLACK_MS = 5000 }; /* the server's own limit comes first */

/* A handle of libuv outlives its link for a turn of the loop. */
struct sip_pg_watch {
  uv_poll_t poll;
  struct sip_pg_link *link;
};

struct sip_pg_canceller {
  struct sip_work work;
  PGcancel *cancel;
  struct sip_pg_link *link; /* NULL: gone in the meantime */
  struct sip_pg_pool *pool; /* counted */
};

/* --- the socket --- */

static void watch_on_close(uv_handle_t *handle)
{
  free(SIP_CONTAINER(handle, struct sip_pg_watch, poll));
}

void sip_pg_link_drop_watch(struct sip_pg_link *link)
{
  if (link->watch != NULL) {
    link->watch->link = NULL;
    (void)uv_poll_stop(&link->watch->poll); /* always 0 */
    uv_close((uv_handle_t *)&link->watch->poll, watch_on_close);
    link->watch = NULL;
  }
}

static void watch_on_ready(uv_poll_t *poll, int status, int events)
{
  struct sip_pg_watch *watch = SIP_CONTAINER(poll, struct sip_pg_watch, poll);

  (void)status; /* the next call of libpq finds out what is wrong */
  (void)events;
  if (watch->link != NULL) {
    sip_pg_link_turn(watch->link);
  }
}

int sip_pg_link_watch(struct sip_pg_link *link, int events)
{
  struct sip_pg_watch *watch = link->watch;

  if (watch == NULL) {
    watch = calloc(1, sizeof *watch);
    if (watch == NULL) {
      return UV_ENOMEM;
    }
    watch->link = link;
    if (uv_poll_init_socket(link->pool->loop, &watch->poll, PQsocket(link->conn)) < 0) {
      free(watch);
      return UV_EIO;
    }
    link->watch = watch;
  }
  return uv_poll_start(&watch->poll, events, watch_on_ready);
}

/* --- cancelling what runs at the server --- */

static void canceller_run(struct sip_work *work)
{
  char why[256];

  /* When it fails, the statement runs to its end. */
  (void)PQcancel(SIP_CONTAINER(work, struct sip_pg_canceller, work)->cancel, why, sizeof why);
}

static void canceller_done(struct sip_work *work, int status)
{
  struct sip_pg_canceller *canceller = SIP_CONTAINER(work, struct sip_pg_canceller, work);
  struct sip_pg_pool *pool = canceller->pool;

  (void)status;
  if (canceller->link != NULL) {
    canceller->link->canceller = NULL;
  }
  PQfreeCancel(canceller->cancel);
  free(canceller);
  sip_pg_pool_unref(pool);
}

void sip_pg_link_cancel(struct sip_pg_link *link, struct sip_pg_job *job)
{
  struct sip_pg_canceller *canceller;

  job->canceled = true;
  if (link->canceller != NULL || link->sent.next != &job->node || link->conn == NULL) {
    return; /* it is not its turn: see sip_pg_pipe_read */
  }
  canceller = calloc(1, sizeof *canceller);
  if (canceller == NULL) {
    return; /* it runs to its end, which the server limits */
  }
  canceller->cancel = PQgetCancel(link->conn);
  canceller->link = link;
  canceller->pool = link->pool;
  if (canceller->cancel == NULL ||
      sip_work_start(link->pool->loop, &canceller->work, canceller_run, canceller_done) < 0) {
    PQfreeCancel(canceller->cancel);
    free(canceller);
    return;
  }
  link->pool->refs++;
  link->canceller = canceller;
  link->was_canceled = true;
}

/* --- time --- */

static void link_on_timer(uv_timer_t *timer);

/* When something is to be looked at again. */
static uint64_t link_due(const struct sip_pg_link *link)
{
  const struct sip_pg_options *o = &link->pool->options;
  bool extra = link->pool->link_count > o->min;

  if (link->state < SIP_PG_READY) {
    return link->used_ms + o->connect_timeout_ms;
  } else if (link->sent_count > 0) {
    return o->statement_timeout_ms == 0
             ? UINT64_MAX
             : link->heard_ms + o->statement_timeout_ms + ANSWER_SLACK_MS;
  } else if (link->tx != NULL) {
    return UINT64_MAX;
  }
  return extra && link->used_ms + o->idle_ms < link->heard_ms + o->health_ms
           ? link->used_ms + o->idle_ms
           : link->heard_ms + o->health_ms;
}

void sip_pg_link_arm(struct sip_pg_link *link)
{
  uint64_t now = uv_now(link->pool->loop), due = link_due(link);

  if (due == UINT64_MAX) {
    (void)uv_timer_stop(&link->timer);
  } else {
    (void)uv_timer_start(&link->timer, link_on_timer, due > now ? due - now : 1, 0);
  }
}

static void ping_on_done(struct sip_pg_job *job, void *arg)
{
  (void)arg;
  sip_pg_job_free(job); /* when it failed, so did its connection */
}

static void link_ping(struct sip_pg_link *link)
{
  struct sip_pg_job *job = sip_pg_job_new(SIP_PG_PING);

  link->heard_ms = uv_now(link->pool->loop);
  if (job != NULL) { /* without memory: next time */
    job->pool = link->pool;
    job->done = ping_on_done;
    job->started = true;
    job->link = link;
    job->repeated = true; /* it is about this connection: not to be tried on another one */
    sip_list_push(&link->waiting, &job->node);
  }
  sip_pg_link_turn(link);
}

static void link_on_timer(uv_timer_t *timer)
{
  struct sip_pg_link *link = SIP_CONTAINER(timer, struct sip_pg_link, timer);
  const struct sip_pg_options *o = &link->pool->options;
  uint64_t now = uv_now(link->pool->loop);
  struct sip_err err = { 0 };

  if (now < link_due(link)) {
    sip_pg_link_arm(link);
  } else if (link->state < SIP_PG_READY) {
    sip_pg_error_connect(&err, link->pool, "no answer in time");
    sip_pg_link_break(link, &err);
  } else if (link->sent_count > 0) {
    (void)sip_err_named(&err, SIP_ESQL, "SQL_LOST",
                        "sql: %s: no answer for %llu ms: the connection was given up, and it is "
                        "not known what became of the statement",
                        link->pool->shown, (unsigned long long)(now - link->heard_ms));
    sip_pg_link_break(link, &err);
  } else if (link->pool->link_count > o->min && now >= link->used_ms + o->idle_ms) {
    sip_pg_link_break(link, &err); /* nobody needs it: nothing is under way */
  } else {
    link_ping(link);
  }
}

/* --- life --- */

static void link_on_close(uv_handle_t *handle)
{
  struct sip_pg_link *link = SIP_CONTAINER(handle, struct sip_pg_link, timer);
  struct sip_pg_pool *pool = link->pool;

  sip_pg_job_free(link->setup);
  free(link);
  sip_pg_pool_unref(pool);
}

static void setup_on_done(struct sip_pg_job *job, void *arg)
{
  struct sip_pg_link *link = arg;
  struct sip_err err = job->err;

  if (link->state == SIP_PG_GONE) {
    return; /* the link has it, and frees it */
  }
  if (err.code != 0) {
    sip_pg_error_connect(&err, link->pool, job->err.message);
    sip_pg_link_break(link, &err);
    return;
  }
  link->state = SIP_PG_READY;
  link->used_ms = link->heard_ms = uv_now(link->pool->loop);
  link->pool->ready_count++;
  link->pool->counts.opened++;
  sip_pg_pool_tried(link->pool, NULL);
  sip_pg_pool_pump(link->pool);
}

static struct sip_pg_job *setup_new(const struct sip_pg_pool *pool)
{
  struct sip_pg_job *job = sip_pg_job_new(SIP_PG_SCRIPT);
  unsigned long long limit = pool->options.statement_timeout_ms;

  if (job != NULL &&
      sip_buf_addf(&job->sql,
                   "SET TimeZone = 'UTC'; SET DateStyle = 'ISO, YMD'; SET bytea_output = 'hex';"
                   "SET client_min_messages = 'warning'; SET statement_timeout = %llu",
                   limit) < 0) {
    sip_pg_job_free(job);
    return NULL;
  }
  return job;
}

int sip_pg_link_new(struct sip_pg_pool *pool, struct sip_err *err)
{
  struct sip_pg_link *link = calloc(1, sizeof *link);
  int rc;

  if (link != NULL) {
    link->setup = setup_new(pool);
  }
  if (link == NULL || link->setup == NULL) {
    free(link);
    return sip_err_set(err, UV_ENOMEM, "sql: no memory for a connection");
  }
  sip_list_init(&link->waiting);
  sip_list_init(&link->sent);
  sip_list_init(&link->plans);
  link->pool = pool;
  link->used_ms = uv_now(pool->loop);
  (void)uv_timer_init(pool->loop, &link->timer); /* always 0 */
  sip_list_push(&pool->links, &link->node);
  pool->link_count++;
  pool->refs++;
  sip_pg_link_arm(link);
  rc = sip_pg_connect_start(link, err);
  if (rc < 0) {
    sip_pg_link_break(link, err);
    return 0; /* the pool knows already */
  }
  return 0;
}

/* Ends jobs, or gives back those that nothing was done for. */
static void link_give_back(struct sip_pg_link *link, struct sip_list *jobs,
                           const struct sip_err *err)
{
  struct sip_list *node, back;

  sip_list_init(&back);
  while ((node = sip_list_shift(jobs)) != NULL) {
    struct sip_pg_job *job = SIP_CONTAINER(node, struct sip_pg_job, node);
    bool harmless = job->kind == SIP_PG_BEGIN || job->kind == SIP_PG_PING || !job->sent;

    if (job->plan != NULL) {
      job->plan->users--;
      job->plan = NULL;
    }
    if (harmless && !job->dropped && !job->repeated && job != link->setup &&
        (job->tx == NULL || job->kind == SIP_PG_BEGIN) && !link->pool->closing) {
      sip_list_unshift(&back, node);
      continue;
    }
    job->err = *err;
    sip_pg_job_end(job);
  }
  while ((node = sip_list_shift(&back)) != NULL) { /* the last one first: each goes to the front */
    sip_pg_pool_requeue(link->pool, SIP_CONTAINER(node, struct sip_pg_job, node));
  }
}

void sip_pg_link_break(struct sip_pg_link *link, const struct sip_err *err)
{
  struct sip_pg_pool *pool = link->pool;
  bool was_ready = link->state == SIP_PG_READY;
  struct sip_list jobs;

  if (link->state == SIP_PG_GONE) {
    return;
  }
  link->state = SIP_PG_GONE;
  sip_pg_connect_stop(link);
  sip_pg_link_drop_watch(link); /* before libpq closes its descriptor */
  PQfinish(link->conn);
  link->conn = NULL;
  if (link->canceller != NULL) {
    link->canceller->link = NULL;
  }
  sip_list_remove(&link->node);
  pool->link_count--;
  pool->ready_count -= was_ready;
  pool->counts.broken += was_ready && err->code != 0;
  if (!was_ready && err->code != UV_ECANCELED) {
    sip_pg_pool_tried(pool, err);
  }
  if (link->tx != NULL) {
    link->tx->lost = *err;
    link->tx->link = NULL;
    link->tx = NULL;
  }
  sip_list_init(&jobs);
  sip_list_move(&jobs, &link->sent);
  sip_list_move(&jobs, &link->waiting);
  pool->refs++;
  link_give_back(link, &jobs, err);
  sip_pg_pipe_forget(link);
  uv_close((uv_handle_t *)&link->timer, link_on_close);
  sip_pg_pool_pump(pool);
  sip_pg_pool_unref(pool);
}

/* --- its turn --- */

static int link_connect(struct sip_pg_link *link, struct sip_err *err)
{
  int rc = sip_pg_connect_step(link, err);

  if (rc <= 0) {
    return rc;
  }
  link->state = SIP_PG_SETUP;
  link->setup->pool = link->pool;
  link->setup->link = link;
  link->setup->done = setup_on_done;
  link->setup->arg = link;
  link->setup->started = true;
  sip_list_push(&link->waiting, &link->setup->node);
  return 1;
}

/* One round. @return 0, 1 to stop quietly, or a negative code */
static int link_round(struct sip_pg_link *link, struct sip_err *err)
{
  int rc;

  if (link->state == SIP_PG_CONNECTING) {
    rc = link_connect(link, err);
    if (rc <= 0) {
      return rc == 0 ? 1 : rc;
    }
  }
  rc = sip_pg_pipe_read(link, err);
  if (rc == 0 && link->state != SIP_PG_GONE) {
    rc = sip_pg_pipe_send(link, err);
  }
  return rc;
}

void sip_pg_link_turn(struct sip_pg_link *link)
{
  struct sip_pg_pool *pool = link->pool;
  struct sip_err err = { 0 };
  int rc = 0;

  link->again = true;
  if (link->state == SIP_PG_GONE || link->resolve != NULL || link->turning) {
    return; /* whoever is in it goes round once more */
  }
  pool->refs++;
  link->turning = true;
  while (rc == 0 && link->again && link->state != SIP_PG_GONE) {
    link->again = false;
    rc = link_round(link, &err);
  }
  link->turning = false;
  if (rc < 0) {
    sip_pg_link_break(link, &err);
  } else if (rc == 0 && link->state != SIP_PG_GONE) {
    sip_pg_link_arm(link);
    if (link->state == SIP_PG_READY && link->tx == NULL && !sip_list_empty(&pool->queue)) {
      sip_pg_pool_pump(pool);
    }
  }
  sip_pg_pool_unref(pool);
}
