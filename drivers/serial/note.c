/* note.c - the notes that parties, threads and scripts exchange: filling, reading, keeping. A note
 * is filled by one thread at a time; a copy is one block and belongs to whoever has it. */
#include "serial/party.h"

#include <stdlib.h>
#include <string.h>

static struct sip_value *note_add(struct sip_note *note, const char *name, enum sip_value_kind kind)
{
  struct sip_value *field;

  if (note->count >= SIP_NOTE_FIELDS) {
    return NULL;
  }
  field = &note->fields[note->count++];
  *field = (struct sip_value){ .name = name, .kind = kind };
  return field;
}

bool sip_note_int(struct sip_note *note, const char *name, int64_t number)
{
  struct sip_value *field = note_add(note, name, SIP_VALUE_INT);

  if (field != NULL) {
    field->number = number;
  }
  return field != NULL;
}

bool sip_note_bool(struct sip_note *note, const char *name, bool value)
{
  struct sip_value *field = note_add(note, name, SIP_VALUE_BOOL);

  if (field != NULL) {
    field->number = value;
  }
  return field != NULL;
}

bool sip_note_bytes(struct sip_note *note, const char *name, const void *bytes, size_t size)
{
  struct sip_value *field = note_add(note, name, SIP_VALUE_TEXT);

  if (field != NULL) {
    field->text = size == 0 ? "" : bytes;
    field->size = size;
  }
  return field != NULL;
}

bool sip_note_text(struct sip_note *note, const char *name, const char *text)
{
  return sip_note_bytes(note, name, text, strlen(text));
}

const struct sip_value *sip_note_find(const struct sip_note *note, const char *name)
{
  for (unsigned i = 0; i < note->count; i++) {
    if (strcmp(note->fields[i].name, name) == 0) {
      return &note->fields[i];
    }
  }
  return NULL;
}

int64_t sip_note_number(const struct sip_note *note, const char *name, int64_t otherwise)
{
  const struct sip_value *field = sip_note_find(note, name);

  return field != NULL && field->kind != SIP_VALUE_TEXT ? field->number : otherwise;
}

bool sip_note_is(const struct sip_note *note, const char *name, const char *text)
{
  const struct sip_value *field = sip_note_find(note, name);
  size_t size = strlen(text);

  return field != NULL && field->kind == SIP_VALUE_TEXT && field->size == size &&
         memcmp(field->text, text, size) == 0;
}

/* Puts `size` bytes and a NUL at *end, and moves it behind them. */
static const char *note_keep(char **end, const char *bytes, size_t size)
{
  char *kept = *end;

  if (size > 0) {
    memcpy(kept, bytes, size);
  }
  kept[size] = '\0';
  *end = kept + size + 1;
  return kept;
}

struct sip_note *sip_note_copy(const struct sip_note *note)
{
  size_t size = sizeof *note + strlen(note->name) + 1;
  struct sip_note *copy;
  char *end;

  for (unsigned i = 0; i < note->count; i++) {
    size += strlen(note->fields[i].name) + 1;
    size += note->fields[i].kind == SIP_VALUE_TEXT ? note->fields[i].size + 1 : 0;
  }
  copy = malloc(size);
  if (copy == NULL) {
    return NULL;
  }
  end = (char *)(copy + 1);
  memset(copy, 0, sizeof *copy);
  copy->name = note_keep(&end, note->name, strlen(note->name));
  copy->ticket = note->ticket;
  copy->count = note->count;
  for (unsigned i = 0; i < note->count; i++) {
    const struct sip_value *from = &note->fields[i];
    struct sip_value *to = &copy->fields[i];

    *to = *from;
    to->name = note_keep(&end, from->name, strlen(from->name));
    if (from->kind == SIP_VALUE_TEXT) {
      to->text = note_keep(&end, from->text, from->size);
    }
  }
  return copy;
}
