/* thread.c - the serial thread: polls the ports of all lines, calls their parties when bytes came
 * or when they are due, and never runs Lua. What may block, the opening of ports, is done by
 * threads that it starts and waits for. */
#include "serial/thread.h"

#include "serial/joint.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

enum {
  PRIORITY = 10, /* of the real-time thread, where that is allowed */
  LONGEST_MS = 60000,
  PATIENCE_MS = 1000 /* at the end, for openings */
};

/* Of an opening: its thread is done and hands it over, or nobody waits for it any more. */
enum { WORKING, DONE, ABANDONED };

/* A command on its way to a joint. */
struct order {
  struct sip_list link;
  struct sip_joint *joint; /* borrowed: it is there until it was parted */
  struct sip_note *command;
};

struct sip_serial {
  int wake_fd;
  pthread_mutex_t mu; /* guards what follows, down to `refs` */
  pthread_t thread;
  bool started, is_realtime;
  struct sip_list joins, orders, parts, openings; /* the inbox */
  bool ending;
  size_t lines; /* those that are not freed */
  unsigned refs;
  /* the thread's own */
  struct sip_list joints;
  struct sip_list running; /* openings */
  int64_t ending_us;       /* since when it only waits for those; SIP_NEVER_US: it does not yet */
  struct pollfd polls[1 + SIP_SERIAL_LINES];
};

static struct sip_joint *joint_at(struct sip_list *node)
{
  return SIP_CONTAINER(node, struct sip_joint, link);
}

static void wake(struct sip_serial *serial)
{
  const uint64_t one = 1;

  /* Full means that it is to wake anyway. */
  while (write(serial->wake_fd, &one, sizeof one) < 0 && errno == EINTR) {
  }
}

/* --- openings --- */

static void *opening_run(void *arg)
{
  struct sip_opening *opening = arg;
  struct sip_serial *serial = opening->serial;
  int rc, working = WORKING;

  (void)pthread_setname_np(pthread_self(), "sip-port-open"); /* for people only */
  rc = opening->simulate ? sip_port_simulate(&opening->port, &opening->settings, &opening->err)
                         : sip_port_open(&opening->port, &opening->settings, &opening->err);
  if (rc < 0) {
    opening->port = NULL;
  }
  if (!atomic_compare_exchange_strong(&opening->whose, &working, DONE)) {
    sip_port_close(opening->port); /* nobody waits: `serial` may be gone */
    free(opening);
    return NULL;
  }
  pthread_mutex_lock(&serial->mu);
  sip_list_push(&serial->openings, &opening->link);
  wake(serial);
  pthread_mutex_unlock(&serial->mu);
  return NULL;
}

/* Signals are for the threads that expect them. @return 0 or an errno */
static int start_thread(pthread_t *thread, int policy, void *(*run)(void *arg), void *arg)
{
  struct sched_param priority = { .sched_priority = policy == SCHED_FIFO ? PRIORITY : 0 };
  sigset_t all, before;
  pthread_attr_t how;
  int failed = pthread_attr_init(&how);

  if (failed != 0) {
    return failed;
  }
  failed = pthread_attr_setinheritsched(&how, PTHREAD_EXPLICIT_SCHED);
  failed = failed != 0 ? failed : pthread_attr_setschedpolicy(&how, policy);
  failed = failed != 0 ? failed : pthread_attr_setschedparam(&how, &priority);
  (void)sigfillset(&all); /* cannot fail */
  failed = failed != 0 ? failed : pthread_sigmask(SIG_SETMASK, &all, &before);
  if (failed == 0) {
    failed = pthread_create(thread, &how, run, arg);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL); /* back to what it was */
  }
  (void)pthread_attr_destroy(&how); /* frees nothing that matters */
  return failed;
}

/* Two lines of ours must not meet at a port: the one that was closed leaves first. */
static bool somebody_leaves(const struct sip_serial *serial, const struct sip_joint *wanting)
{
  for (struct sip_list *n = serial->joints.next; n != &serial->joints; n = n->next) {
    const struct sip_joint *joint = joint_at(n);

    if (joint->party == NULL && strcmp(joint->settings.name, wanting->settings.name) == 0) {
      return true;
    }
  }
  return false;
}

