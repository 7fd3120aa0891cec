#ifndef SIP_SERIAL_EVADTS_H
#define SIP_SERIAL_EVADTS_H
/* evadts.h - EVA-DTS audit data: is it whole, and what happened at the machine.
 *
 * A dump is lines of fields between stars, from DXS to DXE. G85 is crc16-arc over ST to before G85,
 * in four hex digits; SE counts the segments from ST to itself. Real machines get both wrong, so
 * both are told and nothing is thrown away. Source: EVA-DTS 6.2. No state; any thread. */
#include "core/buf.h"
#include "serial/party.h"

struct sip_evadts_verdict {
  /* "ok", "se_count", "g85_swapped" (its bytes, as devices before 6.0 do), "g85", or "missing:DXE"
   * (or another segment that has to be there). Static. */
  const char *name;
  bool trusted; /* the data is as the machine sent it: ok, se_count or g85_swapped */
  bool whole;   /* all segments that have to be there, are */
  uint16_t g85; /* as it should be */
  unsigned se;  /* likewise */
};

/** Lines may end in CR LF or LF; G85 is counted over CR LF, as on the wire. */
struct sip_evadts_verdict sip_evadts_check(const char *text, size_t size);

typedef void (*sip_evadts_fn)(void *arg, const struct sip_note *event);

/** Tells what the records say, each as a note: machine, board, currency, vends, cash_vends,
 * cashless_vends, cash_in, product, product_payment, tube, incident, reads, outages. A field that
 * is empty or missing in the record is missing in the note. Money is in the machine's minor units.
 */
void sip_evadts_events(const char *text, size_t size, sip_evadts_fn on_event, void *arg);

/** Appends the events as a JSON array of objects, with "event" for the name. @return 0 or UV_ENOMEM
 */
int sip_evadts_json(struct sip_buf *out, const char *text, size_t size);

struct sip_evadts_totals {
  /* Since initialisation; -1: not in the data. */
  int64_t vends, value_minor;
  int64_t slot_vends, slot_value_minor; /* of the product whose id is the slot */
};

/** Totals, and those of the product whose id (PA101) ends in the number `slot` ("7", "COL 7"). */
struct sip_evadts_totals sip_evadts_totals(const char *text, size_t size, int64_t slot);

#endif
