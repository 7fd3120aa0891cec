/* xy_job.c - dispensing with the FA FB board: one order on the wire for each command, and what it
 * came to. */
#include "serial/fields.h"
#include "serial/xy_state.h"

#include <string.h>

enum xy_verdict { XY_RUNS, XY_DONE, XY_FAILED, XY_UNKNOWN };

struct meaning {
  uint8_t from, to; /* statuses */
  enum xy_verdict verdict;
  bool locks; /* an item may hang in the slot */
  const char *code, *reason;
};

/* Statuses of 04, as numbered by the board: 09 is followed by 10, in hexadecimal. */
static const struct meaning MEANINGS[] = {
  { 0x01, 0x01, XY_RUNS, false, "RUNNING", "dispensing" },
  { 0x02, 0x02, XY_DONE, false, "DELIVERED", "delivered" },
  { 0x03, 0x03, XY_FAILED, true, "JAM", "jammed, or nothing fell" },
  { 0x04, 0x04, XY_UNKNOWN, true, "MOTOR", "the motor did not stop" },
  { 0x06, 0x06, XY_FAILED, false, "NO_MOTOR", "there is no such motor" },
  { 0x07, 0x07, XY_UNKNOWN, false, "LIFT", "the lift failed" },
  { 0x10, 0x11, XY_RUNS, false, "LIFT_MOVES", "the lift moves" },
  { 0x12, 0x13, XY_UNKNOWN, false, "LIFT", "the lift failed" },
  { 0x14, 0x23, XY_RUNS, false, "HEATING", "heating" },
  { 0x24, 0x24, XY_DONE, false, "DELIVERED", "the box can be taken" },
  { 0x25, 0x25, XY_UNKNOWN, false, "MECHANISM", "the mechanism failed" },
  { 0x28, 0x32, XY_UNKNOWN, false, "MECHANISM", "the mechanism failed" },
  { 0xFF, 0xFF, XY_UNKNOWN, false, "TERMINATED", "the board ended the order" },
};

static const struct meaning *xy_meaning(uint8_t status)
{
  static const struct meaning NONE = { 0, 0, XY_RUNS, false, "STATUS", "no known status" };

  for (size_t i = 0; i < sizeof MEANINGS / sizeof MEANINGS[0]; i++) {
    if (status >= MEANINGS[i].from && status <= MEANINGS[i].to) {
      return &MEANINGS[i];
    }
  }
  return &NONE;
}

static const char *xy_proof(const struct xy *xy)
{
  return xy->set.drive && xy->set.sensor ? "sensor" : "none";
}

static void xy_outcome(struct xy *xy, uint64_t ticket, uint16_t slot, enum xy_verdict verdict,
                       const char *code, const char *reason)
{
  static const char *const OUTCOMES[] = { "unknown", "done", "failed", "unknown" };
  struct sip_note note = { .name = "result", .ticket = ticket };

  (void)sip_note_text(&note, "outcome", OUTCOMES[verdict]);
  (void)sip_note_text(&note, "code", code);
  (void)sip_note_text(&note, "reason", reason);
  (void)sip_note_text(&note, "proof", verdict == XY_DONE ? xy_proof(xy) : "none");
  (void)sip_note_int(&note, "slot", slot);
  (void)sip_note_int(&note, "quantity", verdict == XY_DONE ? 1 : 0);
  xy_tell(xy, &note);
}

static void xy_end(struct xy *xy, enum xy_verdict verdict, const char *code, const char *reason)
{
  struct xy_job job = xy->job;

  xy->job = (struct xy_job){ .state = XY_NO_JOB };
  if (xy->awaits == XY_ORDER_ACK) {
    xy->awaits = XY_NOTHING;
  }
  xy_outcome(xy, job.ticket, job.slot, verdict, code, reason);
}

/* The place of the slot's doubt, else a free one, else NULL. */
static struct xy_doubt *xy_doubt(struct xy *xy, uint16_t slot)
{
  struct xy_doubt *place = NULL;

  for (size_t i = 0; i < XY_DOUBTS; i++) {
    struct xy_doubt *doubt = &xy->doubts[i];

    if (doubt->until_us != 0 && doubt->slot == slot) {
      return doubt;
    }
    place = doubt->until_us == 0 ? doubt : place;
  }
  return place;
}

static void xy_doubt_add(struct xy *xy, uint16_t slot, int64_t until_us)
{
  struct xy_doubt *doubt = xy_doubt(xy, slot);

  if (doubt != NULL) { /* xy_job_dispense leaves a place for its own */
    doubt->slot = slot;
    doubt->until_us = doubt->until_us > until_us ? doubt->until_us : until_us;
  }
}

