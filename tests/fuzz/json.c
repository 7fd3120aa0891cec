/* json.c - texts of JSON: sipeat.json against lua-cjson, and against itself. See json.lua. */
#include "support/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  static struct sip_vm *vm;

  vm = vm == NULL ? fuzz_start(__FILE__) : vm;
  fuzz_call(vm, data, size);
  return 0;
}
