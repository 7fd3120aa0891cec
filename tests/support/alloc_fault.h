#ifndef SIP_TEST_ALLOC_FAULT_H
#define SIP_TEST_ALLOC_FAULT_H
/* alloc_fault.h - for a program that lets its own allocations fail: luatest_sweep. */
#include <stdbool.h>
#include <stdint.h>

/** The n-th allocation from now on fails, on whichever thread, and that many behind it. */
void alloc_fault_arm(uint64_t number, uint64_t more);

/** None fails any more. @return whether one did */
bool alloc_fault_disarm(void);

#endif
