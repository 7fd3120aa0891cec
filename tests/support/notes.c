/* notes.c - see notes.h. */
#include "support/notes.h"

#include "support/test.h"

static uint64_t tickets;

struct sip_note note_of(const char *name)
{
  return (struct sip_note){ .name = name, .ticket = ++tickets };
}

struct sip_note note_with(const char *name, const char *field, int64_t value)
{
  struct sip_note note = note_of(name);

  CHECK(sip_note_int(&note, field, value));
  return note;
}

void note_again(struct sip_note *note)
{
  note->ticket = ++tickets;
}

void note_says(const struct sip_note *note, const char *field, const char *expected)
{
  const struct sip_value *value = sip_note_find(note, field);
  char text[200] = "(nothing)";

  if (value != NULL) {
    (void)snprintf(text, sizeof text, "%.*s", (int)value->size, value->text);
  }
  CHECK_STR(text, expected);
}
