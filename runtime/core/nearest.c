/* nearest.c - guesses the known word behind a mistyped one, for "did you mean". */
#include "core/nearest.h"

#include <string.h>

enum { LONGEST = 63 };

static size_t smaller(size_t a, size_t b)
{
  return a < b ? a : b;
}

size_t sip_word_distance(const char *a, const char *b)
{
  size_t rows = smaller(strlen(a), LONGEST), columns = smaller(strlen(b), LONGEST);
  size_t cost[LONGEST + 1][LONGEST + 1];

  for (size_t i = 0; i <= rows; i++) {
    cost[i][0] = i;
  }
  for (size_t j = 0; j <= columns; j++) {
    cost[0][j] = j;
  }
  for (size_t i = 1; i <= rows; i++) {
    for (size_t j = 1; j <= columns; j++) {
      size_t best = cost[i - 1][j - 1] + (a[i - 1] != b[j - 1]);

      best = smaller(best, smaller(cost[i - 1][j], cost[i][j - 1]) + 1);
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        best = smaller(best, cost[i - 2][j - 2] + 1); /* neighbours swapped */
      }
      cost[i][j] = best;
    }
  }
  return cost[rows][columns];
}

void sip_nearest_consider(const char *typed, const char *word, const char **best,
                          size_t *best_distance)
{
  size_t distance = sip_word_distance(typed, word);
  size_t allowed = strlen(word) / 3;
  size_t typed_len = strlen(typed);

  if (allowed == 0) {
    allowed = 1;
  }
  if (typed_len > 1 && strncmp(typed, word, typed_len) == 0) {
    distance = 0; /* the beginning of a word is the best guess */
  }
  if (distance <= allowed && (*best == NULL || distance < *best_distance)) {
    *best = word;
    *best_distance = distance;
  }
}
