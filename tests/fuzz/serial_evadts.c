/* serial_evadts.c - audit data: any text has a verdict, and its events are JSON. */
#include "core/json.h"
#include "serial/evadts.h"
#include "support/fuzz.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  const char *text = (const char *)data;
  struct sip_evadts_verdict verdict = sip_evadts_check(text, size);
  struct sip_evadts_totals totals = sip_evadts_totals(text, size, 1);
  struct sip_buf json = SIP_BUF_INIT;
  struct sip_json tape;

  FUZZ_CHECK(verdict.name != NULL && (!verdict.trusted || verdict.whole), "no verdict");
  FUZZ_CHECK(verdict.whole == (strncmp(verdict.name, "missing:", 8) != 0), "%s", verdict.name);
  FUZZ_CHECK(sip_evadts_json(&json, text, size) == 0, "no memory");
  sip_json_init(&tape);
  FUZZ_CHECK(sip_json_scan(&tape, json.data, json.len, NULL) == 0, "no JSON: %s", json.data);
  FUZZ_CHECK(tape.tokens[0].type == SIP_JSON_ARRAY, "no array");
  FUZZ_CHECK(totals.vends < 0 || tape.count > 1, "a total of nothing");
  sip_json_deinit(&tape);
  sip_buf_deinit(&json);
  return 0;
}
