#ifndef SIP_TEST_WIRE_H
#define SIP_TEST_WIRE_H
/* wire.h - a serial line between two parties, an engine and its simulator, on simulated time.
 *
 * What one sends reaches the other after the time that it takes on the line, in order, or as the
 * faults have it: one in so many pieces sent is lost, loses a byte, changes, comes twice, late,
 * in two halves, together with the next one, behind noise, or the link goes away for a while. What
 * happens depends on the seed alone. A side without a party is played by the test. */
#include "core/buf.h"
#include "core/list.h"
#include "serial/party.h"

enum { WIRE_HOST, WIRE_BOARD };

enum wire_fault {
  WIRE_DROP = 1,
  WIRE_LOSE = 2, /* one byte */
  WIRE_CORRUPT = 4,
  WIRE_DUPLICATE = 8,
  WIRE_DELAY = 16,
  WIRE_SPLIT = 32,
  WIRE_MERGE = 64,
  WIRE_NOISE = 128,
  WIRE_HANG_UP = 256,
  WIRE_KINDS = 9,
  WIRE_FAULTS = 511 /* all of them */
};

/* One fault at one place. */
struct wire_aim {
  unsigned kind;  /* 0: none */
  uint64_t piece; /* of all that both sides send, from 0 */
  size_t at;      /* the byte */
};

struct wire;

struct wire_end {
  struct sip_line line;
  struct wire *wire; /* borrowed */
  struct sip_party *party;
  struct sip_list notes; /* what it told, oldest first */
  int64_t last_us;       /* when the last piece on its way to the other side arrives */
  uint64_t pieces;       /* sent */
  struct sip_buf got;    /* what came for a side without a party */
};

struct wire {
  /* Set by the test, at any time. */
  unsigned faults;     /* kinds, as a set */
  struct wire_aim aim; /* beside those */
  unsigned per_10000;  /* pieces that have one */
  int64_t delay_us;    /* of WIRE_DELAY, at most */
  int64_t latency_us;  /* of each piece */
  unsigned baud;
  void (*tap)(void *arg, int side, const uint8_t *bytes, size_t size); /* what `side` sends */
  void *arg;
  /* Read by the test. */
  int64_t now_us;
  uint64_t sent;             /* pieces of both sides */
  size_t aimed_bytes;        /* of the piece that was aimed at; 0: it was not sent */
  uint64_t faulty, hang_ups; /* pieces that had a fault; times the link went away */
  bool up;
  struct wire_end ends[2];
  /* Its own. */
  struct sip_list flying; /* pieces, the next one to arrive first */
  int64_t up_us;          /* when the link comes back */
  uint64_t random;
};

struct wire *wire_new(uint64_t seed);
void wire_free(struct wire *wire); /* and the parties */

struct sip_line *wire_line(struct wire *wire, int side);

/** The parties belong to the wire from now on; NULL: the test plays that side. The link is down. */
void wire_join(struct wire *wire, struct sip_party *host, struct sip_party *board);

void wire_link(struct wire *wire, bool up);
void wire_hang_up(struct wire *wire, int64_t for_us);
void wire_run(struct wire *wire, int64_t for_us);

/** As if the party of `side` had sent it, without faults. */
void wire_put(struct wire *wire, int side, const void *bytes, size_t size);

/** Gives the command; a refusal fails the test. */
void wire_command(struct wire *wire, int side, const struct sip_note *command);

/** Gives the command; returns the refusal's code, or 0. */
int wire_refused(struct wire *wire, int side, const struct sip_note *command);

/** Takes the oldest note of this name (NULL: of any) that `side` told, or NULL; for free(). */
struct sip_note *wire_take(struct wire *wire, int side, const char *name);

/** Runs until `side` tells the result of `ticket`; fails the test after `limit_us`. For free(). */
struct sip_note *wire_result(struct wire *wire, int side, uint64_t ticket, int64_t limit_us);

/** The command and its result. */
struct sip_note *wire_ask(struct wire *wire, int side, const struct sip_note *command,
                          int64_t limit_us);

/** Runs until `side` tells a note of this name; fails the test after `limit_us`. For free(). */
struct sip_note *wire_await(struct wire *wire, int side, const char *name, int64_t limit_us);

/** Forgets all notes of `side`. */
void wire_forget(struct wire *wire, int side);

/** Adds up an integer of the `result` that the simulator gives to `state`. */
int64_t wire_state(struct wire *wire, const char *name);

/** The command and its result, of which minutes may pass. */
struct sip_note *wire_tell(struct wire *wire, int side, struct sip_note command);

/** Gives the board this order, with one field, and forgets the result. */
void wire_order(struct wire *wire, const char *name, const char *field, int64_t value);

/** Lets the board misbehave so, that many times. */
void wire_misbehave(struct wire *wire, const char *kind, int64_t times);

/** The outcome that a result tells of an order fits what the simulated machine did since it had
 *  had that many `runs` of motors and `fallen` goods. */
void wire_check_order(struct wire *wire, const struct sip_note *result, int64_t runs,
                      int64_t fallen);

/** Plays `scene` on a new wire for every kind of `kinds`, at every byte of every piece that the
 * scene sends before its end. @return how often it was played */
unsigned wire_sweep(unsigned kinds, void (*scene)(struct wire *wire));

uint64_t wire_random(struct wire *wire, uint64_t below);

#endif
