#ifndef SIP_SERIAL_MISBEHAVE_H
#define SIP_SERIAL_MISBEHAVE_H
/* misbehave.h - what every simulator can do wrong, on command: `fault` {kind, times = 1, ms}.
 *
 * drop       the next frames do not leave
 * delay      the next frames leave `ms` (300) later, and those behind them not before
 * duplicate  the next frames leave twice
 * corrupt    one byte of the next frames is another one
 * forever    noise without a pause, `times` pieces of 16 bytes, a millisecond apart
 * reset, jam, silent, lie, mute: the simulator's own; it asks sip_misbehave_take, and says in its
 * header what they mean there.
 *
 * One owner, any thread. What comes is the same for the same commands. */
#include "serial/party.h"

enum sip_misbehaviour {
  SIP_MISBEHAVE_DROP,
  SIP_MISBEHAVE_DELAY,
  SIP_MISBEHAVE_DUPLICATE,
  SIP_MISBEHAVE_CORRUPT,
  SIP_MISBEHAVE_FOREVER,
  SIP_MISBEHAVE_RESET,  /* the board starts anew and forgets what it did */
  SIP_MISBEHAVE_JAM,    /* the motor turns, nothing falls */
  SIP_MISBEHAVE_SILENT, /* something falls, the sensor does not see it */
  SIP_MISBEHAVE_LIE,    /* the answer is wrong */
  SIP_MISBEHAVE_MUTE,   /* says nothing where it should */
  SIP_MISBEHAVIOURS
};

enum { SIP_MISBEHAVE_FRAME = 512, SIP_MISBEHAVE_HELD = 8 };

struct sip_misbehave_held {
  int64_t due_us;
  size_t size;
  uint8_t bytes[SIP_MISBEHAVE_FRAME];
};

struct sip_misbehave {
  struct sip_line *line; /* borrowed */
  unsigned left[SIP_MISBEHAVIOURS];
  int64_t delay_us, noise_us; /* noise: when the next piece is due */
  uint64_t random;
  struct sip_misbehave_held held[SIP_MISBEHAVE_HELD]; /* frames that wait, in order */
  unsigned held_count;
};

void sip_misbehave_init(struct sip_misbehave *faults, struct sip_line *line);

/** Takes the command `fault`; UV_EINVAL for a kind that is none, with the kinds. */
int sip_misbehave_command(struct sip_misbehave *faults, int64_t now_us,
                          const struct sip_note *command, struct sip_err *err);

/** What a command of a simulator's own does, and what it says in `result`. @return 0; 1 when it has
 *  told its result itself; or a negative code */
typedef int (*sip_obey_fn)(struct sip_party *party, int64_t now_us, const struct sip_note *command,
                           struct sip_note *result, struct sip_err *err);

/** The `command` of a simulator: takes `fault`, leaves the others to it, and tells the result. */
int sip_misbehave_obey(struct sip_misbehave *faults, struct sip_party *party, int64_t now_us,
                       const struct sip_note *command, sip_obey_fn obey, struct sip_err *err);

/** True when this one is due, which uses it up. */
bool sip_misbehave_take(struct sip_misbehave *faults, enum sip_misbehaviour kind);

/** Sends a frame of at most SIP_MISBEHAVE_FRAME bytes, or does to it what was ordered. Whatever is
 *  behind a full queue or a dead link is lost, as on a wire. */
void sip_misbehave_send(struct sip_misbehave *faults, int64_t now_us, const void *bytes,
                        size_t size);

int64_t sip_misbehave_due_us(const struct sip_misbehave *faults);
void sip_misbehave_on_due(struct sip_misbehave *faults, int64_t now_us);

/** The link is gone: nothing waits any more. */
void sip_misbehave_reset(struct sip_misbehave *faults);

#endif
