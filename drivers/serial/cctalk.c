/* cctalk.c - the engine of a ccTalk bus: one request at a time, who is there, and the turn of each.
 *
 * The host speaks, one device answers. What is due first goes next: identifying a device, the step
 * of a payout (cctalk_job.c), the acceptor's credit (cctalk_coin.c). Requests that only read are
 * repeated when nothing comes; the order to pay is not. An answer counts when its address and its
 * length are those of the request. */
#include "serial/cctalk.h"

#include "core/base.h"
#include "serial/cctalk_state.h"
#include "serial/fields.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  CHARACTER_US = 1042, /* at 9600 Bd */
  PAUSE_US = 10000,
  BUSY_US = 100000,
  ABSENT_US = 2000000,
  LEARN_US = 1000000
};

static struct cctalk *bus_of(struct sip_party *party)
{
  return SIP_CONTAINER(party, struct cctalk, party);
}

void sip_cctalk_tell(struct cctalk *bus, struct sip_note *note)
{
  bus->party.line->tell(bus->party.line, note);
}

void sip_cctalk_fault(struct cctalk *bus, const char *code, const char *reason, int64_t address)
{
  struct sip_note note = { .name = "fault" };

  (void)sip_note_text(&note, "code", code);
  (void)sip_note_text(&note, "reason", reason);
  (void)sip_note_int(&note, "address", address);
  sip_cctalk_tell(bus, &note);
}

struct cctalk_device *sip_cctalk_hopper(struct cctalk *bus, int64_t slot)
{
  int64_t at = slot - (bus->acceptor ? 0 : 1);

  return slot < 1 || at >= bus->device_count ? NULL : &bus->devices[at];
}

void sip_cctalk_id(const struct cctalk *bus, char out[CCTALK_ID])
{
  size_t at = 0;

  out[0] = '\0';
  for (unsigned i = 0; i < bus->device_count && at < CCTALK_ID; i++) {
    const struct cctalk_device *device = &bus->devices[i];

    if (device->step == CCTALK_READY) {
      at += (size_t)snprintf(out + at, CCTALK_ID - at, "%s%u:%" PRId64, at == 0 ? "" : " ",
                             device->address, device->known ? device->serial : 0);
    }
  }
}

int sip_cctalk_ask(struct cctalk *bus, int64_t now_us, const struct cctalk_request *request)
{
  uint8_t bytes[SIP_CCTALK_FRAME_MAX];
  struct sip_cctalk_frame frame = { .dest = request->dest,
                                    .src = SIP_CCTALK_HOST,
                                    .header = request->header,
                                    .size = request->size,
                                    .data = request->data };
  size_t size = sip_cctalk_write(bytes, &frame, bus->form.crc);
  int rc = bus->party.line->send(bus->party.line, bytes, size);

  if (rc < 0) {
    return rc;
  }
  sip_echo_silence(&bus->echo); /* what is still on its way belongs to an older request */
  sip_framer_reset(&bus->in);
  if (bus->echoes == CCTALK_ECHO_YES) {
    (void)sip_echo_sent(&bus->echo, bytes, size); /* a frame always fits */
  }
  bus->request = *request;
  bus->waiting = true;
  bus->answer_by_us = now_us + (int64_t)(2 * size + 16) * CHARACTER_US + bus->reply_us;
  return 0;
}

void sip_cctalk_configure(struct cctalk *bus, int64_t now_us)
{
  bus->devices[0].step = 0;
  bus->devices[0].due_us = now_us;
}

static void tell_identified(struct cctalk *bus, const struct cctalk_device *device)
{
  struct sip_note note = { .name = "identified" };
  char serial[24];

  (void)snprintf(serial, sizeof serial, "%" PRId64, device->known ? device->serial : 0);
  (void)sip_note_bool(&note, "ok", true);
  (void)sip_note_text(&note, "id", serial);
  (void)sip_note_text(&note, "kind", device->kind);
  (void)sip_note_text(&note, "version", device->version);
  (void)sip_note_text(&note, "maker", device->maker);
  (void)sip_note_text(&note, "product", device->product);
  (void)sip_note_int(&note, "address", device->address);
  sip_cctalk_tell(bus, &note);
}

