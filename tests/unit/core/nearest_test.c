/* nearest_test.c - guesses behind mistyped words. */
#include "core/nearest.h"
#include "support/test.h"

static const char *guess(const char *typed)
{
  static const char *const words[] = { "run",   "dev",   "publish", "consume",
                                       "topic", "group", "discord", "version" };
  const char *best = NULL;
  size_t distance = 0;

  for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
    sip_nearest_consider(typed, words[i], &best, &distance);
  }
  return best != NULL ? best : "(none)";
}

int main(void)
{
  CHECK_INT(sip_word_distance("", ""), 0);
  CHECK_INT(sip_word_distance("topic", ""), 5);
  CHECK_INT(sip_word_distance("topic", "topics"), 1);
  CHECK_INT(sip_word_distance("tpoic", "topic"), 1);
  CHECK_INT(sip_word_distance("kitten", "sitting"), 3);
  CHECK_STR(guess("pubish"), "publish");
  CHECK_STR(guess("topics"), "topic");
  CHECK_STR(guess("rnu"), "run");
  CHECK_STR(guess("dsicrod"), "discord");
  CHECK_STR(guess("cons"), "consume");
  CHECK_STR(guess("banana"), "(none)");
  CHECK_STR(guess(""), "(none)");
  CHECK_STR(guess("a-word-that-is-far-longer-than-the-sixty-three-bytes-which-are-compared-here"),
            "(none)");
  (void)printf("ok\n");
  return 0;
}