static void xy_doubts_expire(struct xy *xy, int64_t now_us)
{
  for (size_t i = 0; i < XY_DOUBTS; i++) {
    if (xy->doubts[i].until_us <= now_us) {
      xy->doubts[i].until_us = 0;
    }
  }
}

static struct xy_late *xy_late(struct xy *xy, uint16_t slot)
{
  for (size_t i = 0; i < XY_LATES; i++) {
    if (xy->lates[i].is && xy->lates[i].slot == slot) {
      return &xy->lates[i];
    }
  }
  return NULL;
}

static void xy_late_forget(struct xy *xy, uint16_t slot)
{
  struct xy_late *late = xy_late(xy, slot);

  if (late != NULL) {
    late->is = false;
  }
}

static void xy_late_keep(struct xy *xy, uint16_t slot, uint8_t status)
{
  struct xy_late *late = xy_late(xy, slot);

  if (late == NULL) {
    late = &xy->lates[xy->late_next++ % XY_LATES]; /* the oldest makes room */
  }
  *late = (struct xy_late){ true, slot, status };
}

int xy_job_dispense(struct xy *xy, int64_t now_us, const struct sip_note *command,
                    struct sip_err *err)
{
  int64_t slot, quantity, deadline_ms;
  const struct xy_doubt *doubt;
  int rc;

  if ((rc = sip_fields_need(command, "xy dispense", "slot", 1, XY_SLOTS - 1, &slot, err)) < 0 ||
      (rc = sip_fields_int(command, "xy dispense", "quantity", 1, 1, 1, &quantity, err)) < 0 ||
      (rc = sip_fields_int(command, "xy dispense", "deadline_ms", 1, 3600000, xy->set.job_us / 1000,
                           &deadline_ms, err)) < 0) {
    return rc;
  }
  xy_doubts_expire(xy, now_us);
  doubt = xy_doubt(xy, (uint16_t)slot);
  if (!xy->up) {
    xy_outcome(xy, command->ticket, (uint16_t)slot, XY_FAILED, "NO_LINK",
               "nothing was sent: the link is down");
  } else if (xy->job.state != XY_NO_JOB) {
    xy_outcome(xy, command->ticket, (uint16_t)slot, XY_FAILED, "BUSY",
               "nothing was sent: another order runs");
  } else if ((xy->locked[slot / 8] >> slot % 8 & 1) != 0) {
    xy_outcome(xy, command->ticket, (uint16_t)slot, XY_FAILED, "LOCKED",
               "nothing was sent: an item may hang in this slot (look, then: clear)");
  } else if (doubt == NULL || doubt->until_us != 0) {
    xy_outcome(xy, command->ticket, (uint16_t)slot, XY_FAILED, "IN_DOUBT",
               "nothing was sent: the end of the last order is not known (resolve or clear it)");
  } else {
    xy_late_forget(xy, (uint16_t)slot);
    xy->job = (struct xy_job){ .state = XY_WAITS,
                               .ticket = command->ticket,
                               .slot = (uint16_t)slot,
                               .deadline_us = now_us + xy->set.order_us,
                               .job_us = deadline_ms * 1000 };
  }
  return 0;
}

int xy_job_resolve(struct xy *xy, int64_t now_us, const struct sip_note *command,
                   struct sip_err *err)
{
  const struct xy_late *late;
  int64_t slot;
  int rc = sip_fields_need(command, "xy resolve", "slot", 1, XY_SLOTS - 1, &slot, err);

  if (rc < 0) {
    return rc;
  }
  late = xy_late(xy, (uint16_t)slot);
  if (late != NULL) {
    const struct meaning *meaning = xy_meaning(late->status);

    xy_outcome(xy, command->ticket, (uint16_t)slot, meaning->verdict, meaning->code,
               meaning->reason);
    xy_late_forget(xy, (uint16_t)slot);
    return 0;
  }
  if (!xy->up) {
    xy_outcome(xy, command->ticket, (uint16_t)slot, XY_UNKNOWN, "NO_LINK", "the link is down");
    return 0;
  }
  if (xy->job.state == XY_SENT || xy->polls <= xy->set.drain_polls) {
    xy_outcome(xy, command->ticket, (uint16_t)slot, XY_UNKNOWN, "NOT_READY",
               "the board may still say how it ended: ask again");
    return 0;
  }
  /* Whatever was ordered may still end: until then nothing else is ordered there. */
  xy_doubts_expire(xy, now_us);
  if (xy->job.state == XY_NO_JOB) {
    xy_doubt_add(xy, (uint16_t)slot, now_us + 2 * xy->set.job_us);
  }
  xy_outcome(xy, command->ticket, (uint16_t)slot, XY_UNKNOWN, "NOT_KNOWN",
             "the board did not say how the order ended, and has no counter");
  return 0;
}

