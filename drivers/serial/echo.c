/* echo.c - our own bytes, taken out of what comes back. */
#include "serial/echo.h"

#include <string.h>

bool sip_echo_sent(struct sip_echo *echo, const uint8_t *bytes, size_t size)
{
  if (echo->seen > 0) {
    memmove(echo->expected, echo->expected + echo->seen, echo->size - echo->seen);
    echo->size -= echo->seen;
    echo->seen = 0;
  }
  if (size > SIP_ECHO_MAX - echo->size) {
    return false;
  }
  memcpy(echo->expected + echo->size, bytes, size);
  echo->size += size;
  return true;
}

size_t sip_echo_strip(struct sip_echo *echo, const uint8_t *bytes, size_t size)
{
  for (size_t i = 0; i < size; i++) {
    if (echo->differs) {
      return size;
    }
    if (echo->seen == echo->size) {
      return i;
    }
    if (bytes[i] != echo->expected[echo->seen]) {
      echo->differs = true;
      echo->collisions++;
      return size;
    }
    echo->seen++;
  }
  return size;
}

bool sip_echo_whole(const struct sip_echo *echo)
{
  return !echo->differs && echo->seen == echo->size;
}

void sip_echo_silence(struct sip_echo *echo)
{
  echo->size = 0;
  echo->seen = 0;
  echo->differs = false;
}
