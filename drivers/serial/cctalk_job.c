/* cctalk_job.c - a hopper's payout, and what else is asked of one device.
 *
 * The order (header 167) is sent once. The hopper's counter of orders says whether it took it: one
 * more than before, and it did, and 166 is read until nothing remains; unchanged in two readings
 * 500 ms apart with the same lifetime count, and it did not. What came out is the paid count of
 * 166, cross-checked with the lifetime count of 168. Anything else is unknown. Nothing here repeats
 * an order; `resolve` enters where a lost answer would have led. */
#include "core/base.h"
#include "serial/cctalk_state.h"
#include "serial/fields.h"

#include <string.h>

enum {
  PACE_US = 100000,
  STILL_US = 500000, /* between two readings that say that an order was not taken */
  GRACE_US = 3000000,
  DEADLINE_MS = 60000,
  TOTAL_MASK = 0xFFFFFF
};

static void finish(struct cctalk *bus)
{
  struct cctalk_job *job = &bus->job;
  struct sip_note note = { .name = "result", .ticket = job->ticket };
  bool done = strcmp(job->outcome, "done") == 0;

  (void)sip_note_bool(&note, "ok", done);
  (void)sip_note_text(&note, "outcome", job->outcome);
  if (job->code != NULL) {
    (void)sip_note_text(&note, "code", job->code);
    (void)sip_note_text(&note, "reason", job->reason);
  }
  (void)sip_note_text(&note, "proof", job->paid >= 0 ? "counter" : "none");
  (void)sip_note_int(&note, "quantity", job->paid >= 0 ? job->paid : 0);
  if (job->remaining >= 0) {
    (void)sip_note_int(&note, "remaining", job->remaining);
  }
  if (job->flags >= 0) {
    (void)sip_note_int(&note, "flags", job->flags);
  }
  job->step = JOB_NONE;
  sip_cctalk_tell(bus, &note);
}

static void tell_counters(struct cctalk *bus)
{
  struct cctalk_job *job = &bus->job;
  struct cctalk_device *hopper = sip_cctalk_hopper(bus, job->slot);
  struct sip_note note = { .name = "result", .ticket = job->ticket };

  (void)sip_note_bool(&note, "ok", true);
  (void)sip_note_int(&note, "hopper_event", job->event_before);
  (void)sip_note_int(&note, "hopper_total", job->total_before);
  (void)sip_note_int(&note, "hopper_serial", hopper->known ? hopper->serial : -1);
  (void)sip_note_int(&note, "coin_event", bus->last);
  job->step = JOB_NONE;
  sip_cctalk_tell(bus, &note);
}

static void go(struct cctalk *bus, int64_t at_us, enum cctalk_step step)
{
  bus->job.step = step;
  bus->job.due_us = at_us;
}

static void decide(struct cctalk *bus, const char *outcome, const char *code, const char *reason)
{
  bus->job.outcome = outcome;
  bus->job.code = code;
  bus->job.reason = reason;
}

/* The outcome is known: the hopper is switched off, which is harmless and may fail. */
static void leave(struct cctalk *bus, int64_t now_us)
{
  if (bus->job.sent && strcmp(bus->job.name, "dispense") == 0) {
    go(bus, now_us, JOB_DISABLE);
  } else {
    finish(bus);
  }
}

static void end(struct cctalk *bus, int64_t now_us, const char *outcome, const char *code,
                const char *reason)
{
  decide(bus, outcome, code, reason);
  leave(bus, now_us);
}

/* The hopper has paid what it will pay, and counted it. */
static void end_paid(struct cctalk *bus, int64_t now_us)
{
  struct cctalk_job *job = &bus->job;

  if (job->paid == job->quantity) {
    end(bus, now_us, "done", NULL, NULL);
  } else if (job->paid > job->quantity) {
    end(bus, now_us, "unknown", "TOO_MANY", "the hopper counted more coins than were ordered");
  } else {
    if (job->paid == 0) {
      decide(bus, "failed", "EMPTY", "nothing came out: the hopper is empty or jammed");
    } else {
      decide(bus, "done", "PARTIAL", "fewer coins came out than were ordered; all are counted");
    }
    go(bus, now_us, JOB_WHY);
  }
}

