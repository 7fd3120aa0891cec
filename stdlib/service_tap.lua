--- GET /admin/tap: what flows do, as lines of JSON, while somebody reads them. For programs on this
--- machine (service.lua guards it).
local host = require "sipeat.core.host"
local json = require "sipeat.json"
local task = require "sipeat.task"

local M = {}

local EVERY = "100ms"
local PING_TURNS = 20 -- turns without a word, after which an empty line shows whether one listens
local MAX_WATCHERS = 8

local watchers = 0

-- The lines of what came, of that group or of all; "" when nothing did.
local function lines_of(entries, missed, group, failed)
  local out = {}
  if missed > 0 then
    out[1] = json.encode { missed = missed } .. "\n"
  end
  for _, entry in ipairs(entries) do
    if (not group or entry.group == group) and (not failed or entry.outcome ~= "ok") then
      entry.ms = math.floor(entry.ms * 1000 + 0.5) / 1000
      out[#out + 1] = json.encode(entry) .. "\n"
    end
  end
  return table.concat(out)
end

local function follow(watch, write, group, failed)
  local quiet = 0
  repeat
    local entries, missed = watch:take()
    local text = lines_of(entries, missed, group, failed)
    quiet = text == "" and quiet + 1 or 0
    if quiet >= PING_TURNS then
      text, quiet = "\n", 0
    end
    if text ~= "" and not write(text) then
      return
    end
  until not task.sleep(#entries > 0 and "1ms" or EVERY)
end

--- The handler.
function M.answer(req)
  local group, failed = req.query.group, req.query.failed == "true"
  if watchers >= MAX_WATCHERS then
    return { status = 429, json = { error = "others watch already: end one of them" } }
  end
  return {
    status = 200, headers = { ["content-type"] = "application/x-ndjson" },
    stream = function(write)
      watchers = watchers + 1
      local watch = host.tap()
      local _ <close> = setmetatable({}, {
        __close = function()
          watchers = watchers - 1
          if watch then
            watch:close()
          end
        end,
      })
      task.set_event_id ""
      if watch and write "\n" then
        follow(watch, write, group, failed)
      end
    end,
  }
end

return M
