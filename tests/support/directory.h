#ifndef SIP_TEST_DIRECTORY_H
#define SIP_TEST_DIRECTORY_H
/* directory.h - a directory for a test's files, removed when the program that made it exits. */
#include <stddef.h>

/** The same one at each call. */
const char *test_directory(void);

/** A path in it that was not given before. */
void test_new_path(char *out, size_t size, const char *name);

#endif