/* What a device is asked, in order; the last two go to an acceptor only. */
static const struct {
  uint8_t header;
  int want;
} IDENTIFY[] = {
  { SIP_CCTALK_POLL, 0 },     { SIP_CCTALK_CATEGORY, -1 },      { SIP_CCTALK_MAKER, -1 },
  { SIP_CCTALK_PRODUCT, -1 }, { SIP_CCTALK_SERIAL_NUMBER, -1 }, { SIP_CCTALK_SOFTWARE, -1 },
  { SIP_CCTALK_INHIBIT, 0 },  { SIP_CCTALK_MASTER_INHIBIT, 0 },
};

static void identify_next(struct cctalk *bus, int64_t now_us, struct cctalk_device *device)
{
  struct cctalk_request request = { .asker = CCTALK_IDENTIFY,
                                    .dest = device->address,
                                    .header = IDENTIFY[device->step].header,
                                    .want = IDENTIFY[device->step].want,
                                    .tries = device->step == 0 ? 2 : 3 };

  if (request.header == SIP_CCTALK_INHIBIT) {
    request.data[0] = (uint8_t)bus->mask;
    request.data[1] = (uint8_t)(bus->mask >> 8);
    request.size = 2;
  } else if (request.header == SIP_CCTALK_MASTER_INHIBIT) {
    request.data[0] = bus->enabled;
    request.size = 1;
  }
  device->due_us = now_us + BUSY_US;
  (void)sip_cctalk_ask(bus, now_us, &request); /* else when it is due again */
}

static void learn_serial(struct cctalk *bus, struct cctalk_device *device,
                         const struct cctalk_reply *reply)
{
  int64_t serial = 0;

  if (reply->status != CCTALK_DATA || reply->size == 0 || reply->size > 4) {
    return;
  }
  for (size_t i = reply->size; i > 0; i--) {
    serial = serial << 8 | reply->data[i - 1];
  }
  if (device->known && device->serial != serial) {
    sip_cctalk_fault(bus, "SWAPPED", "another device answers at this address", device->address);
    if (bus->acceptor && device == &bus->devices[0]) {
      bus->last = -1; /* its counter has nothing to do with the other's */
    }
  }
  device->known = true;
  device->serial = serial;
}

static void copy_text(char out[CCTALK_TEXT], const struct cctalk_reply *reply)
{
  size_t size = reply->status == CCTALK_DATA ? reply->size : 0;

  size = size < CCTALK_TEXT - 1 ? size : CCTALK_TEXT - 1;
  for (size_t i = 0; i < size; i++) {
    out[i] = reply->data[i] >= 0x20 && reply->data[i] < 0x7F ? (char)reply->data[i] : '?';
  }
  out[size] = '\0';
}

static void identified(struct cctalk *bus, int64_t now_us, const struct cctalk_reply *reply)
{
  struct cctalk_device *device = bus->devices;
  bool acceptor;

  while (device->address != bus->request.dest) {
    device++;
  }
  acceptor = bus->acceptor && device == bus->devices;
  device->due_us = now_us;
  if (reply->status == CCTALK_SILENT) {
    device->step = 0;
    device->due_us = now_us + ABSENT_US;
    return;
  }
  switch (bus->request.header) {
  case SIP_CCTALK_CATEGORY:
    copy_text(device->kind, reply);
    break;
  case SIP_CCTALK_MAKER:
    copy_text(device->maker, reply);
    break;
  case SIP_CCTALK_PRODUCT:
    copy_text(device->product, reply);
    break;
  case SIP_CCTALK_SOFTWARE:
    copy_text(device->version, reply);
    break;
  case SIP_CCTALK_SERIAL_NUMBER:
    learn_serial(bus, device, reply);
    break;
  default:
    break;
  }
  device->step++;
  if (device->step == sizeof IDENTIFY / sizeof IDENTIFY[0] - (acceptor ? 0 : 2)) {
    device->step = CCTALK_READY;
    bus->coin_due_us = acceptor ? now_us : bus->coin_due_us;
    tell_identified(bus, device);
  }
}