static void total_read(struct cctalk *bus, int64_t now_us)
{
  struct cctalk_job *job = &bus->job;
  int64_t moved = (job->total - job->total_before) & TOTAL_MASK;

  if (job->step == JOB_UNTAKEN && moved == 0) {
    job->paid = 0;
    end(bus, now_us, "failed", job->refused ? "REFUSED" : "NOT_TAKEN",
        job->refused ? "the hopper refused the order; nothing moved"
                     : "the hopper did not take the order; nothing moved");
  } else if (job->step == JOB_AFTER_RESET) {
    job->paid = moved <= job->quantity ? moved : -1; /* else it lost that count too */
    end(bus, now_us, moved == job->quantity ? "done" : "unknown", "RESET",
        "the hopper was reset; its lifetime count says what came out until then");
  } else if (job->step == JOB_VERIFY && moved == job->paid) {
    end_paid(bus, now_us);
  } else {
    end(bus, now_us, "unknown", "COUNTERS", "the hopper's two counters contradict each other");
  }
}

static void untaken(struct cctalk *bus, int64_t now_us)
{
  struct cctalk_job *job = &bus->job;

  if (job->still_us == 0) {
    job->still_us = now_us;
    job->due_us = now_us + STILL_US;
  } else if (now_us - job->still_us < STILL_US) {
    job->due_us = job->still_us + STILL_US;
  } else if (job->total_before >= 0) {
    go(bus, now_us, JOB_UNTAKEN);
  } else {
    job->total = 0;
    job->total_before = 0;
    job->step = JOB_UNTAKEN;
    total_read(bus, now_us);
  }
}

static void tell_progress(struct cctalk *bus)
{
  struct sip_note note = { .name = "progress", .ticket = bus->job.ticket };

  (void)sip_note_int(&note, "quantity", bus->job.paid);
  (void)sip_note_int(&note, "remaining", bus->job.remaining);
  sip_cctalk_tell(bus, &note);
}

/* The status of the hopper while an order is open. */
static void polled(struct cctalk *bus, int64_t now_us, const uint8_t *data)
{
  struct cctalk_job *job = &bus->job;
  int event = data[0], before = job->event_before;

  job->due_us = now_us + PACE_US;
  if (event == sip_cctalk_next((uint8_t)before)) {
    bool news = !job->taken || job->paid != data[2];

    job->taken = true;
    job->remaining = data[1];
    job->paid = data[2];
    if (job->remaining > 0) {
      if (news) {
        tell_progress(bus);
      }
    } else if (job->total_before >= 0) {
      go(bus, now_us, JOB_VERIFY);
    } else {
      end_paid(bus, now_us);
    }
  } else if (event == before && !job->taken) {
    if (data[1] == 0) {
      untaken(bus, now_us);
    }
  } else if (event == 0 && job->total_before >= 0) {
    go(bus, now_us, JOB_AFTER_RESET);
  } else if (event == 0) {
    end(bus, now_us, "unknown", "RESET", "the hopper was reset and keeps no lifetime count");
  } else {
    job->paid = -1;
    end(bus, now_us, "unknown", "OTHER_ORDERS", "the hopper took other orders in between");
  }
}

static int64_t number_of(const struct cctalk_reply *reply)
{
  int64_t number = 0;

  for (size_t i = reply->size; i > 0; i--) {
    number = number << 8 | reply->data[i - 1];
  }
  return number;
}

/* Before the order: whatever goes wrong, nothing was ordered. */
static void prepared(struct cctalk *bus, int64_t now_us, const struct cctalk_reply *reply)
{
  struct cctalk_job *job = &bus->job;
  bool dispense = strcmp(job->name, "dispense") == 0;

  if (job->step == JOB_TOTAL && reply->status == CCTALK_REFUSED) {
    go(bus, now_us, JOB_STATUS); /* this one does not count its life */
  } else if (reply->status != CCTALK_DATA) {
    end(bus, now_us, "failed", "NOT_READY", "the hopper does not answer: nothing was ordered");
  } else if (job->step == JOB_ENABLE) {
    go(bus, now_us, JOB_TOTAL);
  } else if (job->step == JOB_TOTAL) {
    job->total_before = number_of(reply);
    go(bus, now_us, JOB_STATUS);
  } else if (job->step == JOB_CIPHER) {
    go(bus, now_us, JOB_ORDER);
  } else {
    job->event_before = reply->data[0];
    if (!dispense) {
      tell_counters(bus);
    } else if (reply->data[1] > 0) {
      end(bus, now_us, "failed", "BUSY", "the hopper is still paying: nothing was ordered");
    } else {
      go(bus, now_us, bus->cipher ? JOB_CIPHER : JOB_ORDER);
    }
  }
}

