--- `sipeat top`: what a running program does, again and again, worked out from two looks at its
--- /metrics.
local figures = require "sipeat.command_top_figures"
local http = require "sipeat.http"
local output = require "sipeat.command_output"
local sys = require "sipeat.core.sys"
local task = require "sipeat.task"
local terminal = require "sipeat.core.terminal"

local M = {}

local OK, FAILED = 0, 1

-- --- showing ---

-- A bound beyond the last bucket has no number.
local function ms(value)
  return value == math.huge and ">60000" or ("%.1f"):format(value)
end

local function show(state, address)
  terminal.write(("%s  %s, up %.0f s, %d workers, %.1f MB of scripts%s\n\n"):format(
    address, state.ready and "ready" or "NOT READY", state.uptime_s, state.workers,
    state.memory_bytes / 1e6, state.parked and (", %d parked"):format(state.parked) or ""
  ))
  local rows = {}
  for i, one in ipairs(state.flows) do
    rows[i] = {
      output.printable(one.group), ("%.1f"):format(one.rate), one.lag and
        math.tointeger(one.lag) or "?", math.tointeger(one.running), math.tointeger(one.waiting),
      ("%.1f"):format(one.retries), math.tointeger(one.dead),
    }
  end
  output.table({ "FLOW", "EVENTS/S", "LAG", "RUNNING", "WAITING", "RETRIES/S", "DEAD" }, rows)
  rows = {}
  for i, one in ipairs(state.slow) do
    rows[i] = {
      output.printable(one.group), output.printable(one.type), ("%.1f"):format(one.rate),
      ms(one.mean_ms), ms(one.p50_ms), ms(one.p99_ms),
    }
  end
  terminal.write "\n"
  output.table({ "SLOWEST", "TYPE", "CALLS/S", "MEAN MS", "MEDIAN MS", "P99 MS" }, rows)
end

local function look(address)
  local answer, message = http.get(("http://%s/metrics"):format(address), {
    timeout = "10s", headers = { accept = "text/plain; version=0.0.4" },
  })
  if not answer then
    return nil, ("no program answers at %s (--http HOST:PORT): %s"):format(address, message)
  elseif answer.status ~= 200 then
    return nil, ("%s answers with status %d"):format(address, answer.status)
  end
  return figures.parse(answer.body), sys.monotonic_ms()
end

local function tell(options, state)
  if options.json then
    for _, one in ipairs(state.slow) do
      one.p50_ms = one.p50_ms < math.huge and one.p50_ms or nil
      one.p99_ms = one.p99_ms < math.huge and one.p99_ms or nil
    end
    output.json(state)
  else
    if not options.once and terminal.is_terminal "stdout" then
      terminal.write "\27[H\27[2J" -- from the top of an empty screen
    end
    show(state, options.http)
  end
  return terminal.flush()
end

--- Returns the exit code.
function M.run(options)
  local before, at = look(options.http)
  while before and task.sleep(options.every) do
    local now, when = look(options.http)
    if not now then
      before, at = nil, when
      break
    end
    tell(options, figures.between(before, now, math.max(when - at, 1) / 1000))
    if options.once then
      return OK
    end
    before, at = now, when
  end
  if before then
    return OK -- stopped
  end
  terminal.note("sipeat top: " .. at)
  return FAILED
end

return M
