#ifndef SIP_CORE_NEAREST_H
#define SIP_CORE_NEAREST_H
/* nearest.h - which known word somebody meant who typed another one. Any thread. */
#include <stddef.h>

/** Fewest single-letter changes (insert, delete, replace, swap of neighbours) from `a` to `b`.
 *  Words beyond 63 bytes are compared by their first 63. */
size_t sip_word_distance(const char *a, const char *b);

/** Keeps the better guess: `*best` starts as NULL. A word counts when it begins with what was
 * typed, or when at most a third of its letters, and at least one, would have to change. */
void sip_nearest_consider(const char *typed, const char *word, const char **best,
                          size_t *best_distance);

#endif
