/* wire.c - two parties and the line between them, on simulated time. */
#include "support/wire.h"

#include "support/notes.h"
#include "support/test.h"

enum { LIVELOCK = 100000, NOISE_MOST = 12, CHARACTER_BITS = 10, TOLD_WITHIN_US = 1200 * 1000000 };

/* Bytes on their way. */
struct piece {
  struct sip_list node;
  int64_t due_us;
  int to;
  size_t size;
  uint8_t bytes[];
};

struct kept {
  struct sip_list node;
  struct sip_note *note;
};

uint64_t wire_random(struct wire *wire, uint64_t below)
{
  wire->random ^= wire->random << 13;
  wire->random ^= wire->random >> 7;
  wire->random ^= wire->random << 17;
  return (wire->random >> 11) % below;
}

static void wire_fly(struct wire *wire, int from, const uint8_t *bytes, size_t size,
                     int64_t later_us)
{
  struct wire_end *end = &wire->ends[from];
  struct piece *piece = malloc(sizeof *piece + size);
  struct sip_list *before = wire->flying.prev;
  int64_t due_us = wire->now_us + wire->latency_us + later_us +
                   (int64_t)size * CHARACTER_BITS * 1000000 / wire->baud;

  CHECK(piece != NULL);
  end->last_us = end->last_us > due_us ? end->last_us : due_us; /* nothing overtakes */
  piece->due_us = end->last_us;
  piece->to = 1 - from;
  piece->size = size;
  memcpy(piece->bytes, bytes, size);
  while (before != &wire->flying &&
         SIP_CONTAINER(before, struct piece, node)->due_us > piece->due_us) {
    before = before->prev;
  }
  sip_list_push(before->next, &piece->node);
}

/* What becomes of a piece with a fault at a byte. */
static void wire_spoil(struct wire *wire, int from, const uint8_t *bytes, size_t size,
                       unsigned kind, size_t at)
{
  uint8_t spoilt[4096], noise[NOISE_MOST];
  size_t noise_size = 1 + (size_t)wire_random(wire, sizeof noise);

  CHECK(size <= sizeof spoilt);
  memcpy(spoilt, bytes, size);
  wire->faulty++;
  switch (kind) {
  case WIRE_DROP:
    return;
  case WIRE_LOSE:
    memmove(spoilt + at, spoilt + at + 1, size - at - 1);
    if (size > 1) {
      wire_fly(wire, from, spoilt, size - 1, 0);
    }
    return;
  case WIRE_CORRUPT:
    spoilt[at] ^= (uint8_t)(1 + wire_random(wire, 255));
    break;
  case WIRE_DUPLICATE:
    wire_fly(wire, from, spoilt, size, 0);
    break;
  case WIRE_DELAY:
    wire_fly(wire, from, spoilt, size, (int64_t)wire_random(wire, (uint64_t)wire->delay_us + 1));
    return;
  case WIRE_SPLIT:
    if (at > 0) {
      wire_fly(wire, from, spoilt, at, 0);
      wire_fly(wire, from, spoilt + at, size - at, (int64_t)wire_random(wire, 8000));
      return;
    }
    break;
  case WIRE_MERGE: /* the next one may catch up with it; pieces of one moment arrive as one */
    wire_fly(wire, from, spoilt, size, 5000);
    return;
  case WIRE_NOISE:
    for (size_t i = 0; i < noise_size; i++) {
      noise[i] = (uint8_t)wire_random(wire, 256);
    }
    wire_fly(wire, from, noise, noise_size, 0);
    break;
  default:
    wire_hang_up(wire, 10000 + (int64_t)wire_random(wire, 3000000));
    return;
  }
  wire_fly(wire, from, spoilt, size, 0);
}

/* The fault of this piece; 0: none. */
static unsigned wire_fault(struct wire *wire, size_t size, size_t *at)
{
  unsigned kind;

  if (wire->aim.kind != 0 && wire->sent == wire->aim.piece) {
    wire->aimed_bytes = size;
    *at = wire->aim.at < size ? wire->aim.at : size - 1;
    return wire->aim.kind;
  }
  if (wire->faults == 0 || wire_random(wire, 10000) >= wire->per_10000) {
    return 0;
  }
  *at = (size_t)wire_random(wire, size);
  do {
    kind = 1u << wire_random(wire, WIRE_KINDS);
  } while ((kind & wire->faults) == 0);
  return kind;
}

