#ifndef SIP_SERIAL_RAW_H
#define SIP_SERIAL_RAW_H
/* raw.h - the party without a protocol: a script speaks, with the part that cannot wait done here.
 *
 * Settings are those of a preset (preset.h); without one, bytes are told as they come. Notes:
 * `data` {bytes, at_us}, `frame` {bytes, at_us}, `noise` {dropped}. Commands: `write` {bytes} →
 * {ok}; `ask` {bytes, timeout_ms} → {ok = true, bytes} with the next frame, or {ok = false, reason
 * = "timeout" or "link"}, one after the other; `answer` {to, with?}: frames that begin with `to`
 * are answered at once, and not told. Its simulator is the same: the other end is a script's too.
 */
#include "core/base.h"
#include "serial/party.h"

extern const struct sip_protocol sip_protocol_raw;

#endif
