--- One webhook: its address, and bringing one message there. The token never gets into a message or
--- a log line.
local json = require "sipeat.json"
local log = require("sipeat.log").new("discord")
local sys = require "sipeat.core.sys"

local M = {}

local USER_AGENT = ("DiscordBot (https://github.com/sipeat/sipeat, %s)"):format(sys.version)
local ANSWER_BYTES = 64 * 1024
local LONG_WAIT_MS = 60 * 1000
local MAX_LIMITS = 20 -- 429s in a row for one message
local HINT = "copy it from Server Settings > Integrations > Webhooks: "
  .. "https://discord.com/api/webhooks/<id>/<token>"
local GONE = { [401] = true, [403] = true, [404] = true }

local Webhook = {}
Webhook.__index = Webhook

--- Takes the address apart. The message names the setting and never what is in it.
---@param url string
---@param name string the setting that it came from, such as "DISCORD_WEBHOOK"
---@return {url: string, id: string, token: string}? parts
---@return string? message
---@return string? code
function M.parse(url, name)
  local function refuse(why)
    return nil, ("%s is not a Discord webhook: %s (%s)"):format(name, why, HINT), "INVALID_WEBHOOK"
  end
  url = url:match("^%s*(.-)%s*$")
  if url:find("[%s%c\"'<>\\]") then
    return refuse("it has blanks, quotes or control characters in it")
  end
  local scheme, host, rest = url:match("^(%a+)://([^/?#]+)(.*)$")
  if not scheme then
    return refuse("it does not begin with https:// and a host")
  elseif scheme:lower() ~= "https" and scheme:lower() ~= "http" then
    return refuse("it begins with neither https:// nor http://")
  elseif host:find("@", 1, true) then
    return refuse("there is a user name in it")
  end
  local path, query = rest:match("^([^?#]*)%??([^#]*)")
  local before, id, token, after = path:match("^(.*/webhooks)/([^/]+)/([^/]+)(.*)$")
  if not id then
    return refuse("its path lacks /webhooks/<id>/<token>")
  elseif not id:find("^%d+$") or #id > 20 then
    return refuse("the id after /webhooks/ is not a number")
  elseif token:find("[^%w_%-]") then
    return refuse("the token has characters that Discord does not use")
  elseif after ~= "" and after ~= "/" then
    return refuse("something follows the token")
  end
  local thread = ("&" .. query):match("&thread_id=%d+") or ""
  return {
    url = ("%s://%s%s/%s/%s?wait=true%s"):format(scheme, host, before, id, token, thread),
    id = id,
    token = token,
  }
end

--- options: url, name, pacing, transport(request) -> response | nil, message, code; sleep(ms) ->
--- true | nil; timeout_ms of one request, attempts, backoff_ms {first, longest}, counts (table of
--- counters).
function M.new(options)
  local parts, message, code = M.parse(options.url, options.name)
  if not parts then
    return nil, message, code
  end
  local self = setmetatable({}, Webhook)
  for key, given in next, options do
    self[key] = given
  end
  self.url, self.id, self.token = parts.url, parts.id, parts.token
  self.key = parts.id .. "/" .. parts.token
  self.failures = 0 -- in a row; the backoff goes on from message to message
  self.not_before = 0
  return self
end

--- Text without the token.
function Webhook:redact(text)
  text = tostring(text)
  if #self.token < 4 then
    return text -- a test's; replacing it would only mutilate words
  end
  return (text:gsub(self.token:gsub("%-", "%%-"), "***"))
end

local function count(self, name)
  self.counts[name] = (self.counts[name] or 0) + 1
end