static void simple_replied(struct cctalk *bus, const struct cctalk_reply *reply)
{
  struct cctalk_job *job = &bus->job;
  struct sip_note note = { .name = "result", .ticket = job->ticket };

  (void)sip_note_bool(&note, "ok", reply->status == CCTALK_DATA);
  if (reply->status != CCTALK_DATA) {
    (void)sip_note_text(&note, "code", reply->status == CCTALK_SILENT ? "TIMEOUT" : "REFUSED");
    (void)sip_note_text(&note, "reason",
                        reply->status == CCTALK_SILENT ? "the device does not answer"
                                                       : "the device refused");
  } else if (job->header == SIP_CCTALK_TEST_HOPPER) {
    (void)sip_note_int(&note, "flags", number_of(reply));
  }
  job->step = JOB_NONE;
  sip_cctalk_tell(bus, &note);
}

void sip_cctalk_job_reply(struct cctalk *bus, int64_t now_us, const struct cctalk_reply *reply)
{
  struct cctalk_job *job = &bus->job;
  bool data = reply->status == CCTALK_DATA;

  switch (job->step) {
  case JOB_NONE:
    break;
  case JOB_ENABLE:
  case JOB_TOTAL:
  case JOB_STATUS:
  case JOB_CIPHER:
    prepared(bus, now_us, reply);
    break;
  case JOB_ORDER: /* whatever it says: the counters decide */
    job->refused = reply->status == CCTALK_REFUSED;
    go(bus, now_us, JOB_POLL);
    break;
  case JOB_POLL:
    if (data) {
      polled(bus, now_us, reply->data);
    } else {
      job->due_us = now_us + PACE_US; /* a motor's noise: reading is free */
    }
    break;
  case JOB_UNTAKEN:
  case JOB_AFTER_RESET:
  case JOB_VERIFY:
    job->due_us = now_us + PACE_US;
    if (data) {
      job->total = number_of(reply);
      total_read(bus, now_us);
    }
    break;
  case JOB_WHY:
    job->flags = data ? number_of(reply) : -1;
    leave(bus, now_us);
    break;
  case JOB_STOP:
    go(bus, now_us, JOB_POLL);
    break;
  case JOB_DISABLE:
    finish(bus);
    break;
  case JOB_SIMPLE:
    simple_replied(bus, reply);
    break;
  }
}

static struct cctalk_request request_of(const struct cctalk *bus)
{
  const struct cctalk_job *job = &bus->job;
  struct cctalk_request request = {
    .asker = CCTALK_JOB, .dest = job->address, .want = 0, .tries = 3
  };

  switch (job->step) {
  case JOB_ENABLE:
  case JOB_DISABLE:
    request.header = SIP_CCTALK_ENABLE_HOPPER;
    request.data[0] = job->step == JOB_ENABLE ? 165 : 0;
    request.size = 1;
    break;
  case JOB_TOTAL:
  case JOB_UNTAKEN:
  case JOB_AFTER_RESET:
  case JOB_VERIFY:
    request.header = SIP_CCTALK_DISPENSE_COUNT;
    request.want = 3;
    break;
  case JOB_CIPHER:
    request.header = SIP_CCTALK_CIPHER_KEY;
    request.want = -1;
    break;
  case JOB_ORDER:
    request.header = SIP_CCTALK_DISPENSE;
    memcpy(request.data, bus->security, bus->security_size);
    request.data[bus->security_size] = (uint8_t)job->quantity;
    request.size = (uint8_t)(bus->security_size + 1);
    request.want = -1;
    request.tries = 1;
    break;
  case JOB_WHY:
    request.header = SIP_CCTALK_TEST_HOPPER;
    request.want = -1;
    break;
  case JOB_STOP:
    request.header = SIP_CCTALK_STOP;
    request.want = -1;
    break;
  case JOB_SIMPLE:
    request.header = job->header;
    request.want = job->header == SIP_CCTALK_TEST_HOPPER ? -1 : 0;
    memcpy(request.data, job->data, job->data_size);
    request.size = job->data_size;
    break;
  default:
    request.header = SIP_CCTALK_HOPPER_STATUS;
    request.want = 4;
    break;
  }
  return request;
}

