--- Deliveries that were taken: each is handled once, however often it is sent.
--
-- A delivery is claimed before its handler runs and settled after it. What a process that ended had
-- claimed may be taken again: then the handler's own idempotency key, the event's id, decides.
local store = require "sipeat.access_store"
local sys = require "sipeat.core.sys"

local M = {}

local DONE = "done"
local mine = sys.uuid() -- whose claims are alive

--- Claims a delivery: "new", "done" (it was handled) or "busy" (it is being handled); or nil,
--- message, code.
function M.claim(source, id, keep_ms)
  local now = sys.now_ms()
  return store.transaction(function(tx)
    local rows, message, code = tx:query(
      "SELECT state FROM access_seen WHERE source = ? AND id = ? AND until_ms > ?", source, id, now)
    if not rows then
      return nil, message, code
    elseif rows[1] and rows[1].state == DONE then
      return "done"
    elseif rows[1] and rows[1].state == mine then
      return "busy"
    end
    local done
    done, message, code = tx:exec("DELETE FROM access_seen WHERE until_ms <= ?", now)
    if done then
      done, message, code = tx:exec("INSERT OR REPLACE INTO access_seen VALUES (?, ?, ?, ?)",
        source, id, mine, now + keep_ms)
    end
    return done and "new" or nil, message, code
  end)
end

--- It was handled.
function M.settle(source, id)
  return store.exec("UPDATE access_seen SET state = ? WHERE source = ? AND id = ?",
    DONE, source, id)
end

--- It was not: whoever sends it again is welcome.
function M.release(source, id)
  return store.exec("DELETE FROM access_seen WHERE source = ? AND id = ? AND state = ?",
    source, id, mine)
end

return M
