#ifndef SIP_TEST_NOTES_H
#define SIP_TEST_NOTES_H
/* notes.h - commands to parties, and what their results say. */
#include "serial/party.h"

/** A command with a ticket of its own, and one field where there is one to say. */
struct sip_note note_of(const char *name);
struct sip_note note_with(const char *name, const char *field, int64_t value);

/** Another ticket for the same command. */
void note_again(struct sip_note *note);

/** The field is this text; "(nothing)": there is none. */
void note_says(const struct sip_note *note, const char *field, const char *expected);

#endif