static void learn_next(struct cctalk *bus, int64_t now_us)
{
  unsigned turn = (unsigned)(now_us / LEARN_US) % bus->device_count;
  struct cctalk_request request = {
    .asker = CCTALK_LEARN, .dest = bus->devices[turn].address, .header = SIP_CCTALK_POLL, .tries = 1
  };

  bus->heard_size = 0;
  bus->learn_us = now_us + LEARN_US;
  (void)sip_cctalk_ask(bus, now_us, &request); /* else a second later */
}

/* Compares what came with what was sent; `over`: nothing more will come. */
static void learn(struct cctalk *bus, int64_t now_us, bool over)
{
  struct sip_cctalk_frame poll = { .dest = bus->request.dest,
                                   .src = SIP_CCTALK_HOST,
                                   .header = bus->request.header };
  uint8_t sent[SIP_CCTALK_FRAME_MAX];
  size_t reply, size = sip_cctalk_write(sent, &poll, bus->form.crc);
  enum sip_cctalk_echo echo =
    sip_cctalk_echo(sent, size, bus->heard, bus->heard_size, bus->form.crc, &reply);

  if (echo == SIP_CCTALK_ECHO_OK || (over && echo == SIP_CCTALK_ECHO_NO_REPLY)) {
    bus->echoes = CCTALK_ECHO_YES;
  } else if (echo == SIP_CCTALK_ECHO_MISSING) {
    bus->echoes = CCTALK_ECHO_NO;
  } else if (!over) {
    return;
  }
  bus->waiting = false;
  bus->quiet_until_us = now_us + PAUSE_US;
}

static void replied(struct cctalk *bus, int64_t now_us, const struct cctalk_reply *reply)
{
  struct cctalk_request again = bus->request;

  bus->waiting = false;
  bus->quiet_until_us = now_us + PAUSE_US;
  if (reply->status == CCTALK_SILENT && again.tries > 1) {
    again.tries--;
    if (sip_cctalk_ask(bus, now_us, &again) == 0) {
      return;
    }
  }
  switch (bus->request.asker) {
  case CCTALK_LEARN:
    learn(bus, now_us, true);
    break;
  case CCTALK_IDENTIFY:
    identified(bus, now_us, reply);
    break;
  case CCTALK_COIN:
    sip_cctalk_credit(bus, now_us, reply);
    break;
  case CCTALK_JOB:
    sip_cctalk_job_reply(bus, now_us, reply);
    break;
  }
}

static void take(struct cctalk *bus, int64_t now_us, const struct sip_frame *bytes)
{
  struct cctalk_reply reply = { .status = CCTALK_DATA };
  struct sip_cctalk_frame frame;

  if (sip_cctalk_read(&frame, bytes->bytes, bytes->size, bus->form.crc) != SIP_CCTALK_OK ||
      !bus->waiting || (!bus->form.crc && frame.src != bus->request.dest)) {
    return;
  }
  if (frame.header == SIP_CCTALK_NAK && frame.size == 0) {
    reply.status = CCTALK_REFUSED;
  } else if (frame.header == SIP_CCTALK_BUSY && frame.size == 0) {
    reply.status = CCTALK_SILENT; /* as if it had not heard */
  } else if (frame.header != SIP_CCTALK_REPLY ||
             (bus->request.want >= 0 && frame.size != bus->request.want)) {
    return; /* a late answer to something else */
  }
  reply.data = frame.data;
  reply.size = frame.size;
  replied(bus, now_us, &reply);
}

static void take_all(struct cctalk *bus, int64_t now_us, const uint8_t *bytes, size_t size)
{
  struct sip_frame frame;

  while (sip_framer_take(&bus->in, now_us, &bytes, &size, &frame)) {
    take(bus, now_us, &frame);
  }
  sip_noise_tell(&bus->noise, now_us, &bus->in, bus->party.line);
}

