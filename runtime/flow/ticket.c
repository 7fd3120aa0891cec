/* ticket.c - numbers that name events which run: no allocation for each, and nothing that a script
 * keeps can reach another event. Loop thread only. */
#include "flow/flow.h"

#include <stdlib.h>
#include <uv.h>

enum { PLACE_BITS = 24, PLACES_FIRST = 256 };
static const uint32_t PLACE_MASK = (1u << PLACE_BITS) - 1;
static const uint32_t NO_PLACE = UINT32_MAX;

void sip_tickets_init(struct sip_tickets *tickets)
{
  *tickets = (struct sip_tickets){ .first_free = NO_PLACE };
}

void sip_tickets_deinit(struct sip_tickets *tickets)
{
  free(tickets->places);
  tickets->places = NULL;
}

static int tickets_grow(struct sip_tickets *tickets)
{
  uint32_t capacity = tickets->capacity == 0 ? PLACES_FIRST : tickets->capacity * 2;
  struct sip_ticket_place *places;

  if (capacity > PLACE_MASK + 1) {
    return UV_ENOMEM;
  }
  places = realloc(tickets->places, capacity * sizeof *places);
  if (places == NULL) {
    return UV_ENOMEM;
  }
  tickets->places = places;
  tickets->capacity = capacity;
  return 0;
}

int sip_ticket_enter(struct sip_tickets *tickets, struct sip_event *event)
{
  uint32_t place = tickets->first_free;

  if (place != NO_PLACE) {
    tickets->first_free = tickets->places[place].next_free;
  } else {
    if (tickets->count == tickets->capacity && tickets_grow(tickets) < 0) {
      return UV_ENOMEM;
    }
    place = tickets->count++;
  }
  tickets->places[place].event = event;
  event->place = place;
  event->ticket = 0;
  return 0;
}

void sip_ticket_leave(struct sip_tickets *tickets, struct sip_event *event)
{
  tickets->places[event->place] =
    (struct sip_ticket_place){ .event = NULL, .next_free = tickets->first_free };
  tickets->first_free = event->place;
  event->ticket = 0;
}

void sip_ticket_give(struct sip_tickets *tickets, struct sip_event *event)
{
  event->ticket = ++tickets->runs << PLACE_BITS | event->place;
  __builtin_prefetch(&tickets->places[event->place]); /* it is asked for when the task runs */
}

struct sip_event *sip_ticket_event(const struct sip_tickets *tickets, uint64_t ticket)
{
  uint32_t place = (uint32_t)ticket & PLACE_MASK;
  struct sip_event *event = place < tickets->count ? tickets->places[place].event : NULL;

  return event != NULL && ticket != 0 && event->ticket == ticket ? event : NULL;
}
