/* flow_start_test.c - the first run of an event, which keeps nothing: what is needed when it does
 * not end well comes from the engine. */
#include "flow_fixture.h"

/* full(number, event, ctx), to which start leaves all events, keeps nothing; what goes wrong comes
 * to dispatch with what is needed to go on. */
#define START                                                                                      \
  "local core = require 'sipeat.core.flow'\n"                                                      \
  "require 'sipeat.record'\n"                                                                      \
  "shared.stale = 0\n"                                                                             \
  "local class = { __index = { mark = true } }\n"                                                  \
  "local function begins(full) return core.starter({}, full, print, print) end\n"                  \
  "local before\n"                                                                                 \
  "local function full(number, event, ctx)\n"                                                      \
  "  assert(event.topic == 'events' and event.value == '{}' and event.headers.half)\n"             \
  "  assert(ctx.mark and ctx[1] == number and ctx[2] == event)\n"                                  \
  "  if before and not pcall(core.emit, before, 'out') then shared.stale = shared.stale + 1 end\n" \
  "  before, shared.runs = number, shared.runs + 1\n"                                              \
  "  assert(require('sipeat.core.task').event_id() == event.id)\n"                                 \
  "  local key, offset = event.key, event.offset\n"

static void what_was_lost_comes_back_although_nothing_was_kept(void)
{
  (void)begin(
    HEAD START
    "  assert(select(2, core.emit(number, 'out', key, 'v' .. offset)) == 1)\n"
    "  assert(select(2, core.emit(number, 'out', key, 'w' .. offset, { { 'a', 'b' } })) == 2)\n"
    "  return true end\n"
    "register{ group='g', topics={'events'}, concurrency=1, start=begins(full), context=class,\n"
    "  dispatch=function(r, ticket, kept, trouble)\n"
    "  shared.again = shared.again + 1\n"
    "  assert(r and not kept and trouble.was_read and not trouble.unknown)\n"
    "  assert(trouble.kind == 'output' and #trouble.lost >= 1)\n"
    "  local last = 0\n"
    "  for _, l in ipairs(trouble.lost) do\n"
    "    assert(l[1] > last and l[2] == 'out' and l[3] == r.key)\n"
    "    assert(l[4] == (l[1] == 1 and 'v' or 'w') .. r.offset)\n"
    "    assert(l[5][1][1] == 'a' and l[5][1][2] == 'b' and l[5][2][1] == 'n' and not l[5][2][2])\n"
    "    assert(ticket:emit(l[2], l[3], l[4], l[5], nil, nil, l[1])) last = l[1] end\n"
    "  return true end }",
    40);
  fake.failing_sends = 5;
  fake.full_sends = 3;
  run_until(all_stored);
  CHECK_INT(global("runs"), 40 * PARTITIONS);
  CHECK_INT(fake.sends, 2 * 40 * PARTITIONS + 5);
  CHECK(global("again") >= 2);
  CHECK_INT(global("stale"), 40 * PARTITIONS - 1);
  end();
}

static void a_loss_that_is_not_known_is_told_as_such(void)
{
  (void)begin(HEAD START
              "  core.emit(number, 'out', key, 'v') return true end\n"
              "register{ group='g', topics={'events'}, start=begins(full), context=class,\n"
              "  dispatch=function(r, ticket, kept, trouble)\n"
              "  assert(trouble.unknown and #trouble.lost == 0)\n"
              "  shared.again = shared.again + 1 return true end }",
              10);
  fake.failing_sends = 4;
  fake.forgets = true;
  run_until(all_stored);
  CHECK_INT(global("again"), 4);
  end();
}

static void a_start_that_needs_more_goes_on_as_a_dispatch(void)
{
  (void)begin(
    HEAD START
    "  if offset % 4 == 0 then error('bang') end\n"
    "  if offset % 4 == 1 then return true end\n"
    "  local r, ticket, at = core.open(number)\n"
    "  assert(r.offset == offset and r.timestamp_type and at > 0 and not ticket:stopped())\n"
    "  ticket:keep(r) return 1 end\n"
    "register{ group='g', topics={'events'}, start=begins(full), context=class,\n"
    "  dispatch=function(r, ticket, kept, trouble)\n"
    "  shared.again = shared.again + 1\n"
    "  if trouble then assert(trouble.kind == 'crash' and trouble.was_read and r.offset % 4 == 0)\n"
    "  else assert(kept.offset % 4 >= 2) end return true end }",
    40);
  run_until(all_stored);
  CHECK_INT(global("again"), 30 * PARTITIONS);
  CHECK_INT(global("runs"), 40 * PARTITIONS);
  end();
}

/* What starter has made gets the event from the engine, which is not the event's to pay. */
static void a_start_of_the_program_makes_the_event_by_itself(void)
{
  (void)begin(
    HEAD
    "local core = require 'sipeat.core.flow'\n"
    "require 'sipeat.record'\n"
    "local class = { __index = { mark = true } }\n"
    "local function full(number, event, ctx)\n"
    "  if event.topic == 'events' and event.value == '{}' and event.headers.half and ctx.mark\n"
    "    and ctx[1] == number and ctx[2] == event and core.emit(number, 'out', event.key)\n"
    "  then shared.runs = shared.runs + 1 end\n"
    "  return true end\n"
    "local start = core.starter({}, full, print, print)\n"
    "register{ group='g', topics={'events'}, start=start, context=class, memory_bytes=400,\n"
    "  dispatch=function(r, ticket, kept, trouble) shared.again = shared.again + 1\n"
    "  return true end }",
    40);
  run_until(all_stored);
  CHECK_INT(global("again"), 0);
  CHECK_INT(global("runs"), 40 * PARTITIONS);
  CHECK_INT(fake.sends, 40 * PARTITIONS);
  end();
}

int main(void)
{
  sip_log_setup(2, SIP_LOG_AUTO, SIP_LOG_ERROR);
  CHECK_INT(uv_loop_init(&loop), 0);
  what_was_lost_comes_back_although_nothing_was_kept();
  a_loss_that_is_not_known_is_told_as_such();
  a_start_that_needs_more_goes_on_as_a_dispatch();
  a_start_of_the_program_makes_the_event_by_itself();
  SIP_TEST_END(&loop);
  return 0;
}