local function flatten(errors, path, out)
  for key, inner in next, errors do
    if key == "_errors" and type(inner) == "table" then
      for _, item in ipairs(inner) do
        local why = type(item) == "table" and item.message
        out[#out + 1] = ("%s: %s"):format(path, tostring(why))
      end
    elseif type(inner) == "table" and #out < 5 and #path < 100 then
      flatten(inner, path == "" and tostring(key) or path .. "." .. tostring(key), out)
    end
  end
  return out
end

--- Discord's own words about a refusal, short and on one line.
function Webhook:reason(response)
  local body = json.decode(response.body or "")
  local text = "status " .. response.status
  if type(body) == "table" and type(body.message) == "string" then
    text = ("%s, code %s: %s"):format(text, tostring(body.code), body.message)
    if type(body.errors) == "table" then
      local parts = flatten(body.errors, "", {})
      table.sort(parts)
      text = text .. " (" .. table.concat(parts, "; ") .. ")"
    end
  end
  return self:redact((sys.utf8_clean(text:sub(1, 400)):gsub("%c", " ")))
end

--- Of an answer only the beginning is read: what follows, or never comes, changes nothing.
local function request(self, body, timeout_ms)
  local kept, size = {}, 0
  local response, message, code = self.transport {
    method = "POST",
    url = self.url,
    headers = { ["content-type"] = "application/json", ["user-agent"] = USER_AGENT },
    body = body,
    timeout = ("%dms"):format(math.floor(timeout_ms)),
    stream = function(chunk)
      kept[#kept + 1] = chunk
      size = size + #chunk
      return size < ANSWER_BYTES -- false: enough
    end,
  }
  if not response then
    return nil, message, code
  end
  local text = size > 0 and table.concat(kept) or response.body or ""
  return { status = response.status, headers = response.headers or {}, body = text }
end

--- One request. -> "sent" | "limited" | "rejected" | "gone" | "failed" | "cancelled", detail
local function once(self, body, timeout_ms)
  self.pacing:started(self.key)
  count(self, "requests")
  local response, message, code = request(self, body, timeout_ms)
  if not response then
    local verdict = code == "ECANCELED" and "cancelled" or "failed"
    return verdict, { message = self:redact(message), code = code }
  end
  local status = response.status
  local wait, global = self.pacing:observe(self.key, response)
  if status >= 200 and status < 300 then
    local saved = json.decode(response.body)
    return "sent", { status = status, id = type(saved) == "table" and saved.id or nil }
  elseif wait then
    return "limited", { status = status, wait_ms = wait, global = global }
  elseif GONE[status] then
    return "gone", { status = status, message = self:reason(response), code = "WEBHOOK_GONE" }
  elseif status >= 500 or status == 408 then
    return "failed", { status = status, message = self:reason(response), code = "UNAVAILABLE" }
  end
  return "rejected", { status = status, message = self:reason(response), code = "REJECTED" }
end

--- How long to wait after a failure of the network or the server.
local function backoff_ms(self)
  local first, longest = self.backoff_ms[1], self.backoff_ms[2]
  local ms = math.min(longest, first * 2 ^ math.min(self.failures - 1, 20))
  return ms * (0.8 + 0.4 * math.random())
end

--- `streak`: how many times in a row. A server that says "at once" again and again is not believed.
local function hold_after_limit(self, detail, streak)
  count(self, "limited")
  if streak > 3 then
    self.pacing:hold(self.key, math.min(60000, 250 * 2 ^ (streak - 3)))
  end
  if detail.wait_ms >= LONG_WAIT_MS then
    local whose = detail.global and " (global limit)" or ""
    log:warn(("Discord asks to wait %d s%s"):format(detail.wait_ms // 1000, whose))
  end
end

local function limited(wait_ms)
  return {
    message = ("rate limited by Discord, which asks to wait %.1f s"):format(wait_ms / 1000),
    code = "RATE_LIMITED",
    status = 429,
  }
end

--- Waits for the limits and until `not_before`. nil when it may go; else the end of the delivery.
local function wait_for_turn(self, not_before, give_up_at, last)
  local function wait_ms()
    return math.max(self.pacing:wait_ms(self.key), not_before - self.pacing.now_ms())
  end
  local wait = wait_ms()
  while wait > 0 do -- again after the wait: another task may have gone first
    if self.pacing.now_ms() + wait > give_up_at then
      return "failed", last or limited(wait)
    elseif not self.sleep(wait) then
      return "cancelled", { message = "stopped", code = "ECANCELED" }
    end
    wait = wait_ms()
  end
  return nil
end

--- Brings one message there: waits as Discord asks, and repeats after failures of the network or
--- the server up to `attempts` times. -> "sent" | "rejected" | "gone" | "failed" | "cancelled",
--- {status, id, message, code}
---@param body string JSON
---@param patience_ms number? somebody waits: gives up after that time, and begins at once even if
---  the message before has failed
function Webhook:deliver(body, patience_ms)
  local attempt, streak, last = 0, 0, nil
  local give_up_at = self.pacing.now_ms() + (patience_ms or math.huge)
  local not_before = patience_ms and 0 or self.not_before
  while true do
    local ended, why = wait_for_turn(self, not_before, give_up_at, last)
    if ended then
      return ended, why
    end
    local left = math.max(1, give_up_at - self.pacing.now_ms())
    local verdict, detail = once(self, body, math.min(self.timeout_ms, left))
    if verdict == "limited" then
      streak = streak + 1
      hold_after_limit(self, detail, streak)
      if streak >= MAX_LIMITS then
        return "failed", limited(detail.wait_ms)
      end
    elseif verdict == "failed" then
      attempt, streak, last = attempt + 1, 0, detail
      self.failures = self.failures + 1
      count(self, "failures")
      not_before = self.pacing.now_ms() + backoff_ms(self)
      self.not_before = not_before
      if attempt >= self.attempts then
        return verdict, detail
      end
    else
      self.failures = verdict == "cancelled" and self.failures or 0
      return verdict, detail
    end
  end
end

return M
