--- What a route of the HTTP server demands of requests: the size of bodies, the rate of a client.
local httpd = require "sipeat.core.httpd"
local rate_limit = require "sipeat.rate_limit"

local M = {}

--- "5/m" -> requests per second, how many at once; or nil, message, "EINVAL".
function M.parse(rate)
  local per_ms, message, code = rate_limit.per_ms(rate)
  if not per_ms then
    return nil, message, code
  end
  return per_ms * 1000, math.max(1, math.floor(tonumber(rate:match "^[%d.]+")))
end

--- Puts what the options say of limits on a route. true, or nil and a message.
function M.apply(route, options)
  route.max_body_bytes = options.max_body_bytes
  if options.rate then
    local per_s, burst = M.parse(options.rate)
    if not per_s then
      return nil, burst
    end
    route.limiter = httpd.limiter(per_s, burst)
  end
  route.demands = route.limiter ~= nil or route.max_body_bytes ~= nil
  return true
end

--- Tells the server how large bodies may be, so that it refuses them by their heads.
function M.announce(list)
  local out = {}
  for _, route in ipairs(list) do
    if route.max_body_bytes then
      out[#out + 1] = { route.method, route.path, route.max_body_bytes }
    end
  end
  httpd.body_limits(out)
end

return M
