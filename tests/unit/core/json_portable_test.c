/* json_portable_test.c - json_test.c with the plain C that processors without SSE2 have. */
#define SIP_JSON_PORTABLE

#include "core/json.c"
#include "core/json_text.c"
#include "unit/core/json_test.c"
