--- How `sipeat tap` shows an attempt. No I/O.
local printable = require("sipeat.command_text").printable
local sys = require "sipeat.core.sys"

local M = {}

local MARKS = {
  ok = "ok", retried = "again", dead = "DEAD", parked = "PARKED", stopped = "STOPPED",
}

--- One attempt as a line for people.
function M.line(one)
  local time = sys.iso_time(one.at_ms):match "T(.*)Z$"
  local place = ("%s/%d/%d"):format(one.topic, one.partition, one.offset)
  return (("%s  %-7s %9.3f ms  %-24s %s  %s%s%s"):format(
    time, MARKS[one.outcome], one.ms, printable(one.type), printable(one.id or "-"),
    printable(place), one.key and "  key " .. printable(one.key) or "",
    one.why and "  " .. printable(one.why) or ""
  ):gsub("%s+$", ""))
end

return M