static void cctalk_on_bytes(struct sip_party *party, int64_t now_us, const uint8_t *bytes,
                            size_t size)
{
  struct cctalk *bus = bus_of(party);
  size_t echo;

  if (bus->echoes == CCTALK_ECHO_AUTO) {
    size_t room = sizeof bus->heard - bus->heard_size;

    size = size < room ? size : room;
    memcpy(bus->heard + bus->heard_size, bytes, size);
    bus->heard_size += size;
    if (bus->waiting) {
      learn(bus, now_us, false);
    }
    return;
  }
  echo = bus->echoes == CCTALK_ECHO_YES ? sip_echo_strip(&bus->echo, bytes, size) : 0;
  bytes += echo;
  size -= echo;
  take_all(bus, now_us, bytes, size);
}

static void cctalk_on_link(struct sip_party *party, int64_t now_us, bool up)
{
  struct cctalk *bus = bus_of(party);
  struct sip_note note = { .name = "status" };

  bus->up = up;
  bus->waiting = false;
  bus->seen = false;
  bus->doubtful = bus->last >= 0;
  bus->echoes = bus->echo_setting;
  bus->quiet_until_us = now_us;
  bus->learn_us = now_us;
  sip_echo_silence(&bus->echo);
  sip_framer_reset(&bus->in);
  for (unsigned i = 0; i < bus->device_count; i++) {
    bus->devices[i].step = 0;
    bus->devices[i].due_us = now_us;
  }
  if (!up) {
    sip_cctalk_job_lost(bus, bus->job.sent ? "LINK" : "NO_LINK", "the line went down");
  }
  (void)sip_note_text(&note, "state", up ? "up" : "down");
  sip_cctalk_tell(bus, &note);
}

/* Whose turn is next, and when. */
static int64_t next_turn(const struct cctalk *bus, enum cctalk_asker *asker, unsigned *device)
{
  int64_t due_us = SIP_NEVER_US, job_us = sip_cctalk_job_due_us(bus);

  if (bus->echoes == CCTALK_ECHO_AUTO) {
    *asker = CCTALK_LEARN;
    return bus->learn_us;
  }
  for (unsigned i = 0; i < bus->device_count; i++) {
    if (bus->devices[i].step != CCTALK_READY && bus->devices[i].due_us < due_us) {
      due_us = bus->devices[i].due_us;
      *asker = CCTALK_IDENTIFY;
      *device = i;
    }
  }
  if (job_us < due_us) {
    due_us = job_us;
    *asker = CCTALK_JOB;
  }
  if (bus->acceptor && bus->devices[0].step == CCTALK_READY && bus->coin_due_us < due_us) {
    due_us = bus->coin_due_us;
    *asker = CCTALK_COIN;
  }
  return due_us;
}

static int64_t cctalk_due_us(const struct sip_party *party)
{
  const struct cctalk *bus = SIP_CONTAINER(party, const struct cctalk, party);
  int64_t frame = sip_framer_due_us(&bus->in), due_us;
  enum cctalk_asker asker;
  unsigned device;

  if (!bus->up) {
    return SIP_NEVER_US;
  }
  if (bus->waiting) {
    due_us = bus->answer_by_us;
  } else {
    due_us = next_turn(bus, &asker, &device);
    due_us = due_us < bus->quiet_until_us ? bus->quiet_until_us : due_us;
  }
  frame = frame == SIP_NEVER_US ? frame : frame + 1;
  return frame < due_us ? frame : due_us;
}

static void turn(struct cctalk *bus, int64_t now_us)
{
  enum cctalk_asker asker = CCTALK_LEARN;
  unsigned device = 0;

  if (now_us < bus->quiet_until_us || next_turn(bus, &asker, &device) > now_us) {
    return;
  }
  switch (asker) {
  case CCTALK_LEARN:
    learn_next(bus, now_us);
    break;
  case CCTALK_IDENTIFY:
    identify_next(bus, now_us, &bus->devices[device]);
    break;
  case CCTALK_COIN:
    sip_cctalk_read_credit(bus, now_us);
    break;
  case CCTALK_JOB:
    sip_cctalk_job_next(bus, now_us);
    break;
  }
}

