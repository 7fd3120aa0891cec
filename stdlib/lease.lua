--- Who a process is, for leases in a database: so that one that has died on this machine is not
--- waited for.
local sys = require "sipeat.core.sys"

local M = {}

local function start_of(pid)
  local stat = sys.read_file(("/proc/%s/stat"):format(pid))
  -- behind the name, which may hold anything: state is the 3rd field, the start the 22nd
  local rest = stat and stat:match "^.*%) (.*)$"
  local n = 2
  for field in (rest or ""):gmatch "%S+" do
    n = n + 1
    if n == 22 then
      return field
    end
  end
end

local function host_name()
  local name = sys.read_file "/proc/sys/kernel/hostname" or "host"
  return (name:gsub("%s+$", ""))
end

--- "host:pid:start:number": the number tells several holders in one process apart.
function M.me()
  local pid = (sys.read_file "/proc/self/stat" or ""):match "^(%d+)" or "0"
  return ("%s:%s:%s:%s"):format(host_name(), pid, start_of(pid) or "0", sys.uuid():sub(1, 8))
end

--- Has the process gone that calls itself so? Only of those on this machine it can be told.
function M.is_gone(who)
  local host, pid, start = who:match "^(.*):(%d+):(%d+):%x+$"
  return host == host_name() and start_of(pid) ~= start
end

--- "process 123 on shop-1", for messages.
function M.describe(who)
  local host, pid = who:match "^(.*):(%d+):%d+:%x+$"
  return host and ("process %s on %s"):format(pid, host) or who
end

return M