/* True when it was time to stop, and it was. */
static bool late(struct cctalk *bus, int64_t now_us)
{
  struct cctalk_job *job = &bus->job;

  if (now_us >= job->give_up_us && job->step != JOB_DISABLE) {
    if (job->outcome == NULL) {
      decide(bus, "unknown", "TIMEOUT", "what the hopper paid could not be read in time");
    }
    leave(bus, now_us);
    return true;
  }
  if (now_us < job->deadline_us || job->stopped || job->step != JOB_POLL) {
    return false;
  }
  job->stopped = true;
  job->give_up_us = now_us + GRACE_US;
  if (job->taken && strcmp(job->name, "dispense") == 0) {
    go(bus, now_us, JOB_STOP);
  }
  return false;
}

void sip_cctalk_job_next(struct cctalk *bus, int64_t now_us)
{
  struct cctalk_job *job = &bus->job;
  struct cctalk_request request;

  if (job->sent && late(bus, now_us)) {
    return;
  }
  if (!job->sent && now_us >= job->deadline_us) {
    end(bus, now_us, "failed", "TIMEOUT", "the deadline passed before anything was ordered");
    return;
  }
  request = request_of(bus);
  if (sip_cctalk_ask(bus, now_us, &request) == 0) {
    job->sent = job->sent || job->step == JOB_ORDER;
    job->due_us = now_us + PACE_US;
  } else if (job->step == JOB_ORDER) {
    end(bus, now_us, "failed", "NO_LINK", "the line takes nothing: nothing was ordered");
  } else if (job->step == JOB_DISABLE) {
    finish(bus); /* it stays on; the next order needs an order of its own anyway */
  } else {
    job->due_us = now_us + PACE_US;
  }
}

int64_t sip_cctalk_job_due_us(const struct cctalk *bus)
{
  return bus->job.step == JOB_NONE ? SIP_NEVER_US : bus->job.due_us;
}

void sip_cctalk_job_lost(struct cctalk *bus, const char *code, const char *reason)
{
  struct cctalk_job *job = &bus->job;

  if (job->step == JOB_NONE) {
    return;
  }
  if (job->outcome == NULL) {
    decide(bus, job->sent ? "unknown" : "failed", code, reason);
    job->paid = -1;
  }
  finish(bus);
}

static void begin(struct cctalk *bus, int64_t now_us, const struct sip_note *command,
                  const char *name)
{
  int64_t ms = sip_note_number(command, "deadline_ms", DEADLINE_MS);

  bus->job = (struct cctalk_job){ .name = name,
                                  .ticket = command->ticket,
                                  .slot = sip_note_number(command, "slot", 1),
                                  .quantity = sip_note_number(command, "quantity", 1),
                                  .due_us = now_us,
                                  .deadline_us = now_us + ms * 1000,
                                  .give_up_us = now_us + ms * 1000 + GRACE_US,
                                  .event_before = -1,
                                  .total_before = -1,
                                  .remaining = -1,
                                  .paid = -1,
                                  .flags = -1 };
}

static void begin_dispense(struct cctalk *bus, int64_t now_us, const struct sip_note *command)
{
  struct cctalk_device *hopper = sip_cctalk_hopper(bus, sip_note_number(command, "slot", 1));
  char id[CCTALK_ID];

  begin(bus, now_us, command, "dispense");
  bus->job.step = JOB_ENABLE;
  bus->job.address = hopper->address;
  sip_cctalk_id(bus, id);
  if (!bus->up) {
    end(bus, now_us, "failed", "NO_LINK", "the line is down: nothing was ordered");
  } else if (hopper->step != CCTALK_READY) {
    end(bus, now_us, "failed", "NOT_READY", "the hopper is not identified: nothing was ordered");
  } else if (bus->expected_id[0] != '\0' && strcmp(id, bus->expected_id) != 0) {
    end(bus, now_us, "failed", "OTHER_DEVICE",
        "the devices are not those of the setting id: nothing was ordered");
  }
}

static int begin_resolve(struct cctalk *bus, int64_t now_us, const struct sip_note *command,
                         struct sip_err *err)
{
  struct cctalk_device *hopper = sip_cctalk_hopper(bus, sip_note_number(command, "slot", 1));
  int64_t event, total, serial;