static void cctalk_on_due(struct sip_party *party, int64_t now_us)
{
  static const struct cctalk_reply silent = { .status = CCTALK_SILENT };
  struct cctalk *bus = bus_of(party);

  if (!bus->up) {
    return;
  }
  if (sip_framer_late(&bus->in, now_us)) {
    take_all(bus, now_us, NULL, 0);
  }
  if (bus->waiting && now_us >= bus->answer_by_us) {
    replied(bus, now_us, &silent);
  }
  if (!bus->waiting) {
    turn(bus, now_us);
  }
}

static unsigned ready_count(const struct cctalk *bus)
{
  unsigned ready = 0;

  for (unsigned i = 0; i < bus->device_count; i++) {
    ready += bus->devices[i].step == CCTALK_READY;
  }
  return ready;
}

static void command_identify(struct cctalk *bus, const struct sip_note *command)
{
  struct sip_note note = { .name = "result", .ticket = command->ticket };
  bool ok = bus->up && ready_count(bus) > 0;
  char id[CCTALK_ID];

  sip_cctalk_id(bus, id);
  (void)sip_note_bool(&note, "ok", ok);
  (void)sip_note_text(&note, "id", id);
  (void)sip_note_text(&note, "kind", bus->devices[0].kind);
  (void)sip_note_text(&note, "version", bus->devices[0].version);
  (void)sip_note_int(&note, "devices", ready_count(bus));
  if (!ok) {
    (void)sip_note_text(&note, "code", "SILENT");
    (void)sip_note_text(&note, "reason", "no device has answered (address, baud, check, echo?)");
  }
  sip_cctalk_tell(bus, &note);
}

static void command_status(struct cctalk *bus, const struct sip_note *command)
{
  static const char *const echoes[] = { "not known yet", "yes", "no" };
  struct sip_note note = { .name = "result", .ticket = command->ticket };
  bool all = bus->up && ready_count(bus) == bus->device_count;

  (void)sip_note_bool(&note, "ok", all);
  (void)sip_note_text(&note, "state",
                      !bus->up                          ? "down"
                      : bus->job.step != JOB_NONE       ? "busy"
                      : all                             ? "ready"
                      : bus->echoes == CCTALK_ECHO_AUTO ? "silent"
                                                        : "identifying");
  (void)sip_note_int(&note, "devices", ready_count(bus));
  (void)sip_note_int(&note, "expected", bus->device_count);
  (void)sip_note_int(&note, "coin_event", bus->last);
  (void)sip_note_text(&note, "echo", echoes[bus->echoes]);
  (void)sip_note_int(&note, "collisions", (int64_t)bus->echo.collisions);
  sip_cctalk_tell(bus, &note);
}

static void command_stop(struct cctalk *bus, int64_t now_us, const struct sip_note *command)
{
  struct sip_note note = { .name = "result", .ticket = command->ticket };
  bool runs = bus->job.step == JOB_POLL && strcmp(bus->job.name, "dispense") == 0;

  if (runs) {
    bus->job.deadline_us = now_us;
    bus->job.due_us = now_us;
  }
  (void)sip_note_bool(&note, "ok", runs);
  if (!runs) {
    (void)sip_note_text(&note, "code", "NOTHING");
    (void)sip_note_text(&note, "reason", "no hopper is paying");
  }
  sip_cctalk_tell(bus, &note);
}

static const char *const COMMANDS[] = { "identify", "status", "counters", "dispense",
                                        "resolve",  "test",   "stop",     "enable",
                                        "disable",  "mask",   "reset",    NULL };

static int cctalk_command(struct sip_party *party, int64_t now_us, const struct sip_note *command,
                          struct sip_err *err)
{
  struct cctalk *bus = bus_of(party);

