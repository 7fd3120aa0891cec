--- Who may use the pages and routes that are not for everybody: users of that role; and in `sipeat
--- dev` whoever is at this machine, unless another site's page asks.
local access = require "sipeat.access"
local capture = require "sipeat.capture"

local M = {}

local DEVELOPER = { name = "developer", role = "admin", via = "dev" }

local function is_loopback(address)
  address = tostring(address or ""):gsub("^::ffff:", "")
  return address:find "^127%." ~= nil or address == "::1"
end

-- The host's name alone: "localhost:3000" and "[::1]:3000" are this machine.
local function names_this_machine(host)
  local name = (host or ""):lower():match "^%[([%x:]+)%]" or (host or ""):lower():match "^[^:]*"
  return name == "localhost" or is_loopback(name)
end

-- A name that leads here may belong to another site, and a page of another site says where it is
-- from.
local function is_at_home(req)
  local host, origin = req.headers.host, req.headers.origin
  local from = req.headers["sec-fetch-site"]
  return is_loopback(req.remote) and names_this_machine(host)
    and (origin == nil or origin == "http://" .. host)
    and (from == nil or from == "same-origin" or from == "none")
end

--- A handler for users of at least that role.
function M.only(role, handler)
  local guarded = access.guard(role, handler)
  return function(req)
    if capture.enabled() and not req.headers.authorization and is_at_home(req) then
      req.user = DEVELOPER
      return handler(req)
    end
    return guarded(req)
  end
end

return M
