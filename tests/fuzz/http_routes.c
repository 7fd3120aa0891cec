/* http_routes.c - requests to routes: paths, queries and forms. See http_routes.lua. */
#include "support/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  static struct sip_vm *vm;

  vm = vm == NULL ? fuzz_start(__FILE__) : vm;
  fuzz_call(vm, data, size);
  return 0;
}