static void begin_opening(struct sip_serial *serial, struct sip_joint *joint, int64_t now_us)
{
  struct sip_opening *opening;
  struct sip_err err = { 0 };
  int failed;

  if (!joint->simulate && somebody_leaves(serial, joint)) {
    sip_joint_put_off(joint, now_us, NULL);
    return;
  }
  opening = calloc(1, sizeof *opening);
  if (opening == NULL) {
    (void)sip_err_set(&err, UV_ENOMEM, "open %s: out of memory", joint->settings.name);
    sip_joint_put_off(joint, now_us, &err);
    return;
  }
  sip_list_init(&opening->link);
  sip_list_push(&serial->running, &opening->running);
  opening->serial = serial;
  opening->joint = joint;
  opening->settings = joint->settings;
  opening->simulate = joint->simulate;
  failed = start_thread(&opening->thread, SCHED_OTHER, opening_run, opening);
  if (failed != 0) {
    sip_list_remove(&opening->running);
    free(opening);
    (void)sip_err_errno(&err, failed, "open %s: no thread for it", joint->settings.name);
    sip_joint_put_off(joint, now_us, &err);
    return;
  }
  joint->opening = opening;
}

static void end_opening(struct sip_opening *opening)
{
  (void)pthread_join(opening->thread, NULL); /* it is at its end; joined once */
  sip_list_remove(&opening->running);
  if (opening->joint == NULL) {
    sip_port_close(opening->port);
  } else {
    opening->joint->opening = NULL;
    sip_joint_on_opened(opening->joint, sip_serial_now_us(), opening->port, &opening->err);
  }
  free(opening);
}

/* At the end: a name server or a connection that does not answer holds nobody up. */
static void abandon_openings(struct sip_serial *serial)
{
  struct sip_list *after;

  for (struct sip_list *n = serial->running.next; n != &serial->running; n = after) {
    struct sip_opening *opening = SIP_CONTAINER(n, struct sip_opening, running);
    pthread_t thread = opening->thread;
    int working = WORKING;

    after = n->next;
    sip_list_remove(n);
    if (atomic_compare_exchange_strong(&opening->whose, &working, ABANDONED)) {
      (void)pthread_detach(thread); /* it frees the opening */
    } else {
      sip_list_unshift(&serial->running, n); /* it is about to be handed over */
    }
  }
}

/* --- the thread --- */

/* Whether nothing is left to wait for, after it was asked to end. */
static bool is_over(struct sip_serial *serial)
{
  if (!sip_list_empty(&serial->joints)) {
    return false;
  }
  if (serial->ending_us == SIP_NEVER_US) {
    serial->ending_us = sip_serial_now_us();
  }
  if (serial->ending_us + (int64_t)PATIENCE_MS * 1000 <= sip_serial_now_us()) {
    abandon_openings(serial);
  }
  return sip_list_empty(&serial->running);
}

static void release(struct sip_serial *serial, struct sip_joint *joint)
{
  sip_list_remove(&joint->link);
  sip_joint_free(joint);
  pthread_mutex_lock(&serial->mu);
  serial->lines--;
  pthread_mutex_unlock(&serial->mu);
}

/* Handles what the loops and the openings sent. @return whether the thread is to end once it has no
 * joint any more */
static bool take_inbox(struct sip_serial *serial)
{
  struct sip_list orders, parts, openings, *node;
  bool ending;

  sip_list_init(&orders);
  sip_list_init(&parts);
  sip_list_init(&openings);
  pthread_mutex_lock(&serial->mu);
  sip_list_move(&serial->joints, &serial->joins);
  sip_list_move(&orders, &serial->orders);
  sip_list_move(&parts, &serial->parts);
  sip_list_move(&openings, &serial->openings);
  ending = serial->ending;
  pthread_mutex_unlock(&serial->mu);
  while ((node = sip_list_shift(&openings)) != NULL) {
    end_opening(SIP_CONTAINER(node, struct sip_opening, link));
  }
  while ((node = sip_list_shift(&orders)) != NULL) {
    struct order *order = SIP_CONTAINER(node, struct order, link);

    sip_joint_command(order->joint, sip_serial_now_us(), order->command);
    free(order->command);
    free(order);
  }
  while ((node = sip_list_shift(&parts)) != NULL) {
    struct sip_joint *joint = SIP_CONTAINER(node, struct sip_joint, parting);

    if (sip_joint_close(joint, sip_serial_now_us())) {
      release(serial, joint);
    }
  }
  return ending;
}

