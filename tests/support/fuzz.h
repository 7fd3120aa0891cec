#ifndef SIP_FUZZ_H
#define SIP_FUZZ_H
/* fuzz.h - what the fuzzers share: a check that stops, and a runtime whose Lua is being fuzzed.
 *
 * A fuzzer is tests/fuzz/<name>.c with LLVMFuzzerTestOneInput, its seeds are in
 * tests/fuzz/corpus/<name>/. One whose subject is Lua has a <name>.lua beside it that returns
 * function(bytes); an error that it raises is a finding. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

struct sip_vm;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size); /* libFuzzer calls it */

#define FUZZ_CHECK(condition, ...)                                                                 \
  do {                                                                                             \
    if (!(condition)) {                                                                            \
      (void)fprintf(stderr, "%s:%d: ", __FILE__, __LINE__);                                        \
      (void)fprintf(stderr, __VA_ARGS__);                                                          \
      (void)fputc('\n', stderr);                                                                   \
      abort();                                                                                     \
    }                                                                                              \
  } while (0)

/** A runtime with all modules, which lives until the process ends. The
 * function of <name>.lua is at index 1 of its stack. `c_file` is __FILE__ of <name>.c. */
struct sip_vm *fuzz_start(const char *c_file);

/** Calls the function with the bytes. */
void fuzz_call(struct sip_vm *vm, const uint8_t *data, size_t size);

#endif
