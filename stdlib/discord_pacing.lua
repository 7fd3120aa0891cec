--- When the next request may go: Discord's rate-limit headers, kept for each bucket of each
--- webhook, and its global limit, which holds for the whole host. Nothing is assumed about the
--- limits; what Discord says is obeyed. Source: discord-api-docs, topics/rate-limits.mdx.
local json = require "sipeat.json"

local M = {}

local LONGEST_WAIT_MS = 3600 * 1000 -- a longer one is an error; asking once an hour harms nobody
local DEFAULT_WAIT_MS = 5000 -- a 429 that does not say how long
local MARGIN_MS = 20 -- our clock and theirs do not tick together

local Pacing = {}
Pacing.__index = Pacing

--- `now_ms` is a monotonic clock.
---@param now_ms fun(): number
function M.new(now_ms)
  return setmetatable({ now_ms = now_ms, webhooks = {}, global_until = 0 }, Pacing)
end

local function state_of(self, key)
  local state = self.webhooks[key]
  if not state then
    state = { blocked_until = 0 }
    self.webhooks[key] = state
  end
  return state
end

--- How long the webhook has to wait before its next request.
---@param key string
---@return integer ms 0: go
function Pacing:wait_ms(key)
  local state, now = state_of(self, key), self.now_ms()
  local at = math.max(self.global_until, state.blocked_until)
  if state.remaining and state.remaining <= 0 then
    at = math.max(at, state.reset_at)
  end
  return at > now and math.ceil(at - now) or 0
end

--- A request goes now: it uses up one of what remains until the answer says better.
function Pacing:started(key)
  local state = state_of(self, key)
  if state.remaining then
    if state.remaining <= 0 then
      state.remaining = nil -- the window is over; the answer tells about the new one
    else
      state.remaining = state.remaining - 1
    end
  end
end

--- Nothing goes to the webhook for that long, whatever Discord said last.
---@param key string
---@param ms number
function Pacing:hold(key, ms)
  local state = state_of(self, key)
  state.blocked_until = math.max(state.blocked_until, self.now_ms() + ms)
end

local function seconds(text)
  local n = tonumber(text)
  return n and n == n and n >= 0 and math.min(n * 1000, LONGEST_WAIT_MS) or nil
end

--- Learns from an answer. For a 429, the time to wait in milliseconds and whether it is global.
---@param key string
---@param response {status: integer, headers: table<string, string>, body: string}
---@return integer? wait_ms
---@return boolean? global
function Pacing:observe(key, response)
  local state, now, headers = state_of(self, key), self.now_ms(), response.headers
  local remaining = tonumber(headers["x-ratelimit-remaining"])
  local reset = seconds(headers["x-ratelimit-reset-after"])
  if remaining and reset then
    state.bucket = headers["x-ratelimit-bucket"]
    state.remaining, state.reset_at = remaining, now + reset + MARGIN_MS
  elseif state.bucket ~= headers["x-ratelimit-bucket"] then
    state.bucket, state.remaining = nil, nil -- no longer limited as it was
  end
  if response.status ~= 429 then
    return nil
  end
  local body = json.decode(response.body or "")
  body = type(body) == "table" and body or {} -- Cloudflare answers in HTML
  local said, header = seconds(body.retry_after), seconds(headers["retry-after"])
  local wait = math.max(said or 0, header or 0)
  if not said and not header then
    wait = reset or DEFAULT_WAIT_MS
  end
  wait = math.ceil(wait + MARGIN_MS)
  local global = body.global == true or headers["x-ratelimit-global"] == "true"
  if global then
    self.global_until = math.max(self.global_until, now + wait)
  else
    state.blocked_until = math.max(state.blocked_until, now + wait)
  end
  return wait, global
end

return M
