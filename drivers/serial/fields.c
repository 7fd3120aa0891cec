/* fields.c - fields of settings and commands. */
#include "serial/fields.h"

#include "core/nearest.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { WORDS_BYTES = 200 };

/* What a field's name was compared with. */
struct guess {
  const char *given, *best;
  size_t distance;
  bool known;
};

static void guess_try(struct guess *guess, const char *name)
{
  guess->known = guess->known || strcmp(name, guess->given) == 0;
  sip_nearest_consider(guess->given, name, &guess->best, &guess->distance);
}

static int guess_end(const struct guess *guess, const char *what, struct sip_err *err)
{
  if (guess->known) {
    return 0;
  }
  return sip_err_set(err, SIP_ECONFIG, "%s: there is no \"%s\"%s%s%s", what, guess->given,
                     guess->best == NULL ? "" : " (did you mean \"",
                     guess->best == NULL ? "" : guess->best, guess->best == NULL ? "" : "\"?)");
}

int sip_fields_known(const struct sip_note *note, const char *what, const char *const *names,
                     struct sip_err *err)
{
  int rc = 0;

  for (unsigned i = 0; i < note->count && rc == 0; i++) {
    struct guess guess = { .given = note->fields[i].name };

    for (const char *const *name = names; *name != NULL; name++) {
      guess_try(&guess, *name);
    }
    rc = guess_end(&guess, what, err);
  }
  return rc;
}

int sip_fields_settings(const struct sip_note *note, const char *what,
                        const struct sip_setting *settings, size_t count, struct sip_err *err)
{
  int rc = 0;

  for (unsigned i = 0; i < note->count && rc == 0; i++) {
    struct guess guess = { .given = note->fields[i].name };

    for (size_t j = 0; j < count; j++) {
      guess_try(&guess, settings[j].name);
    }
    rc = guess_end(&guess, what, err);
  }
  for (size_t j = 0; j < count && rc == 0; j++) {
    const struct sip_setting *set = &settings[j];

    if (set->words != NULL) {
      int word = sip_fields_word(note, what, set->name, set->words, err);

      *set->out = word;
      rc = word < 0 ? word : 0;
      continue;
    }
    rc =
      sip_fields_int(note, what, set->name, set->least, set->most, set->otherwise, set->out, err);
    if (rc == 0) {
      *set->out *= set->unit;
    }
  }
  return rc;
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
