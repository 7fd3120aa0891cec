#ifndef SIP_TEST_H
#define SIP_TEST_H
/* test.h - assertions of the C tests: print both values, survive release builds, stop the test's
 * process. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#define SIP_TEST_FAIL(...)                                                                         \
  do {                                                                                             \
    (void)fprintf(stderr, "%s:%d: ", __FILE__, __LINE__);                                          \
    (void)fprintf(stderr, __VA_ARGS__);                                                            \
    (void)fputc('\n', stderr);                                                                     \
    exit(1);                                                                                       \
  } while (0)

#define CHECK(condition)                                                                           \
  do {                                                                                             \
    if (!(condition)) {                                                                            \
      SIP_TEST_FAIL("not true: %s", #condition);                                                   \
    }                                                                                              \
  } while (0)

#define CHECK_INT(actual, expected)                                                                \
  do {                                                                                             \
    long long actual_ = (long long)(actual), expected_ = (long long)(expected);                    \
    if (actual_ != expected_) {                                                                    \
      SIP_TEST_FAIL("%s is %lld, expected %lld (%s)", #actual, actual_, expected_, #expected);     \
    }                                                                                              \
  } while (0)

#define CHECK_STR(actual, expected)                                                                \
  do {                                                                                             \
    const char *actual_ = (actual), *expected_ = (expected);                                       \
    if (actual_ == NULL || strcmp(actual_, expected_) != 0) {                                      \
      SIP_TEST_FAIL("%s is \"%s\", expected \"%s\"", #actual,                                      \
                    actual_ == NULL ? "(null)" : actual_, expected_);                              \
    }                                                                                              \
  } while (0)

/** `text` contains `part`. */
#define CHECK_HAS(text, part)                                                                      \
  do {                                                                                             \
    const char *text_ = (text), *part_ = (part);                                                   \
    if (text_ == NULL || strstr(text_, part_) == NULL) {                                           \
      SIP_TEST_FAIL("%s is \"%s\", which lacks \"%s\"", #text, text_ == NULL ? "(null)" : text_,   \
                    part_);                                                                        \
    }                                                                                              \
  } while (0)

static inline void sip_test_print_handle(uv_handle_t *handle, void *arg)
{
  (void)arg;
  (void)fprintf(stderr, "  open: %s%s\n", uv_handle_type_name(handle->type),
                uv_is_closing(handle) ? " (closing)" : "");
}

/** Runs the loop until it is empty and closes it: a handle that is left open fails the test. */
#define SIP_TEST_END(loop)                                                                         \
  do {                                                                                             \
    (void)uv_run((loop), UV_RUN_DEFAULT);                                                          \
    if (uv_loop_close(loop) != 0) {                                                                \
      uv_walk((loop), sip_test_print_handle, NULL);                                                \
      SIP_TEST_FAIL("the loop does not close: a handle is left open");                             \
    }                                                                                              \
    (void)printf("ok\n");                                                                          \
  } while (0)

#endif
