/* ddcmp_sim.c - see ddcmp_sim.h. A request whose number is not the next one is not obeyed; one that
 * comes again is acknowledged again. */
#include "serial/ddcmp_sim.h"

#include <string.h>

enum {
  ACK_US = 900000, /* 170 ms behind the end of a message at 2400 Bd */
  TRIES = 5,
  STATION = 1,
  REQUEST = 0x77,
  RESPONSE = 0x88,
  BLOCK = 0x99,
  WHO_ARE_YOU = 0xE0,
  READ_DATA = 0xE2,
  FINISH = 0xFF
};

int sip_ddcmp_sim_init(struct sip_ddcmp_sim *sim, struct sip_dex_machine *machine,
                       struct sip_misbehave *faults, size_t part)
{
  *sim = (struct sip_ddcmp_sim){
    .machine = machine, .faults = faults, .part = part, .due_us = SIP_NEVER_US
  };
  return sip_framer_init(&sim->in, &sip_ddcmp_framing, NULL);
}

void sip_ddcmp_sim_deinit(struct sip_ddcmp_sim *sim)
{
  sip_framer_deinit(&sim->in);
  sip_buf_deinit(&sim->text);
}

void sip_ddcmp_sim_reset(struct sip_ddcmp_sim *sim)
{
  sip_framer_reset(&sim->in);
  sim->open = false;
  sim->reading = false;
  sim->due_us = SIP_NEVER_US;
}

static void transmit(struct sip_ddcmp_sim *sim, int64_t now_us, const uint8_t *bytes, size_t size)
{
  if (!sip_misbehave_take(sim->faults, SIP_MISBEHAVE_MUTE)) {
    sip_misbehave_send(sim->faults, now_us, bytes, size);
  }
}

static void send_control(struct sip_ddcmp_sim *sim, int64_t now_us, uint8_t type, uint8_t rx,
                         uint8_t tx)
{
  struct sip_ddcmp_message message = {
    .type = type, .sync = true, .rx = rx, .tx = tx, .address = STATION
  };
  uint8_t out[SIP_DDCMP_FRAME_MAX];
  size_t size = sip_ddcmp_write(out, &message);

  transmit(sim, now_us, out, size);
}

static void send_data(struct sip_ddcmp_sim *sim, int64_t now_us, const uint8_t *bytes, size_t size,
                      bool last)
{
  struct sip_ddcmp_message message = { .data = true,
                                       .sync = true,
                                       .last = last,
                                       .rx = sim->rx,
                                       .tx = ++sim->tx,
                                       .address = STATION,
                                       .bytes = bytes,
                                       .size = size };

  sim->out_size = sip_ddcmp_write(sim->out, &message);
  sim->tries = 0;
  sim->due_us = now_us + ACK_US;
  transmit(sim, now_us, sim->out, sim->out_size);
}

static void send_block(struct sip_ddcmp_sim *sim, int64_t now_us)
{
  uint8_t block[SIP_DDCMP_DATA_MAX] = { BLOCK, ++sim->block };
  size_t left = sim->text.len - sim->at, part = left < sim->part ? left : sim->part;

  memcpy(block + 2, sim->text.data + sim->at, part);
  sim->at += part;
  send_data(sim, now_us, block, part + 2, part == left);
}

static void obey(struct sip_ddcmp_sim *sim, int64_t now_us, const uint8_t *bytes, size_t size)
{
  uint8_t who[21] = { RESPONSE, WHO_ARE_YOU, 1,   0,   0,   0,   0,   'S',
                      'I',      'M',         '0', '0', '0', '0', '1', 1 };
  uint8_t read[9] = { RESPONSE, READ_DATA, 1, 1, 1, 0, 0 };

  if (size < 2 || bytes[0] != REQUEST) {
    return;
  }
  if (bytes[1] == WHO_ARE_YOU && size == 16) {
    who[2] = !sim->refuses;
    send_data(sim, now_us, who, sizeof who, false);
  } else if (bytes[1] == READ_DATA && size == 9) {
    sim->reading = !sim->refuses && sip_dex_machine_text(sim->machine, &sim->text) == 0;
    sim->at = 0;
    sim->block = 0;
    read[2] = sim->reading;
    read[7] = (uint8_t)(sim->text.len >> 8);
    read[8] = (uint8_t)sim->text.len;
    send_data(sim, now_us, read, sizeof read, false);
  } else if (bytes[1] == FINISH) {
    sip_dex_machine_read(sim->machine);
    sim->open = false;
  }
}

