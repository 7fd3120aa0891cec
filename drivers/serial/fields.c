/* fields.c - fields of settings and commands. */
#include "serial/fields.h"

#include "core/nearest.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { WORDS_BYTES = 200 };

int sip_fields_known(const struct sip_note *note, const char *what, const char *const *names,
                     struct sip_err *err)
{
  for (unsigned i = 0; i < note->count; i++) {
    const char *given = note->fields[i].name, *best = NULL;
    size_t distance = 0;
    bool known = false;

    for (const char *const *name = names; *name != NULL && !known; name++) {
      known = strcmp(*name, given) == 0;
      sip_nearest_consider(given, *name, &best, &distance);
    }
    if (!known) {
      return sip_err_set(err, SIP_ECONFIG, "%s: there is no \"%s\"%s%s%s", what, given,
                         best == NULL ? "" : " (did you mean \"", best == NULL ? "" : best,
                         best == NULL ? "" : "\"?)");
    }
  }
  return 0;
}

int sip_fields_need(const struct sip_note *note, const char *what, const char *name, int64_t least,
                    int64_t most, int64_t *out, struct sip_err *err)
{
  const struct sip_value *value = sip_note_find(note, name);

  if (value == NULL) {
    return sip_err_set(err, UV_EINVAL, "%s: %s is missing", what, name);
  }
  if (value->kind == SIP_VALUE_TEXT) {
    return sip_err_set(err, UV_EINVAL, "%s: %s is a text, not a number", what, name);
  }
  if (value->number < least || value->number > most) {
    return sip_err_set(err, UV_EINVAL,
                       "%s: %s = %" PRId64 " is not between %" PRId64 " and %" PRId64, what, name,
                       value->number, least, most);
  }
  *out = value->number;
  return 0;
}

int sip_fields_int(const struct sip_note *note, const char *what, const char *name, int64_t least,
                   int64_t most, int64_t otherwise, int64_t *out, struct sip_err *err)
{
  if (sip_note_find(note, name) == NULL) {
    *out = otherwise;
    return 0;
  }
  return sip_fields_need(note, what, name, least, most, out, err);
}

int sip_fields_word(const struct sip_note *note, const char *what, const char *name,
                    const char *const *words, struct sip_err *err)
{
  char all[WORDS_BYTES] = "";
  size_t len = 0;

  if (sip_note_find(note, name) == NULL) {
    return 0;
  }
  for (int i = 0; words[i] != NULL; i++) {
    if (sip_note_is(note, name, words[i])) {
      return i;
    }
    if (len < sizeof all) {
      len += (size_t)snprintf(all + len, sizeof all - len, "%s%s", i == 0 ? "" : ", ", words[i]);
    }
  }
  return sip_err_set(err, UV_EINVAL, "%s: %s is none of: %s", what, name, all);
}