int xy_job_clear(struct xy *xy, const struct sip_note *command, struct sip_err *err)
{
  struct xy_doubt *doubt;
  int64_t slot;
  int rc = sip_fields_need(command, "xy clear", "slot", 1, XY_SLOTS - 1, &slot, err);

  if (rc < 0) {
    return rc;
  }
  xy->locked[slot / 8] &= (uint8_t) ~(1u << slot % 8);
  doubt = xy_doubt(xy, (uint16_t)slot);
  if (doubt != NULL) {
    doubt->until_us = 0;
  }
  xy_late_forget(xy, (uint16_t)slot);
  xy_answer(xy, command->ticket, NULL, NULL);
  return 0;
}

bool xy_job_order(struct xy *xy, int64_t now_us)
{
  struct xy_job *job = &xy->job;
  uint8_t drive[] = { (uint8_t)xy->set.sensor, (uint8_t)xy->set.lift, (uint8_t)(job->slot >> 8),
                      (uint8_t)job->slot };
  int rc;

  if (job->state != XY_WAITS) {
    return false;
  }
  if (xy->set.drive) {
    rc = xy_send(xy, SIP_XY_DRIVE, xy_next_number(xy), drive, sizeof drive);
  } else {
    rc = xy_send(xy, SIP_XY_BUY, xy_next_number(xy), drive + 2, 2);
  }
  if (rc < 0) {
    return false; /* not a byte has left: it waits for the next poll */
  }
  job->state = XY_SENT;
  job->deadline_us = now_us + job->job_us;
  xy->awaits = XY_ORDER_ACK;
  return true;
}

static void xy_progress(struct xy *xy, const char *code)
{
  struct sip_note note = { .name = "progress", .ticket = xy->job.ticket };

  (void)sip_note_text(&note, "code", code);
  xy_tell(xy, &note);
}

void xy_job_acked(struct xy *xy)
{
  if (xy->job.state == XY_SENT && !xy->job.acked) {
    xy->job.acked = true;
    xy_progress(xy, "ACCEPTED");
  }
}

static void xy_tell_status(struct xy *xy, const char *name, uint16_t slot, uint8_t status)
{
  const struct meaning *meaning = xy_meaning(status);
  struct sip_note note = { .name = name };

  (void)sip_note_text(&note, "code", meaning->code);
  (void)sip_note_text(&note, "reason", meaning->reason);
  (void)sip_note_int(&note, "slot", slot);
  (void)sip_note_int(&note, "status", status);
  xy_tell(xy, &note);
}

void xy_job_status(struct xy *xy, int64_t now_us, uint16_t slot, uint8_t status)
{
  const struct meaning *meaning = xy_meaning(status);
  bool ours = xy->job.state == XY_SENT && xy->job.slot == slot;

  if (meaning->locks) {
    xy->locked[slot / 8] |= (uint8_t)(1u << slot % 8);
  }
  if (meaning->verdict == XY_FAILED || meaning->verdict == XY_UNKNOWN) {
    xy_tell_status(xy, "fault", slot, status);
  }
  if (ours && meaning->verdict == XY_RUNS) {
    xy->job.acked = true; /* if its ACK was lost: the order was taken */
    xy_progress(xy, meaning->code);
  } else if (ours) {
    xy_end(xy, meaning->verdict, meaning->code, meaning->reason);
  } else if (meaning->verdict != XY_RUNS) {
    struct xy_doubt *doubt = xy_doubt(xy, slot);

    if (doubt != NULL && doubt->until_us > now_us) {
      doubt->until_us = 0; /* that is how it ended */
    }
    xy_late_keep(xy, slot, status);
    xy_tell_status(xy, "late", slot, status);
  }
}

void xy_job_due(struct xy *xy, int64_t now_us)
{
  struct xy_job *job = &xy->job;

  if (job->state == XY_NO_JOB || now_us < job->deadline_us) {
    return;
  }
  if (job->state == XY_WAITS) {
    xy_end(xy, XY_FAILED, "NOT_SENT", "nothing was sent: the board does not poll");
  } else {
    xy_doubt_add(xy, job->slot, now_us + 2 * job->job_us);
    xy_end(xy, XY_UNKNOWN, "DEADLINE",
           job->acked ? "the board took the order and did not say how it ended"
                      : "the board did not answer the order");
  }
}

void xy_job_link_lost(struct xy *xy, int64_t now_us)
{
  if (xy->job.state == XY_WAITS) {
    xy_end(xy, XY_FAILED, "NO_LINK", "nothing was sent: the link was lost");
  } else if (xy->job.state == XY_SENT) {
    xy_doubt_add(xy, xy->job.slot, now_us + 2 * xy->job.job_us);
    xy_end(xy, XY_UNKNOWN, "LINK", "the link was lost after the order");
  }
}