static void hear_data(struct sip_ddcmp_sim *sim, int64_t now_us,
                      const struct sip_ddcmp_message *message)
{
  if (message->tx == sim->rx && sim->heard) {
    send_control(sim, now_us, SIP_DDCMP_ACK, sim->rx, 0);
    return;
  }
  if (!sim->open || message->tx != (uint8_t)(sim->rx + 1)) {
    return;
  }
  sim->rx = message->tx;
  sim->heard = true;
  send_control(sim, now_us, SIP_DDCMP_ACK, sim->rx, 0);
  obey(sim, now_us, message->bytes, message->size);
}

static void hear_control(struct sip_ddcmp_sim *sim, int64_t now_us,
                         const struct sip_ddcmp_message *message)
{
  if (message->type == SIP_DDCMP_START) {
    sip_ddcmp_sim_reset(sim);
    sim->open = true;
    sim->heard = false;
    sim->tx = 0;
    sim->rx = 0;
    send_control(sim, now_us, SIP_DDCMP_STACK, 2, message->tx);
  } else if (sim->due_us == SIP_NEVER_US) {
    return; /* nothing of ours is open */
  } else if (message->type == SIP_DDCMP_ACK && message->rx == sim->tx) {
    sim->due_us = SIP_NEVER_US;
    if (sim->reading && sim->at < sim->text.len) {
      send_block(sim, now_us);
    }
  } else if (message->type == SIP_DDCMP_NACK) {
    transmit(sim, now_us, sim->out, sim->out_size);
  }
}

static void hear_all(struct sip_ddcmp_sim *sim, int64_t now_us, const uint8_t *bytes, size_t size)
{
  struct sip_ddcmp_message message;
  struct sip_frame frame;

  while (sip_framer_take(&sim->in, now_us, &bytes, &size, &frame)) {
    enum sip_ddcmp_fault fault = sip_ddcmp_read(&message, frame.bytes, frame.size);

    if (sip_misbehave_take(sim->faults, SIP_MISBEHAVE_RESET)) {
      sip_ddcmp_sim_reset(sim);
    } else if (fault == SIP_DDCMP_DATA_CRC) {
      send_control(sim, now_us, SIP_DDCMP_NACK, sim->rx, 2);
    } else if (message.data) {
      hear_data(sim, now_us, &message);
    } else {
      hear_control(sim, now_us, &message);
    }
  }
}

void sip_ddcmp_sim_bytes(struct sip_ddcmp_sim *sim, int64_t now_us, const uint8_t *bytes,
                         size_t size)
{
  hear_all(sim, now_us, bytes, size);
}

int64_t sip_ddcmp_sim_due_us(const struct sip_ddcmp_sim *sim)
{
  int64_t frame = sip_framer_due_us(&sim->in);

  return frame < sim->due_us ? frame : sim->due_us;
}

void sip_ddcmp_sim_due(struct sip_ddcmp_sim *sim, int64_t now_us)
{
  if (sip_framer_late(&sim->in, now_us)) {
    hear_all(sim, now_us, NULL, 0);
  }
  if (now_us < sim->due_us) {
    return;
  }
  if (++sim->tries < TRIES) {
    sim->due_us = now_us + ACK_US;
    transmit(sim, now_us, sim->out, sim->out_size);
  } else {
    sip_ddcmp_sim_reset(sim);
  }
}