static int wire_on_send(struct sip_line *line, const void *bytes, size_t size)
{
  struct wire_end *end = SIP_CONTAINER(line, struct wire_end, line);
  struct wire *wire = end->wire;
  int from = (int)(end - wire->ends);
  unsigned kind;
  size_t at = 0;

  if (!wire->up || wire->up_us != SIP_NEVER_US) {
    return UV_ENODEV;
  }
  CHECK(size > 0);
  end->pieces++;
  if (wire->tap != NULL) {
    wire->tap(wire->arg, from, bytes, size);
  }
  kind = wire_fault(wire, size, &at);
  wire->sent++;
  if (kind != 0) {
    wire_spoil(wire, from, bytes, size, kind, at);
  } else {
    wire_fly(wire, from, bytes, size, 0);
  }
  return 0;
}

static void wire_on_tell(struct sip_line *line, const struct sip_note *note)
{
  struct wire_end *end = SIP_CONTAINER(line, struct wire_end, line);
  struct kept *kept = malloc(sizeof *kept);

  CHECK(kept != NULL);
  kept->note = sip_note_copy(note);
  CHECK(kept->note != NULL);
  sip_list_push(&end->notes, &kept->node);
}

struct wire *wire_new(uint64_t seed)
{
  struct wire *wire = calloc(1, sizeof *wire);

  CHECK(wire != NULL);
  wire->random = seed * 0x9E3779B97F4A7C15u + 1;
  wire->baud = 9600;
  wire->latency_us = 1000;
  wire->delay_us = 300000;
  wire->up_us = SIP_NEVER_US;
  wire->now_us = 1000000;
  sip_list_init(&wire->flying);
  for (int i = 0; i < 2; i++) {
    wire->ends[i].line = (struct sip_line){ wire_on_send, wire_on_tell };
    wire->ends[i].wire = wire;
    sip_list_init(&wire->ends[i].notes);
  }
  return wire;
}

static void wire_clear(struct wire *wire)
{
  struct sip_list *node;

  while ((node = sip_list_shift(&wire->flying)) != NULL) {
    free(SIP_CONTAINER(node, struct piece, node));
  }
  wire->ends[0].last_us = 0;
  wire->ends[1].last_us = 0;
}

void wire_free(struct wire *wire)
{
  for (int i = 0; i < 2; i++) {
    if (wire->ends[i].party != NULL) {
      wire->ends[i].party->ops->free(wire->ends[i].party);
    }
    wire_forget(wire, i);
    sip_buf_deinit(&wire->ends[i].got);
  }
  wire_clear(wire);
  free(wire);
}

struct sip_line *wire_line(struct wire *wire, int side)
{
  return &wire->ends[side].line;
}

void wire_join(struct wire *wire, struct sip_party *host, struct sip_party *board)
{
  wire->ends[WIRE_HOST].party = host;
  wire->ends[WIRE_BOARD].party = board;
}

void wire_link(struct wire *wire, bool up)
{
  if (wire->up == up) {
    return;
  }
  wire->up = up;
  wire->up_us = SIP_NEVER_US;
  wire_clear(wire);
  for (int i = 0; i < 2; i++) {
    struct sip_party *party = wire->ends[i].party;

    if (party != NULL) {
      party->ops->on_link(party, wire->now_us, up);
    }
  }
}

void wire_hang_up(struct wire *wire, int64_t for_us)
{
  wire->hang_ups++;
  wire_clear(wire);
  wire->up_us = wire->now_us + for_us; /* the parties hear of it in wire_step: one may be sending */
}

static void wire_arrive(struct wire *wire)
{
  uint8_t bytes[8192];
  size_t size = 0;
  int to = SIP_CONTAINER(wire->flying.next, struct piece, node)->to;

  while (!sip_list_empty(&wire->flying)) {
    struct piece *piece = SIP_CONTAINER(wire->flying.next, struct piece, node);

    if (piece->to != to || piece->due_us > wire->now_us || size + piece->size > sizeof bytes) {
      break;
    }
    memcpy(bytes + size, piece->bytes, piece->size);
    size += piece->size;
    sip_list_remove(&piece->node);
    free(piece);
  }
  if (wire->ends[to].party != NULL) {
    wire->ends[to].party->ops->on_bytes(wire->ends[to].party, wire->now_us, bytes, size);
  } else {
    CHECK_INT(sip_buf_add(&wire->ends[to].got, bytes, size), 0);
  }
}