  if (sip_fields_need(command, "cctalk resolve", "hopper_event", 0, 255, &event, err) < 0 ||
      sip_fields_int(command, "cctalk resolve", "hopper_total", -1, TOTAL_MASK, -1, &total, err) <
        0 ||
      sip_fields_int(command, "cctalk resolve", "hopper_serial", -1, TOTAL_MASK, -1, &serial, err) <
        0) {
    return UV_EINVAL;
  }
  begin(bus, now_us, command, "resolve");
  bus->job.step = JOB_POLL;
  bus->job.address = hopper->address;
  bus->job.sent = true;
  bus->job.event_before = (int)event;
  bus->job.total_before = total;
  if (hopper->step != CCTALK_READY) {
    end(bus, now_us, "unknown", "NOT_READY", "the hopper is not identified yet");
  } else if (serial >= 0 && hopper->known && hopper->serial != serial) {
    end(bus, now_us, "unknown", "OTHER_DEVICE", "this is another hopper than the one ordered from");
  }
  return 0;
}

static void begin_simple(struct cctalk *bus, int64_t now_us, const struct sip_note *command)
{
  bool acceptor = bus->acceptor && sip_note_number(command, "slot", 0) == 0;
  struct cctalk_job *job = &bus->job;

  begin(bus, now_us, command, "simple");
  job->step = JOB_SIMPLE;
  job->address = acceptor ? bus->devices[0].address : sip_cctalk_hopper(bus, job->slot)->address;
  if (strcmp(command->name, "test") == 0) {
    job->header = SIP_CCTALK_TEST_HOPPER;
  } else if (strcmp(command->name, "reset") == 0) {
    job->header = SIP_CCTALK_RESET;
  } else if (strcmp(command->name, "mask") == 0) {
    bus->mask = sip_note_number(command, "mask", 0xFFFF) & 0xFFFF;
    job->header = SIP_CCTALK_INHIBIT;
    job->data[0] = (uint8_t)bus->mask;
    job->data[1] = (uint8_t)(bus->mask >> 8);
    job->data_size = 2;
  } else {
    bus->enabled = strcmp(command->name, "enable") == 0;
    job->header = SIP_CCTALK_MASTER_INHIBIT;
    job->data[0] = bus->enabled;
    job->data_size = 1;
  }
}

int sip_cctalk_job(struct cctalk *bus, int64_t now_us, const struct sip_note *command,
                   struct sip_err *err)
{
  const char *name = command->name;
  bool to_acceptor = strcmp(name, "enable") == 0 || strcmp(name, "disable") == 0 ||
                     strcmp(name, "mask") == 0 ||
                     (strcmp(name, "reset") == 0 && sip_note_number(command, "slot", 0) == 0);
  int64_t slot, quantity, ms;

  if (sip_fields_int(command, "cctalk", "slot", 0, CCTALK_HOPPERS, 1, &slot, err) < 0 ||
      sip_fields_int(command, "cctalk", "quantity", 1, 255, 1, &quantity, err) < 0 ||
      sip_fields_int(command, "cctalk", "deadline_ms", 1, 3600000, DEADLINE_MS, &ms, err) < 0) {
    return UV_EINVAL;
  }
  if (to_acceptor ? !bus->acceptor : sip_cctalk_hopper(bus, slot) == NULL) {
    return sip_err_set(err, UV_EINVAL, "cctalk %s: there is no %s %lld in the settings", name,
                       to_acceptor ? "acceptor" : "hopper at slot",
                       (long long)(to_acceptor ? 0 : slot));
  }
  if (bus->job.step != JOB_NONE) {
    return sip_err_set(err, SIP_EBUSY, "cctalk %s: the bus is busy with a %s", name, bus->job.name);
  }
  if (strcmp(name, "dispense") == 0) {
    begin_dispense(bus, now_us, command);
  } else if (strcmp(name, "resolve") == 0) {
    int rc = begin_resolve(bus, now_us, command, err);

    if (rc < 0) {
      return rc;
    }
  } else if (strcmp(name, "counters") == 0) {
    begin(bus, now_us, command, "counters");
    bus->job.step = JOB_TOTAL;
    bus->job.address = sip_cctalk_hopper(bus, slot)->address;
  } else {
    begin_simple(bus, now_us, command);
  }
  if (!bus->up) {
    sip_cctalk_job_lost(bus, "NO_LINK", "the line is down: nothing was sent");
  }
  return 0;
}
