#ifndef TESTS_SUPPORT_ALLOC_FAIL_H
#define TESTS_SUPPORT_ALLOC_FAIL_H
/*
 * Reruns a piece of code with the n-th allocation failing, n = 1, 2, ... until a run makes fewer
 * than n allocations. The code must answer each failure with an error (or manage without) and leak
 * nothing: the caller runs under ASan too. Only allocations that our own libraries make count;
 * those inside shared libraries (sofia, OpenSSL) are not touched.
 */
#include <stdbool.h>

/* Arms the counter: the n-th allocation from now on fails, once. 0 disarms. */
void alloc_fail_at(unsigned n);
/* True when the armed failure happened since alloc_fail_at(). */
bool alloc_fail_hit(void);
/* Calls run(arg) with 1st, 2nd, ... allocation failing until a run sees no failure. Fails the
 * cmocka test when that takes more than 20000 rounds. Returns the number of rounds. */
unsigned alloc_fail_sweep(void (*run)(void *arg), void *arg);

#endif