static int64_t wire_next_us(const struct wire *wire)
{
  int64_t next_us = wire->up_us;

  if (wire->up && next_us != SIP_NEVER_US) {
    return wire->now_us; /* the parties have not heard of the hang-up */
  }
  if (!sip_list_empty(&wire->flying)) {
    int64_t due_us = SIP_CONTAINER(wire->flying.next, struct piece, node)->due_us;

    next_us = due_us < next_us ? due_us : next_us;
  }
  for (int i = 0; i < 2; i++) {
    struct sip_party *party = wire->ends[i].party;
    int64_t due_us = party == NULL ? SIP_NEVER_US : party->ops->due_us(party);

    next_us = due_us < next_us ? due_us : next_us;
  }
  return next_us;
}

/* Does what is due now, one thing. */
static void wire_step(struct wire *wire)
{
  int64_t back_us = wire->up_us;

  if (wire->up && back_us != SIP_NEVER_US) {
    wire_link(wire, false);
    wire->up_us = back_us;
    return;
  }
  if (!wire->up && back_us <= wire->now_us) {
    wire_link(wire, true);
    return;
  }
  if (!sip_list_empty(&wire->flying) &&
      SIP_CONTAINER(wire->flying.next, struct piece, node)->due_us <= wire->now_us) {
    wire_arrive(wire);
    return;
  }
  for (int i = 0; i < 2; i++) {
    struct sip_party *party = wire->ends[i].party;

    if (party != NULL && party->ops->due_us(party) <= wire->now_us) {
      party->ops->on_due(party, wire->now_us);
      return;
    }
  }
}

/* One thing before `until_us`; false: there is none. */
static bool wire_turn(struct wire *wire, int64_t until_us, unsigned *turns)
{
  int64_t next_us = wire_next_us(wire);

  if (next_us > until_us) {
    wire->now_us = until_us;
    return false;
  }
  *turns = next_us > wire->now_us ? 0 : *turns + 1;
  if (*turns > LIVELOCK) {
    SIP_TEST_FAIL("time stands still at %lld us", (long long)wire->now_us);
  }
  wire->now_us = next_us > wire->now_us ? next_us : wire->now_us;
  wire_step(wire);
  return true;
}

void wire_run(struct wire *wire, int64_t for_us)
{
  int64_t until_us = wire->now_us + for_us;
  unsigned turns = 0;

  while (wire_turn(wire, until_us, &turns)) {
  }
}

void wire_put(struct wire *wire, int side, const void *bytes, size_t size)
{
  wire_fly(wire, side, bytes, size, 0);
}

int wire_refused(struct wire *wire, int side, const struct sip_note *command)
{
  struct sip_party *party = wire->ends[side].party;
  struct sip_err err = { 0 };
  int rc = party->ops->command(party, wire->now_us, command, &err);

  CHECK_INT(err.code, rc);
  CHECK(rc == 0 || err.message[0] != '\0');
  return rc;
}

void wire_command(struct wire *wire, int side, const struct sip_note *command)
{
  struct sip_party *party = wire->ends[side].party;
  struct sip_err err = { 0 };

  if (party->ops->command(party, wire->now_us, command, &err) != 0) {
    SIP_TEST_FAIL("%s is refused: %s", command->name, err.message);
  }
}

static struct sip_note *wire_pick(struct wire *wire, int side, const char *name, uint64_t ticket)
{
  struct sip_list *notes = &wire->ends[side].notes;

  for (struct sip_list *node = notes->next; node != notes; node = node->next) {
    struct kept *kept = SIP_CONTAINER(node, struct kept, node);

    if ((name == NULL || strcmp(kept->note->name, name) == 0) &&
        (ticket == 0 || kept->note->ticket == ticket)) {
      struct sip_note *note = kept->note;

      sip_list_remove(node);
      free(kept);
      return note;
    }
  }
  return NULL;
}

struct sip_note *wire_take(struct wire *wire, int side, const char *name)
{
  return wire_pick(wire, side, name, 0);
}