  if (strcmp(command->name, "identify") == 0) {
    command_identify(bus, command);
    return 0;
  }
  if (strcmp(command->name, "status") == 0) {
    command_status(bus, command);
    return 0;
  }
  if (strcmp(command->name, "stop") == 0) {
    command_stop(bus, now_us, command);
    return 0;
  }
  for (const char *const *name = COMMANDS; *name != NULL; name++) {
    if (strcmp(*name, command->name) == 0) {
      return sip_cctalk_job(bus, now_us, command, err);
    }
  }
  return sip_err_set(err, UV_EINVAL, "cctalk: there is no command \"%s\"", command->name);
}

static void cctalk_free(struct sip_party *party)
{
  struct cctalk *bus = bus_of(party);

  sip_cctalk_job_lost(bus, "CLOSED", "the line was closed");
  sip_framer_deinit(&bus->in);
  free(bus);
}

static const struct sip_party_ops CCTALK_OPS = { .on_link = cctalk_on_link,
                                                 .on_bytes = cctalk_on_bytes,
                                                 .due_us = cctalk_due_us,
                                                 .on_due = cctalk_on_due,
                                                 .command = cctalk_command,
                                                 .free = cctalk_free };

const char *const sip_cctalk_settings[] = { "check",  "echo",    "acceptor", "hopper",   "hoppers",
                                            "coins",  "mask",    "counter",  "security", "cipher",
                                            "id",     "poll_ms", "reply_ms", "enabled",  "tube",
                                            "serial", NULL };

/* "5,10,20" */
static int read_coins(struct cctalk *bus, const struct sip_note *settings, struct sip_err *err)
{
  const struct sip_value *coins = sip_note_find(settings, "coins");
  size_t at = 0;
  bool digit = false;

  for (size_t i = 0; coins != NULL && i < coins->size; i++) {
    char c = coins->text[i];

    if (c >= '0' && c <= '9' && bus->coins[at] < INT32_MAX) {
      bus->coins[at] = bus->coins[at] * 10 + (c - '0');
      digit = true;
    } else if (c == ',' && digit && at + 1 < CCTALK_COINS) {
      at++;
      digit = false;
    } else {
      return sip_err_set(err, UV_EINVAL,
                         "cctalk: coins is not a list of up to %d values as \"5,10,20\"",
                         CCTALK_COINS);
    }
  }
  return 0;
}

