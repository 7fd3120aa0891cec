--- `sipeat tap [FLOW]`: the attempts of a running program's flows, as they end.
local http = require "sipeat.http"
local json = require "sipeat.json"
local line_of = require("sipeat.command_tap_line").line
local output = require "sipeat.command_output"
local terminal = require "sipeat.core.terminal"

local M = {}

local OK, FAILED = 0, 1

local function complain(message)
  terminal.note("sipeat tap: " .. message)
end

local function show(options, line)
  local one = json.decode(line)
  if type(one) ~= "table" then
    return nil, "the answer is no JSON", "BAD_DATA"
  elseif one.missed then
    complain(("%d attempts were missed: more than can be shown"):format(one.missed))
    return true, 0
  elseif options.json then
    return output.json(one), 1
  end
  return terminal.write(line_of(one) .. "\n"), 1
end

-- Gathers chunks to lines and shows them; false when enough was shown.
local function shower(options)
  local rest, shown = "", 0
  return function(chunk)
    rest = rest .. chunk
    for line in rest:gmatch "([^\n]*)\n" do
      if line ~= "" then
        local ok, count = show(options, line)
        if not ok then
          return false
        end
        shown = shown + count
        if options.max and shown >= options.max then
          options.enough = true
          return false
        end
      end
    end
    rest = rest:match "([^\n]*)$"
    terminal.flush()
    return true
  end
end

--- Returns the exit code.
function M.run(options)
  local answer, message, code = http.request {
    method = "GET", url = ("http://%s/admin/tap"):format(options.http), timeout = "365d",
    query = { group = options.group, failed = options.failed and "true" or nil },
    stream = shower(options),
  }
  if options.enough or code == "ECANCELED" then
    terminal.flush()
    return OK
  elseif not answer then
    complain(("no program answers at %s (--http HOST:PORT): %s"):format(options.http, message))
    return FAILED
  elseif answer.status ~= 200 then
    complain(("%s answers with status %d"):format(options.http, answer.status))
    return FAILED
  end
  complain "the program has ended"
  return FAILED
end

return M