static struct sip_note *wire_expect(struct wire *wire, int side, const char *name, uint64_t ticket,
                                    int64_t limit_us)
{
  int64_t until_us = wire->now_us + limit_us;
  struct sip_note *note;
  unsigned turns = 0;

  while ((note = wire_pick(wire, side, name, ticket)) == NULL) {
    if (!wire_turn(wire, until_us, &turns)) {
      SIP_TEST_FAIL("no \"%s\" of ticket %llu within %lld us", name, (unsigned long long)ticket,
                    (long long)limit_us);
    }
  }
  return note;
}

struct sip_note *wire_result(struct wire *wire, int side, uint64_t ticket, int64_t limit_us)
{
  return wire_expect(wire, side, "result", ticket, limit_us);
}

struct sip_note *wire_await(struct wire *wire, int side, const char *name, int64_t limit_us)
{
  return wire_expect(wire, side, name, 0, limit_us);
}

struct sip_note *wire_ask(struct wire *wire, int side, const struct sip_note *command,
                          int64_t limit_us)
{
  wire_command(wire, side, command);
  return wire_result(wire, side, command->ticket, limit_us);
}

void wire_forget(struct wire *wire, int side)
{
  struct sip_note *note;

  while ((note = wire_take(wire, side, NULL)) != NULL) {
    free(note);
  }
}

int64_t wire_state(struct wire *wire, const char *name)
{
  struct sip_note state = { .name = "state", .ticket = UINT64_MAX };
  struct sip_note *result = wire_ask(wire, WIRE_BOARD, &state, 0);
  int64_t number = sip_note_number(result, name, -1);

  CHECK(number >= 0);
  free(result);
  return number;
}

/* What was aimed at when a test failed. */
static struct wire_aim last_aim;

static void wire_print_aim(void)
{
  if (last_aim.kind != 0) {
    (void)fprintf(stderr, "with fault %u at byte %zu of piece %llu\n", last_aim.kind, last_aim.at,
                  (unsigned long long)last_aim.piece);
  }
}

/* @return false when the scene has no such piece, or the piece no such byte */
static bool wire_play(unsigned kind, uint64_t piece, size_t at, void (*scene)(struct wire *wire))
{
  struct wire *wire = wire_new(1 + piece * 64 + at);
  bool aimed;

  wire->aim = (struct wire_aim){ kind, piece, at };
  last_aim = wire->aim;
  scene(wire);
  aimed = wire->aimed_bytes > at;
  wire_free(wire);
  return aimed;
}

unsigned wire_sweep(unsigned kinds, void (*scene)(struct wire *wire))
{
  const unsigned each_byte = WIRE_LOSE | WIRE_CORRUPT | WIRE_SPLIT;
  unsigned played = 0;

  CHECK_INT(atexit(wire_print_aim), 0);
  for (unsigned kind = 1; kind < WIRE_FAULTS; kind <<= 1) {
    for (uint64_t piece = 0; (kind & kinds) != 0; piece++) {
      size_t at = 0;

      while (wire_play(kind, piece, at, scene)) {
        played++;
        at++;
        if ((kind & each_byte) == 0) {
          break;
        }
      }
      if (at == 0) {
        break; /* the scene was over before */
      }
    }
  }
  last_aim.kind = 0;
  return played;
}

struct sip_note *wire_tell(struct wire *wire, int side, struct sip_note command)
{
  return wire_ask(wire, side, &command, TOLD_WITHIN_US);
}

void wire_order(struct wire *wire, const char *name, const char *field, int64_t value)
{
  free(wire_tell(wire, WIRE_BOARD, note_with(name, field, value)));
}

void wire_misbehave(struct wire *wire, const char *kind, int64_t times)
{
  struct sip_note note = note_with("fault", "times", times);

  CHECK(sip_note_text(&note, "kind", kind));
  free(wire_tell(wire, WIRE_BOARD, note));
}

void wire_check_order(struct wire *wire, const struct sip_note *result, int64_t runs,
                      int64_t fallen)
{
  runs = wire_state(wire, "motor_runs") - runs;
  fallen = wire_state(wire, "fallen") - fallen;
  CHECK(runs <= 1);
  if (sip_note_is(result, "outcome", "done")) {
    CHECK_INT(runs, 1);
    CHECK_INT(fallen, 1);
  } else if (sip_note_is(result, "outcome", "failed")) {
    CHECK_INT(fallen, 0);
  } else {
    CHECK(sip_note_is(result, "outcome", "unknown"));
  }
}
