/* order.h - the events of the benchmark: what the n-th one is, and what must come out of it.
 *
 * fill.c writes them and check.c compares outputs with them, so both know an event by its number
 * alone. */
#ifndef BENCH_ORDER_H
#define BENCH_ORDER_H

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define ORDER_BYTES 300u /* of each value */
#define ORDER_KEY   16u  /* room for a key: c-0000000 and its end */

struct order_type {
  const char *name;
  const char *status; /* in the output */
  int sign;           /* of the amount in the output */
};

static inline const struct order_type *order_type(uint32_t number)
{
  static const struct order_type types[] = {
    { "order.created", "accepted", 1 },
    { "order.paid", "settled", 1 },
    { "order.shipped", "closed", 1 },
    { "order.cancelled", "refunded", -1 },
  };
  return &types[number % (sizeof types / sizeof types[0])];
}

/* Spreads the keys over the stream: by a prime factor, so that each comes once in any `keys` events
 * in a row. */
static inline uint32_t order_key(uint32_t number, uint32_t keys)
{
  return (uint32_t)(number * UINT64_C(2654435761) % keys);
}

static inline uint32_t order_cents(uint32_t number)
{
  return 100 + number * 37 % 9900;
}

static inline void order_key_text(char key[ORDER_KEY], uint32_t number, uint32_t keys)
{
  (void)snprintf(key, ORDER_KEY, "c-%07u", (unsigned)order_key(number, keys));
}

/** Writes the value of the n-th event: ORDER_BYTES bytes of JSON, and a NUL. */
static inline void order_value(char value[ORDER_BYTES + 1], uint32_t number, uint32_t keys)
{
  uint32_t cents = order_cents(number);
  int end =
    snprintf(value, ORDER_BYTES + 1,
             "{\"id\":\"e-%010u\",\"type\":\"%s\",\"version\":\"1.0\","
             "\"occurredAt\":\"2026-03-01T10:%02u:%02u.%03uZ\",\"data\":{"
             "\"orderId\":\"o-%010u\",\"customerId\":\"c-%07u\",\"machineId\":\"m-%04u\","
             "\"currency\":\"EUR\",\"total\":%u.%02u,"
             "\"items\":[{\"sku\":\"A-%02u\",\"quantity\":%u}],\"note\":\"",
             (unsigned)number, order_type(number)->name, (unsigned)(number / 60000 % 60),
             (unsigned)(number / 1000 % 60), (unsigned)(number % 1000), (unsigned)number,
             (unsigned)order_key(number, keys), (unsigned)(number % 1000), (unsigned)(cents / 100),
             (unsigned)(cents % 100), (unsigned)(number % 90 + 10), (unsigned)(number % 9 + 1));
  size_t at = (size_t)end;

  memset(value + at, 'x', ORDER_BYTES - at);
  memcpy(value + ORDER_BYTES - 3, "\"}}", 4);
}

#endif
