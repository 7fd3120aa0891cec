#ifndef SIP_SERIAL_PARTY_H
#define SIP_SERIAL_PARTY_H
/* party.h - a party on a serial line: the engine of a protocol, or the simulator of a board.
 *
 * A party does no I/O and owns no clock and no thread: bytes, commands and the time go in; bytes,
 * notes and the time at which it wants to be called again come out. The serial thread joins one to
 * a port, a test joins an engine to its simulator on simulated time. All calls come from one thread
 * at a time. Times are microseconds of a monotonic clock. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/err.h"

#define SIP_NEVER_US    INT64_MAX
#define SIP_NOTE_FIELDS 16u

enum sip_value_kind { SIP_VALUE_INT, SIP_VALUE_BOOL, SIP_VALUE_TEXT };

/* One named value of a note. Text is bytes, may hold NULs, and is not terminated. */
struct sip_value {
  const char *name; /* static, or as long as the note */
  enum sip_value_kind kind;
  int64_t number; /* also of a bool: 0 or 1 */
  const char *text;
  size_t size;
};

/* What is said to and by a party: a command, its result, something that happened. The note and what
 * it points to belong to the caller and end with the call; sip_note_copy keeps one. */
struct sip_note {
  const char *name;
  uint64_t ticket; /* of a command and all that answers it; 0: nobody asked */
  unsigned count;
  struct sip_value fields[SIP_NOTE_FIELDS];
};

/** Adds a field; ignored, and false, when there is no room. Names and text are not copied. */
bool sip_note_int(struct sip_note *note, const char *name, int64_t number);
bool sip_note_bool(struct sip_note *note, const char *name, bool value);
bool sip_note_text(struct sip_note *note, const char *name, const char *text);
bool sip_note_bytes(struct sip_note *note, const char *name, const void *bytes, size_t size);

/** The field, or NULL. */
const struct sip_value *sip_note_find(const struct sip_note *note, const char *name);

/** An integer or bool field, or `otherwise` where there is none. */
int64_t sip_note_number(const struct sip_note *note, const char *name, int64_t otherwise);

/** True when the field is the text `text`. */
bool sip_note_is(const struct sip_note *note, const char *name, const char *text);

/** A copy in one block, for free(); NULL without memory. */
struct sip_note *sip_note_copy(const struct sip_note *note);

/* What a party has around it. */
struct sip_line {
  /* Takes bytes for the other end, in order. 0, or a negative code when the link is down or the
   * queue full: then none of them was taken and none will leave. */
  int (*send)(struct sip_line *line, const void *bytes, size_t size);
  void (*tell)(struct sip_line *line, const struct sip_note *note);
};

struct sip_party {
  const struct sip_party_ops *ops;
  struct sip_line *line; /* not owned */
};

struct sip_party_ops {
  /* The link is there (identify anew before anything moves), or gone (what is in doubt is unknown
   * now). It begins as gone. */
  void (*on_link)(struct sip_party *party, int64_t now_us, bool up);
  /* Any number of bytes, as they came: one read is not one frame. */
  void (*on_bytes)(struct sip_party *party, int64_t now_us, const uint8_t *bytes, size_t size);
  /* When it wants on_due, or SIP_NEVER_US. Asked after every other call. */
  int64_t (*due_us)(const struct sip_party *party);
  void (*on_due)(struct sip_party *party, int64_t now_us);
  /* Takes a command, and later tells exactly one note "result" of its ticket, whatever happens to
   * the link, and before free() too. It may do so within this call. A command that it does not
   * know, or whose fields are wrong, is refused here: negative with `err`, and no result. */
  int (*command)(struct sip_party *party, int64_t now_us, const struct sip_note *command,
                 struct sip_err *err);
  /* Tells what it still owes, and frees the party. */
  void (*free)(struct sip_party *party);
};

enum sip_parity {
  SIP_PARITY_NONE,
  SIP_PARITY_EVEN,
  SIP_PARITY_ODD,
  SIP_PARITY_MARK,
  SIP_PARITY_SPACE
};

/* How a port is set up. */
struct sip_line_settings {
  unsigned baud;
  unsigned bits; /* 5 to 8 */
  unsigned stop; /* 1 or 2 */
  enum sip_parity parity;
  int dtr, rts; /* 1, 0, or -1: left alone */
};

/* A protocol: its engine (we are the host), its simulator (the board), its decoder. */
struct sip_protocol {
  const char *name, *title;
  struct sip_line_settings line;
  const char *proof; /* of a dispense: "sensor", "counter" or "none" (its best) */
  /* The names of settings and commands, each list ended by NULL; for hints and help. */
  const char *const *settings, *const *commands;
  /* `settings` is a note whose fields are the settings; wrong ones fail with `err`. */
  struct sip_party *(*engine)(const struct sip_note *settings, struct sip_line *line,
                              struct sip_err *err);
  struct sip_party *(*simulator)(const struct sip_note *settings, struct sip_line *line,
                                 struct sip_err *err);
  /* Puts the first frame of `bytes` into words. Returns how many bytes that took; 0: needs more.
   * Bytes that are no frame are taken one by one, as "noise". `from_host`: we sent them. */
  size_t (*describe)(const uint8_t *bytes, size_t size, bool from_host, char *text, size_t room);
};

/** The protocol, or NULL. `name` NULL: the first. */
const struct sip_protocol *sip_protocol_find(const char *name);

/** All protocols, ended by NULL. */
extern const struct sip_protocol *const sip_protocols[];

#endif
