/* access.c - what strangers send to sign in, and what viewers are shown: cookies, signatures of
 * webhooks, and any payload covered. See access.lua. */
#include "support/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  static struct sip_vm *vm;

  vm = vm == NULL ? fuzz_start(__FILE__) : vm;
  fuzz_call(vm, data, size);
  return 0;
}
