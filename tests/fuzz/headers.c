/* headers.c - records: headers and bodies as events, read, written and read again. See headers.lua.
 */
#include "support/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  static struct sip_vm *vm;

  vm = vm == NULL ? fuzz_start(__FILE__) : vm;
  fuzz_call(vm, data, size);
  return 0;
}