/* Opens what wants to be opened, lets go what is over, and finds out what to poll for. @return when
 * the next joint is due */
static int64_t prepare(struct sip_serial *serial, nfds_t *count)
{
  int64_t now_us = sip_serial_now_us(), next_us = SIP_NEVER_US;
  struct sip_list *after;

  *count = 1;
  for (struct sip_list *n = serial->joints.next; n != &serial->joints; n = after) {
    struct sip_joint *joint = joint_at(n);
    short events;
    int64_t due_us;

    after = n->next;
    if (sip_joint_is_over(joint)) {
      release(serial, joint);
      continue;
    }
    if (sip_joint_wants_port(joint, now_us)) {
      begin_opening(serial, joint, now_us);
    }
    events = sip_joint_events(joint);
    joint->slot = 0;
    if (events != 0) {
      joint->slot = *count;
      serial->polls[(*count)++] = (struct pollfd){ .fd = joint->port->fd, .events = events };
    }
    due_us = sip_joint_due_us(joint);
    next_us = due_us < next_us ? due_us : next_us;
  }
  return next_us;
}

static void wait_for_something(struct sip_serial *serial, nfds_t count, int64_t next_us)
{
  int64_t left_us = next_us - sip_serial_now_us();
  struct timespec left = { 0 };
  uint64_t sum;

  if (left_us > (int64_t)LONGEST_MS * 1000) {
    left_us = (int64_t)LONGEST_MS * 1000;
  }
  if (left_us > 0) {
    left.tv_sec = left_us / 1000000;
    left.tv_nsec = left_us % 1000000 * 1000;
  }
  serial->polls[0] = (struct pollfd){ .fd = serial->wake_fd, .events = POLLIN };
  if (ppoll(serial->polls, count, &left, NULL) < 0) { /* EINTR, or no memory: another turn */
    for (nfds_t i = 0; i < count; i++) {
      serial->polls[i].revents = 0;
    }
    return;
  }
  if (serial->polls[0].revents != 0) {
    (void)read(serial->wake_fd, &sum, sizeof sum); /* what it counts does not matter */
  }
}

static void *serial_run(void *arg)
{
  struct sip_serial *serial = arg;
  bool ending = false;
  nfds_t count;

  (void)pthread_setname_np(pthread_self(), "sip-serial"); /* for people only */
  for (;;) {
    int64_t next_us = prepare(serial, &count);

    if (ending && is_over(serial)) {
      return NULL;
    }
    if (serial->ending_us != SIP_NEVER_US) {
      next_us = serial->ending_us + (int64_t)PATIENCE_MS * 1000;
    }
    wait_for_something(serial, count, next_us);
    for (struct sip_list *n = serial->joints.next; n != &serial->joints; n = n->next) {
      struct sip_joint *joint = joint_at(n);
      short found = joint->slot != 0 ? serial->polls[joint->slot].revents : 0;

      if (found != 0) {
        sip_joint_on_ready(joint, sip_serial_now_us(), found);
      }
      if (sip_joint_due_us(joint) <= sip_serial_now_us()) {
        sip_joint_on_due(joint, sip_serial_now_us());
      }
    }
    ending = take_inbox(serial);
  }
}

/* --- from the loops --- */

/* With the first line; under `mu`. @return 0 or an errno */
static int start_once(struct sip_serial *serial)
{
  int failed = 0;

  if (!serial->started) {
    failed = start_thread(&serial->thread, SCHED_FIFO, serial_run, serial);
    serial->is_realtime = failed == 0;
    if (failed != 0) {
      failed = start_thread(&serial->thread, SCHED_OTHER, serial_run, serial);
    }
    serial->started = failed == 0;
  }
  return failed;
}

