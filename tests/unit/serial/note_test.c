/* note_test.c - notes are filled, read and kept. */
#include "serial/party.h"
#include "support/test.h"

static void fields_are_found_by_name(void)
{
  struct sip_note note = { .name = "result", .ticket = 7 };

  CHECK(sip_note_int(&note, "slot", -12));
  CHECK(sip_note_bool(&note, "ok", true));
  CHECK(sip_note_text(&note, "outcome", "done"));
  CHECK(sip_note_bytes(&note, "bytes", "a\0b", 3));
  CHECK_INT(note.count, 4);
  CHECK_INT(sip_note_number(&note, "slot", 1), -12);
  CHECK_INT(sip_note_number(&note, "ok", 0), 1);
  CHECK_INT(sip_note_number(&note, "absent", 5), 5);
  CHECK_INT(sip_note_number(&note, "outcome", 5), 5);
  CHECK(sip_note_is(&note, "outcome", "done"));
  CHECK(!sip_note_is(&note, "outcome", "don"));
  CHECK(!sip_note_is(&note, "outcome", "done!"));
  CHECK(!sip_note_is(&note, "slot", "-12"));
  CHECK(!sip_note_is(&note, "bytes", "a"));
  CHECK(sip_note_find(&note, "absent") == NULL);
  CHECK_INT(sip_note_find(&note, "bytes")->size, 3);
}

static void a_full_note_refuses_more(void)
{
  struct sip_note note = { .name = "counters" };

  for (unsigned i = 0; i < SIP_NOTE_FIELDS; i++) {
    CHECK(sip_note_int(&note, "n", i));
  }
  CHECK(!sip_note_int(&note, "more", 1));
  CHECK(!sip_note_bool(&note, "more", true));
  CHECK(!sip_note_text(&note, "more", "x"));
  CHECK(sip_note_find(&note, "more") == NULL);
  CHECK_INT(note.count, SIP_NOTE_FIELDS);
}

static void a_copy_lives_alone(void)
{
  char name[] = "dispense", field[] = "key", text[] = "a\0b";
  struct sip_note note = { .name = name, .ticket = 9 }, *copy;

  CHECK(sip_note_bytes(&note, field, text, 3));
  CHECK(sip_note_bytes(&note, "none", NULL, 0));
  CHECK(sip_note_int(&note, "slot", 3));
  copy = sip_note_copy(&note);
  CHECK(copy != NULL);
  memset(name, 'x', sizeof name - 1);
  memset(field, 'x', sizeof field - 1);
  memset(text, 'x', sizeof text - 1);
  CHECK_STR(copy->name, "dispense");
  CHECK_INT(copy->ticket, 9);
  CHECK_INT(copy->count, 3);
  CHECK_INT(sip_note_find(copy, "key")->size, 3);
  CHECK(memcmp(sip_note_find(copy, "key")->text, "a\0b", 4) == 0); /* with a NUL behind it */
  CHECK_STR(sip_note_find(copy, "none")->text, "");
  CHECK_INT(sip_note_number(copy, "slot", 0), 3);
  free(copy);
}

int main(void)
{
  fields_are_found_by_name();
  a_full_note_refuses_more();
  a_copy_lives_alone();
  (void)printf("ok\n");
  return 0;
}
