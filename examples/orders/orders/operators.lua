--- Who may do what customers may not: those with a token (`sipeat token add`), and in `sipeat dev`
--- also programs of this machine.
local access = require "sipeat.access"
local capture = require "sipeat.capture"

local LOOPBACK = { ["127.0.0.1"] = true, ["::1"] = true, ["::ffff:127.0.0.1"] = true }

--- A guard, as resource.route takes one.
return function(role, handler)
  local guarded = access.guard(role, handler)
  return function(req, ...)
    local is_page = req.headers.origin or req.headers["sec-fetch-site"]
    if capture.enabled() and LOOPBACK[req.remote] and not is_page
      and not req.headers.authorization then
      return handler(req, ...)
    end
    return guarded(req, ...)
  end
end