int sip_serial_new(struct sip_serial **out, struct sip_err *err)
{
  struct sip_serial *serial = calloc(1, sizeof *serial);
  int failed;

  if (serial == NULL) {
    return sip_err_set(err, UV_ENOMEM, "serial: no memory for the thread");
  }
  sip_list_init(&serial->joins);
  sip_list_init(&serial->orders);
  sip_list_init(&serial->parts);
  sip_list_init(&serial->openings);
  sip_list_init(&serial->joints);
  sip_list_init(&serial->running);
  serial->ending_us = SIP_NEVER_US;
  serial->refs = 1;
  serial->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (serial->wake_fd < 0) {
    failed = errno;
    free(serial);
    return sip_err_errno(err, failed, "serial: eventfd");
  }
  failed = sip_serial_mutex_init(&serial->mu);
  if (failed != 0) {
    (void)close(serial->wake_fd); /* nothing was written */
    free(serial);
    return sip_err_errno(err, failed, "serial: a mutex");
  }
  *out = serial;
  return 0;
}

struct sip_serial *sip_serial_ref(struct sip_serial *serial)
{
  pthread_mutex_lock(&serial->mu);
  serial->refs++;
  pthread_mutex_unlock(&serial->mu);
  return serial;
}

void sip_serial_unref(struct sip_serial *serial)
{
  bool last, started;

  if (serial == NULL) {
    return;
  }
  pthread_mutex_lock(&serial->mu);
  last = --serial->refs == 0;
  serial->ending = last;
  started = serial->started;
  pthread_mutex_unlock(&serial->mu);
  if (last) {
    if (started) {
      wake(serial);
      (void)pthread_join(serial->thread, NULL); /* joined once */
    }
    (void)pthread_mutex_destroy(&serial->mu);
    (void)close(serial->wake_fd); /* nothing is lost */
    free(serial);
  }
}

bool sip_serial_is_realtime(struct sip_serial *serial)
{
  bool is_realtime;

  pthread_mutex_lock(&serial->mu);
  is_realtime = serial->is_realtime;
  pthread_mutex_unlock(&serial->mu);
  return is_realtime;
}

int sip_thread_join(struct sip_serial *serial, struct sip_joint *joint, struct sip_err *err)
{
  bool full;
  int failed = 0;

  pthread_mutex_lock(&serial->mu);
  full = serial->lines >= SIP_SERIAL_LINES;
  if (!full) {
    failed = start_once(serial);
  }
  if (!full && failed == 0) {
    serial->lines++;
    sip_list_push(&serial->joins, &joint->link);
    wake(serial);
  }
  pthread_mutex_unlock(&serial->mu);
  if (full) {
    return sip_err_set(err, SIP_EQUEUEFULL, "serial: %d lines are open: close one",
                       SIP_SERIAL_LINES);
  }
  return failed != 0 ? sip_err_errno(err, failed, "serial: the thread") : 0;
}

int sip_thread_command(struct sip_serial *serial, struct sip_joint *joint,
                       const struct sip_note *command, struct sip_err *err)
{
  struct order *order = malloc(sizeof *order);

  if (order != NULL) {
    order->joint = joint;
    order->command = sip_note_copy(command);
  }
  if (order == NULL || order->command == NULL) {
    free(order);
    return sip_err_set(err, UV_ENOMEM, "%s: out of memory", command->name);
  }
  pthread_mutex_lock(&serial->mu);
  sip_list_push(&serial->orders, &order->link);
  wake(serial);
  pthread_mutex_unlock(&serial->mu);
  return 0;
}

void sip_thread_part(struct sip_serial *serial, struct sip_joint *joint)
{
  pthread_mutex_lock(&serial->mu);
  sip_list_push(&serial->parts, &joint->parting);
  wake(serial);
  pthread_mutex_unlock(&serial->mu);
}
