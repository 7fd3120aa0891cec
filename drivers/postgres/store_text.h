#ifndef SIP_POSTGRES_STORE_TEXT_H
#define SIP_POSTGRES_STORE_TEXT_H
/* store_text.h - texts that PostgreSQL refuses, in a form that it takes.
 *
 * Its text is UTF-8 without NUL; events come from outside and hold what they like. What it would
 * refuse is kept as ESC and hexadecimal digits; so is a text that begins with ESC. */
#include "core/buf.h"

#include <stdbool.h>

bool sip_pg_text_fits(struct sip_slice text);
bool sip_pg_text_is_kept(struct sip_slice kept);

/** Append to `out`. @return 0, UV_ENOMEM, or SIP_EDATA for a text that sip_pg_text_keep never made
 */
int sip_pg_text_keep(struct sip_buf *out, struct sip_slice text);
int sip_pg_text_restore(struct sip_buf *out, struct sip_slice kept);

#endif
