/* writer.c - the thread of the outbox's file: the only one that touches it.
 *
 * A turn takes all that waits and makes one transaction of it, so that many records share one
 * fsync; those who put them in are told after the commit. When the file cannot be written, the
 * records of the turn fail together with all that wait behind them, so that none overtakes another
 * (or they stay, when the policy is to wait), and a write is tried again each second. */
#include "outbox/state.h"

#include "core/log.h"

#include <inttypes.h>
#include <pthread.h>
#include <string.h>

enum {
  LOOK_AGAIN_MS = 1000 /* at a file that cannot be written, and for changes of other processes */
};

/* What a turn works on. */
struct turn {
  struct sip_list appends, finished;
  size_t append_count, append_bytes;
  struct sip_outbox_read read;
  uint64_t keep_bytes; /* the oldest go until no more are left; UINT64_MAX: none goes */
  bool stopping;
  int64_t dropped, refusals, sent;
  int status; /* of the transaction */
  struct sip_err err;
};

static int64_t now_ms(void)
{
  uv_timeval64_t now = { 0 };

  (void)uv_gettimeofday(&now); /* fails only without its argument */
  return now.tv_sec * 1000 + now.tv_usec / 1000;
}

static struct sip_outbox_record *record_at(struct sip_list *node)
{
  return SIP_CONTAINER(node, struct sip_outbox_record, link);
}

/* --- one transaction --- */

static int write_appends(struct sip_outbox *outbox, struct turn *turn)
{
  int rc = 0;

  for (struct sip_list *n = turn->appends.next; rc == 0 && n != &turn->appends; n = n->next) {
    rc = sip_outbox_file_append(outbox->file, record_at(n), &turn->err);
  }
  return rc;
}

/* Takes out what is finished: neighbours in one statement. */
static int write_finished(struct sip_outbox *outbox, struct turn *turn)
{
  int64_t first = 0, last = 0, now = now_ms();
  int rc = 0;

  for (struct sip_list *n = turn->finished.next; rc == 0 && n != &turn->finished; n = n->next) {
    const struct sip_outbox_record *record = record_at(n);

    if (record->refusal != NULL) {
      rc = sip_outbox_file_refuse(outbox->file, record, now, &turn->err);
      turn->refusals++;
      continue;
    }
    turn->sent++;
    if (last != 0 && record->seq == last + 1) {
      last = record->seq;
      continue;
    }
    if (last != 0) {
      rc = sip_outbox_file_remove(outbox->file, first, last, &turn->err);
    }
    first = last = record->seq;
  }
  return rc == 0 && last != 0 ? sip_outbox_file_remove(outbox->file, first, last, &turn->err) : rc;
}

static int64_t drop_oldest(struct sip_outbox *outbox, struct turn *turn)
{
  const struct sip_outbox_totals *totals = sip_outbox_file_totals(outbox->file);
  uint64_t bytes = totals->queued_bytes + totals->refused_bytes;

  return bytes <= turn->keep_bytes
           ? 0
           : sip_outbox_file_drop(outbox->file, bytes - turn->keep_bytes, &turn->err);
}

static int write_turn(struct sip_outbox *outbox, struct turn *turn, bool durable)
{
  int64_t dropped = 0;
  int rc = sip_outbox_file_begin(outbox->file, durable, &turn->err);

  if (rc == 0) {
    rc = write_appends(outbox, turn);
  }
  if (rc == 0) {
    rc = write_finished(outbox, turn);
  }
  if (rc == 0) {
    dropped = drop_oldest(outbox, turn);
    rc = dropped < 0 ? (int)dropped : 0;
  }
  if (rc == 0 && turn->status < 0) { /* it could not be written before: can it now? */
    rc = sip_outbox_file_probe(outbox->file, &turn->err);
  }
  if (rc == 0) {
    rc = sip_outbox_file_commit(outbox->file, &turn->err);
  }
  if (rc < 0) {
    sip_outbox_file_rollback(outbox->file);
    return rc;
  }
  turn->dropped = dropped;
  return 0;
}

static void tell(const struct turn *turn, int before)
{
  if (turn->status < 0 && before == 0) {
    sip_log(SIP_LOG_ERROR, "outbox", NULL, "%s", turn->err.message);
  } else if (turn->status == 0 && before < 0) {
    sip_log(SIP_LOG_INFO, "outbox", NULL, "it can be written again");
  }
  if (turn->dropped > 0) {
    sip_log(SIP_LOG_WARN, "outbox", NULL,
            "full: the oldest %" PRId64 " records were dropped (when_full is drop_oldest)",
            turn->dropped);
  }
}

/* Does the turn's work; turn->status is what the last one ended with. */
static void turn_run(struct sip_outbox *outbox, struct turn *turn)
{
  int before = turn->status;
  bool appends = !sip_list_empty(&turn->appends), refused = false;

  for (struct sip_list *n = turn->finished.next; n != &turn->finished; n = n->next) {
    refused = refused || record_at(n)->refusal != NULL;
  }
  if (appends || !sip_list_empty(&turn->finished) || before < 0) {
    turn->status = write_turn(outbox, turn, appends || refused || before < 0);
  } else if (!turn->read.wanted) {
    (void)sip_outbox_file_refresh(outbox->file, &turn->err); /* tried again in a second */
  }
  if (turn->read.wanted) {
    struct sip_outbox_read *read = &turn->read;
    struct sip_err err = { 0 };

    sip_list_init(&read->records);
    read->status = sip_outbox_file_read(outbox->file, read->topic, read->after, read->upto,
                                        read->max_records, read->max_bytes, &read->records, &err);
    if (read->status < 0) {
      sip_log(SIP_LOG_ERROR, "outbox", NULL, "%s", err.message);
    }
  }
  tell(turn, before);
}

