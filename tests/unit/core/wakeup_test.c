/* wakeup_test.c - what other threads send reaches the loop: merged, never lost, and not after the
 * close. */
#include "core/wakeup.h"

#include "support/test.h"

#include <stdatomic.h>
#include <stdbool.h>

enum { SENDERS = 4, SENDS = 20000 };

struct receiver {
  struct sip_wakeup *wakeup;
  atomic_int sent; /* by all threads */
  int seen;        /* of these, when it was called last */
  int calls;
  bool closes_first; /* at its first call, whatever is on its way */
};

static void on_wakeup(void *arg)
{
  struct receiver *receiver = arg;

  receiver->calls++;
  receiver->seen = atomic_load(&receiver->sent);
  if (receiver->closes_first || receiver->seen == SENDERS * SENDS) {
    sip_wakeup_close(receiver->wakeup);
    receiver->wakeup = NULL;
  }
}

static void send_many(void *arg)
{
  struct receiver *receiver = arg;
  struct sip_wakeup *wakeup = receiver->wakeup; /* the loop runs once all of them have begun */

  for (int i = 0; i < SENDS; i++) {
    (void)atomic_fetch_add(&receiver->sent, 1);
    sip_wakeup_send(wakeup);
  }
}

static void send_once(void *arg)
{
  sip_wakeup_send(((struct receiver *)arg)->wakeup);
}

/* The loop ends by itself only after the last send was seen. */
static void the_last_send_is_seen(void)
{
  struct receiver receiver = { 0 };
  uv_thread_t threads[SENDERS];
  uv_loop_t loop;

  CHECK_INT(uv_loop_init(&loop), 0);
  CHECK_INT(sip_wakeup_new(&receiver.wakeup, &loop, on_wakeup, &receiver), 0);
  for (int i = 0; i < SENDERS; i++) {
    CHECK_INT(uv_thread_create(&threads[i], send_many, &receiver), 0);
  }
  for (int i = 0; i < SENDERS; i++) {
    CHECK_INT(uv_thread_join(&threads[i]), 0);
  }
  CHECK_INT(uv_run(&loop, UV_RUN_DEFAULT), 0);
  CHECK_INT(receiver.seen, SENDERS * SENDS);
  CHECK_INT(receiver.calls, 1); /* all of them came before the loop did */
  CHECK_INT(uv_loop_close(&loop), 0);
}

/* Each send is on its way, or in its system call, while the loop closes. */
static void a_close_waits_for_who_sends(void)
{
  enum { ROUNDS = 500 };

  for (int i = 0; i < ROUNDS; i++) {
    struct receiver receiver = { .closes_first = true };
    uv_thread_t thread;
    uv_loop_t loop;

    CHECK_INT(uv_loop_init(&loop), 0);
    CHECK_INT(sip_wakeup_new(&receiver.wakeup, &loop, on_wakeup, &receiver), 0);
    CHECK_INT(uv_thread_create(&thread, send_once, &receiver), 0);
    CHECK_INT(uv_run(&loop, UV_RUN_DEFAULT), 0);
    CHECK_INT(receiver.calls, 1);
    CHECK_INT(uv_thread_join(&thread), 0);
    CHECK_INT(uv_loop_close(&loop), 0);
  }
}

/* The loop sleeps in between: each send wakes it. */
static void each_turn_is_woken(void)
{
  enum { TURNS = 1000 };
  struct receiver receiver = { 0 };
  uv_loop_t loop;

  CHECK_INT(uv_loop_init(&loop), 0);
  CHECK_INT(sip_wakeup_new(&receiver.wakeup, &loop, on_wakeup, &receiver), 0);
  for (int i = 1; i <= TURNS; i++) {
    uv_thread_t thread;

    CHECK_INT(uv_thread_create(&thread, send_once, &receiver), 0);
    CHECK_INT(uv_run(&loop, UV_RUN_ONCE) != 0, 1);
    CHECK_INT(uv_thread_join(&thread), 0);
    CHECK_INT(receiver.calls, i);
  }
  sip_wakeup_close(receiver.wakeup);
  CHECK_INT(uv_run(&loop, UV_RUN_DEFAULT), 0);
  CHECK_INT(uv_loop_close(&loop), 0);
}

int main(void)
{
  the_last_send_is_seen();
  a_close_waits_for_who_sends();
  each_turn_is_woken();
  return 0;
}
