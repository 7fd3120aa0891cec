#ifndef SIP_SERIAL_FIELDS_H
#define SIP_SERIAL_FIELDS_H
/* fields.h - reads the fields of settings and commands, with errors that name them. Any thread. */
#include "serial/party.h"

/* One setting of a protocol. */
struct sip_setting {
  const char *name;
  const char *const *words; /* not NULL: a text, and its place among these is the number */
  int64_t least, most, otherwise;
  int64_t unit; /* what is read is multiplied by it */
  int64_t *out;
};

/** Reads all settings; SIP_ECONFIG with the nearest name for a field that is none of them. */
int sip_fields_settings(const struct sip_note *note, const char *what,
                        const struct sip_setting *settings, size_t count, struct sip_err *err);

/** Every field of `note` is one of `names` (ended by NULL); else SIP_ECONFIG with the nearest one.
 *  `what` begins the message: "xy", "xy dispense". */
int sip_fields_known(const struct sip_note *note, const char *what, const char *const *names,
                     struct sip_err *err);

/** The integer or bool `name` between `least` and `most`; `otherwise` where it is not given.
 *  0, or UV_EINVAL. */
int sip_fields_int(const struct sip_note *note, const char *what, const char *name, int64_t least,
                   int64_t most, int64_t otherwise, int64_t *out, struct sip_err *err);

/** As above, for one that has to be given. */
int sip_fields_need(const struct sip_note *note, const char *what, const char *name, int64_t least,
                    int64_t most, int64_t *out, struct sip_err *err);

/** Which of `words` (ended by NULL) the text `name` is; the first one where it is not given.
 *  UV_EINVAL with the words. */
int sip_fields_word(const struct sip_note *note, const char *what, const char *name,
                    const char *const *words, struct sip_err *err);

#endif
