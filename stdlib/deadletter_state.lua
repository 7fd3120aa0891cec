--- Dead letters that are on their way: how many wait, since when, and why. Their events are not
--- finished before.
local log = require("sipeat.log").new "deadletter"
local sys = require "sipeat.core.sys"

local M = {}

local LATE_MS = 10000 -- a letter that takes longer is told about
local LOG_EVERY_MS = 10000

local waiting = setmetatable({}, { __mode = "k" }) -- letter -> true; one that is given up collects
local counts = { written = 0, failures = 0, parked = 0 }
local last_why, logged_ms, unlogged = nil, nil, 0

--- Its first try begins.
function M.begins(letter)
  letter.since_ms = sys.monotonic_ms()
  waiting[letter] = true
end

--- It is there, or with `parked` in a file.
function M.ends(letter, parked)
  if waiting[letter] then
    waiting[letter] = nil
    local what = parked and "parked" or "written"
    counts[what] = counts[what] + 1
  end
end

--- Its task was stopped: the event comes again, to whoever has it then.
function M.stops(letter)
  waiting[letter] = nil
end

--- How long it has been waiting, in milliseconds.
function M.waited_ms(letter)
  return sys.monotonic_ms() - letter.since_ms
end

--- A try failed; logged at a bounded rate.
function M.fails(letter, why, pause_ms)
  local now = sys.monotonic_ms()
  counts.failures, last_why = counts.failures + 1, why
  if logged_ms and now - logged_ms < LOG_EVERY_MS then
    unlogged = unlogged + 1
    return
  end
  log:error(("the dead letter cannot be written, the next try in %d ms: %s%s"):format(
    pause_ms, why.message,
    unlogged > 0 and (" (and %d more failures since)"):format(unlogged) or ""
  ), { group = letter.flow, code = why.code })
  logged_ms, unlogged = now, 0
end

--- { waiting, late, oldest_ms, written, failures, parked, message }: late are those that wait for
--- more than ten seconds, message says why the last one failed.
function M.status()
  local now = sys.monotonic_ms()
  local out = { waiting = 0, late = 0, oldest_ms = 0 }
  for letter in pairs(waiting) do
    local ms = now - letter.since_ms
    out.waiting, out.late = out.waiting + 1, out.late + (ms >= LATE_MS and 1 or 0)
    out.oldest_ms = math.max(out.oldest_ms, math.floor(ms))
  end
  for name, count in pairs(counts) do
    out[name] = count
  end
  out.message = out.waiting > 0 and last_why and last_why.message or nil
  return out
end

return M
