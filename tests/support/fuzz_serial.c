/* fuzz_serial.c - see fuzz_serial.h. */
#include "support/fuzz_serial.h"

#include "core/base.h"

#include <string.h>

struct ears {
  struct sip_line line;
  uint64_t ticket;
  unsigned results;
};

static size_t piece_of(const uint8_t *data, size_t size)
{
  return size == 0 ? 1 : 1 + (size_t)data[0] % 64;
}

void fuzz_frames(const struct sip_framing *framing, const void *of, const uint8_t *data,
                 size_t size, fuzz_frame_fn check)
{
  size_t piece = piece_of(data, size), framed = 0, at = 0;
  struct sip_framer framer;
  struct sip_frame frame;

  FUZZ_CHECK(sip_framer_init(&framer, framing, of) == 0, "no memory");
  while (at < size) {
    size_t part = size - at < piece ? size - at : piece;

    at += sip_framer_feed(&framer, (int64_t)at, data + at, part);
    while (sip_framer_next(&framer, &frame)) {
      framed += frame.size;
      check(&frame, of);
    }
  }
  if (sip_framer_late(&framer, INT64_MAX - 1)) {
    while (sip_framer_next(&framer, &frame)) {
      framed += frame.size;
      check(&frame, of);
    }
  }
  FUZZ_CHECK(framed + framer.dropped + (framer.end - framer.begin) == size,
             "%zu and %zu of %zu bytes", framed, (size_t)framer.dropped, size);
  sip_framer_deinit(&framer);
}

static int on_send(struct sip_line *line, const void *bytes, size_t size)
{
  (void)line;
  FUZZ_CHECK(bytes != NULL && size > 0, "nothing is sent");
  return 0;
}

static void on_tell(struct sip_line *line, const struct sip_note *note)
{
  struct ears *ears = SIP_CONTAINER(line, struct ears, line);

  FUZZ_CHECK(note->count <= SIP_NOTE_FIELDS, "too many fields");
  ears->results += strcmp(note->name, "result") == 0 && note->ticket == ears->ticket;
}

static void live(struct sip_party *party, const struct sip_note *command, const uint8_t *data,
                 size_t size)
{
  size_t piece = piece_of(data, size);
  int64_t now_us = 1000000;

  party->ops->on_link(party, now_us, true);
  if (command != NULL) {
    FUZZ_CHECK(party->ops->command(party, now_us, command, NULL) == 0, "refused");
  }
  for (size_t at = 0; at < size; at += piece) {
    size_t part = size - at < piece ? size - at : piece;
    int64_t due_us;

    now_us += 1000;
    party->ops->on_bytes(party, now_us, data + at, part);
    due_us = party->ops->due_us(party);
    if (due_us < now_us + 20000000) {
      now_us = due_us > now_us ? due_us : now_us;
      party->ops->on_due(party, now_us);
    }
  }
  party->ops->on_link(party, now_us, false);
  party->ops->free(party);
}

void fuzz_parties(const struct sip_protocol *protocol, const struct sip_note *settings,
                  const struct sip_note *command, const uint8_t *data, size_t size)
{
  struct ears ears = { .line = { .send = on_send, .tell = on_tell }, .ticket = command->ticket };
  struct sip_party *party = protocol->engine(settings, &ears.line, NULL);

  FUZZ_CHECK(party != NULL, "no memory");
  live(party, command, data, size);
  FUZZ_CHECK(ears.results == 1, "%u results", ears.results);
  party = protocol->simulator(settings, &ears.line, NULL);
  FUZZ_CHECK(party != NULL, "no memory");
  live(party, NULL, data, size);
}

void fuzz_describe(const struct sip_protocol *protocol, const uint8_t *data, size_t size,
                   bool from_host)
{
  char text[80];
  size_t taken;

  for (size_t at = 0; at < size; at += taken) {
    taken = protocol->describe(data + at, size - at, from_host, text, sizeof text);
    FUZZ_CHECK(taken <= size - at, "%zu of %zu bytes", taken, size - at);
    if (taken == 0) {
      return;
    }
    FUZZ_CHECK(memchr(text, '\0', sizeof text) != NULL, "no end");
  }
}