/* --- between the loops and the thread; under mu --- */

static bool has_work(const struct sip_outbox *outbox)
{
  return outbox->stopping || !sip_list_empty(&outbox->appends) ||
         !sip_list_empty(&outbox->finished) || (outbox->read.wanted && !outbox->read.done);
}

static void turn_take(struct sip_outbox *outbox, struct turn *turn)
{
  memset(turn, 0, sizeof *turn);
  sip_list_init(&turn->appends);
  sip_list_init(&turn->finished);
  sip_list_move(&turn->appends, &outbox->appends);
  sip_list_move(&turn->finished, &outbox->finished);
  turn->append_count = outbox->append_count;
  turn->append_bytes = outbox->append_bytes;
  turn->keep_bytes = outbox->when_full == SIP_OUTBOX_DROP_OLDEST ? outbox->max_bytes : UINT64_MAX;
  turn->read.wanted = outbox->read.wanted && !outbox->read.done;
  if (turn->read.wanted) {
    turn->read = outbox->read;
  }
  turn->stopping = outbox->stopping;
  turn->status = outbox->failure.code;
}

/* Hands records to their clients, which report them on their loops. */
static void give_reports(struct sip_outbox *outbox, struct sip_list *records, bool are_failed)
{
  struct sip_list *node;

  while ((node = sip_list_shift(records)) != NULL) {
    struct sip_outbox_record *record = record_at(node);

    record->failed = are_failed;
    outbox->append_count--;
    outbox->append_bytes -= record->bytes;
    sip_list_push(&record->client->reports, node);
  }
}

static void put_back(struct sip_list *list, struct sip_list *first)
{
  sip_list_move(first, list);
  sip_list_move(list, first);
}

/* @return whether there is something in it for the loops */
static bool turn_give(struct sip_outbox *outbox, struct turn *turn)
{
  bool is_bad = turn->status < 0;
  int64_t last_seq = outbox->totals.last_seq;

  outbox->totals = *sip_outbox_file_totals(outbox->file);
  if (is_bad) {
    outbox->failure = outbox->last_failure = turn->err;
    put_back(&outbox->finished, &turn->finished);
  } else {
    outbox->failure.code = 0;
    outbox->put += turn->append_count;
    outbox->commits += turn->append_count > 0 || turn->refusals > 0;
    outbox->sent += (uint64_t)turn->sent;
    outbox->refusals += (uint64_t)turn->refusals;
    outbox->dropped += (uint64_t)turn->dropped;
  }
  if (is_bad && outbox->when_full == SIP_OUTBOX_WAIT && !outbox->ending) {
    put_back(&outbox->appends, &turn->appends);
  } else {
    give_reports(outbox, &turn->appends, is_bad);
    if (is_bad) {
      give_reports(outbox, &outbox->appends, true);
    }
  }
  if (turn->read.wanted) {
    outbox->read.done = true;
    outbox->read.status = turn->read.status;
    sip_list_move(&outbox->read.records, &turn->read.records);
  }
  return turn->read.wanted || turn->append_count > 0 || outbox->totals.last_seq != last_seq;
}

static void wake_clients(struct sip_outbox *outbox)
{
  for (struct sip_list *n = outbox->clients.next; n != &outbox->clients; n = n->next) {
    sip_wakeup_send(SIP_CONTAINER(n, struct sip_outbox_client, link)->wakeup);
  }
}

/* --- the thread --- */

static bool open_file(struct sip_outbox *outbox)
{
  struct sip_err err = { 0 };
  int rc = sip_outbox_file_open(&outbox->file, outbox->path, &err); /* nobody changes path now */

  uv_mutex_lock(&outbox->mu);
  if (rc == 0) {
    outbox->totals = *sip_outbox_file_totals(outbox->file);
    memcpy(outbox->id, sip_outbox_file_id(outbox->file), 17);
    outbox->phase = SIP_OUTBOX_OPEN;
  } else {
    outbox->failure = outbox->last_failure = err;
    outbox->phase = SIP_OUTBOX_BROKEN;
    give_reports(outbox, &outbox->appends, true);
  }
  uv_cond_broadcast(&outbox->opened);
  wake_clients(outbox);
  uv_mutex_unlock(&outbox->mu);
  return rc == 0;
}

static void loop(struct sip_outbox *outbox)
{
  struct turn turn;

  do {
    uv_mutex_lock(&outbox->mu);
    if (!has_work(outbox) || (outbox->failure.code < 0 && !outbox->ending)) {
      (void)uv_cond_timedwait(&outbox->work, &outbox->mu, LOOK_AGAIN_MS * (uint64_t)1000000);
    }
    turn_take(outbox, &turn);
    uv_mutex_unlock(&outbox->mu);
    turn_run(outbox, &turn);
    uv_mutex_lock(&outbox->mu);
    if (turn_give(outbox, &turn)) {
      wake_clients(outbox);
    }
    uv_mutex_unlock(&outbox->mu);
    sip_outbox_records_free(&turn.finished); /* outside of the lock */
  } while (!turn.stopping);
}

void sip_outbox_run(void *arg)
{
  struct sip_outbox *outbox = arg;

  (void)pthread_setname_np(pthread_self(), "sip-outbox"); /* for people only */
  if (open_file(outbox)) {
    loop(outbox);
    sip_outbox_file_close(outbox->file);
    outbox->file = NULL;
  }
}