static int hex_digit(char c)
{
  if (c >= '0' && c <= '9') {
    return c - '0';
  }
  c = (char)(c | 0x20);
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int sip_cctalk_security(uint8_t out[SIP_CCTALK_SECURITY_MAX], size_t *size,
                        const struct sip_note *settings, struct sip_err *err)
{
  const struct sip_value *text = sip_note_find(settings, "security");

  memset(out, 0, SIP_CCTALK_SECURITY_MAX);
  *size = 8;
  if (text == NULL) {
    return 0;
  }
  if (text->kind != SIP_VALUE_TEXT || text->size % 2 != 0 ||
      text->size / 2 > SIP_CCTALK_SECURITY_MAX) {
    return sip_err_set(err, UV_EINVAL, "cctalk: security is not up to %d bytes in hex",
                       SIP_CCTALK_SECURITY_MAX);
  }
  *size = text->size / 2;
  for (size_t i = 0; i < *size; i++) {
    int high = hex_digit(text->text[2 * i]), low = hex_digit(text->text[2 * i + 1]);

    if (high < 0 || low < 0) {
      return sip_err_set(err, UV_EINVAL, "cctalk: security is not hex");
    }
    out[i] = (uint8_t)(high << 4 | low);
  }
  return 0;
}

static int read_devices(struct cctalk *bus, const struct sip_note *settings, struct sip_err *err)
{
  int64_t acceptor, hopper, hoppers;

  if (sip_fields_int(settings, "cctalk", "acceptor", 0, 255, 2, &acceptor, err) < 0 ||
      sip_fields_int(settings, "cctalk", "hopper", 2, 247, 3, &hopper, err) < 0 ||
      sip_fields_int(settings, "cctalk", "hoppers", 0, CCTALK_HOPPERS, 1, &hoppers, err) < 0) {
    return UV_EINVAL;
  }
  bus->acceptor = acceptor > 0;
  if (bus->acceptor) {
    bus->devices[bus->device_count++].address = (uint8_t)acceptor;
  }
  for (int64_t i = 0; i < hoppers; i++) {
    bus->devices[bus->device_count++].address = (uint8_t)(hopper + i);
  }
  if (bus->device_count == 0 || acceptor == SIP_CCTALK_HOST ||
      (acceptor >= hopper && acceptor < hopper + hoppers)) {
    return sip_err_set(err, UV_EINVAL,
                       "cctalk: acceptor %lld and %lld hoppers from %lld: give each an address of "
                       "its own, not 1",
                       (long long)acceptor, (long long)hoppers, (long long)hopper);
  }
  return 0;
}

static int read_settings(struct cctalk *bus, const struct sip_note *settings, struct sip_err *err)
{
  static const char *const checks[] = { "sum", "crc", NULL };
  static const char *const echoes[] = { "auto", "yes", "no", NULL };
  const struct sip_value *id = sip_note_find(settings, "id");
  int64_t poll_ms, reply_ms, counter;
  int check = sip_fields_word(settings, "cctalk", "check", checks, err);
  int echo = sip_fields_word(settings, "cctalk", "echo", echoes, err);

  if (check < 0 || echo < 0 || sip_fields_known(settings, "cctalk", sip_cctalk_settings, err) < 0 ||
      sip_fields_int(settings, "cctalk", "poll_ms", 20, 1000, 200, &poll_ms, err) < 0 ||
      sip_fields_int(settings, "cctalk", "reply_ms", 20, 2000, 250, &reply_ms, err) < 0 ||
      sip_fields_int(settings, "cctalk", "counter", -1, 255, -1, &counter, err) < 0 ||
      sip_fields_int(settings, "cctalk", "mask", 0, 0xFFFF, 0xFFFF, &bus->mask, err) < 0 ||
      read_coins(bus, settings, err) < 0 ||
      sip_cctalk_security(bus->security, &bus->security_size, settings, err) < 0 ||
      read_devices(bus, settings, err) < 0) {
    return UV_EINVAL;
  }
  bus->form = (struct sip_cctalk_form){ .crc = check == 1, .dest = SIP_CCTALK_HOST };
  bus->echo_setting = (enum cctalk_echo)echo;
  bus->poll_us = poll_ms * 1000;
  bus->reply_us = reply_ms * 1000;
  bus->last = (int)counter;
  bus->cipher = sip_note_number(settings, "cipher", 0) != 0;
  bus->enabled = sip_note_number(settings, "enabled", 1) != 0;
  if (id != NULL) {
    (void)snprintf(bus->expected_id, sizeof bus->expected_id, "%.*s", (int)id->size, id->text);
  }
  return 0;
}

static struct sip_party *cctalk_engine(const struct sip_note *settings, struct sip_line *line,
                                       struct sip_err *err)
{
  struct cctalk *bus = calloc(1, sizeof *bus);

  if (bus == NULL) {
    (void)sip_err_set(err, UV_ENOMEM, "cctalk: no memory for the engine");
    return NULL;
  }
  bus->party = (struct sip_party){ .ops = &CCTALK_OPS, .line = line };
  if (read_settings(bus, settings, err) < 0) {
    free(bus);
    return NULL;
  }
  if (sip_framer_init(&bus->in, &sip_cctalk_framing, &bus->form) < 0) {
    free(bus);
    (void)sip_err_set(err, UV_ENOMEM, "cctalk: no memory for the engine");
    return NULL;
  }
  return &bus->party;
}

const struct sip_protocol sip_protocol_cctalk = {
  .name = "cctalk",
  .title = "ccTalk coin acceptor and hoppers",
  .line = { .baud = 9600, .bits = 8, .stop = 1, .parity = SIP_PARITY_NONE, .dtr = -1, .rts = -1 },
  .proof = "counter",
  .settings = sip_cctalk_settings,
  .commands = COMMANDS,
  .engine = cctalk_engine,
  .simulator = sip_cctalk_simulator,
  .describe = sip_cctalk_describe,
};
