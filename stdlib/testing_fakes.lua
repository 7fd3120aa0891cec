--- Strict fakes of what a script talks to over HTTP: Discord's webhooks and Stripe's payments.
--
-- They refuse what the real ones refuse, count effects by their idempotency keys, and can be told
-- to misbehave. The services themselves are those that `sipeat dev` shows on its page.
local capture = require "sipeat.capture"
local env = require "sipeat.testing_env"
local http = require "sipeat.testing_http"
local opts = require "sipeat.opts"
local sys = require "sipeat.core.sys"

local M = {}

local DISCORD = opts.spec("sipeat.testing.discord", {
  webhook = { "string", default = "https://discord.com/api/webhooks/1/test" },
})

local PAYMENTS = opts.spec("sipeat.testing.payments", {
  url = { "string", default = "https://api.stripe.com" },
  key_lifetime = { "duration", default = "24h" },
})

local LATE = { delay = 100 * 24 * 3600 * 1000 } -- beyond any deadline

local function handlers(module)
  local routes = {}
  require(module).routes {
    route = function(spec, handler)
      local method, path = spec:match "^(%u+) (.+)$"
      local pattern = path:gsub("%-", "%%-"):gsub(":%w+", "([^/]+)")
      local names = {}
      for name in path:gmatch ":(%w+)" do
        names[#names + 1] = name
      end
      local route = { method = method, pattern = "^" .. pattern .. "$", names = names }
      route.handler = handler
      table.insert(routes, path:find ":" and #routes + 1 or 1, route)
    end,
  }
  return routes
end

-- Hands a request to the service's own handler, as its HTTP server would.
local function call(routes, request, path)
  for _, route in ipairs(routes) do
    local values = { path:match(route.pattern) }
    if route.method == request.method and values[1] then
      local params = {}
      for i, name in ipairs(route.names) do
        params[name] = values[i]
      end
      local answer = route.handler {
        method = request.method, path = path, params = params, query = request.query,
        headers = request.headers, body = request.body or "",
      }
      return {
        status = answer.status, headers = answer.headers or {}, body = answer.body or "",
        delay = "0ms",
      }
    end
  end
  return { status = 404, body = "" }
end

local Fake = {}
Fake.__index = Fake

--- What the next requests meet, one each, in order.
function Fake:next(...)
  for _, mode in ipairs { ... } do
    if not self.modes[mode] then
      local known = table.concat(opts.names(self.modes), ", ")
      error(("%s: next: %s is none of %s"):format(self.name, opts.show(mode), known), 2)
    end
    self.queue[#self.queue + 1] = mode
  end
  return self
end

local function entries(kind)
  local list = {}
  for _, entry in ipairs(capture.entries(kind)) do
    table.insert(list, 1, entry.entry)
  end
  return list
end

local function answer_with(fake, perform)
  local mode = fake.modes[table.remove(fake.queue, 1) or "ok"]
  return mode(perform)
end

-- How a service may answer, whatever it is.
local function common()
  return {
    ok = function(perform)
      return perform()
    end,
    ["connection refused"] = function()
      return { fail = "refused" }
    end,
    ["no answer"] = function() -- and nothing has happened
      return { fail = "no answer" }
    end,
    ["late answer"] = function(perform) -- after the deadline: it has happened
      local answer = perform()
      answer.delay = LATE.delay .. "ms"
      return answer
    end,
    ["half an answer"] = function(perform)
      perform()
      return { fail = "half" }
    end,
    ["error after"] = function(perform) -- it has happened, and the answer is 500
      perform()
      return { status = 500, json = { error = { type = "api_error" }, message = "sorry" } }
    end,
    error = function()
      return { status = 500, json = { error = { type = "api_error" }, message = "sorry" } }
    end,
    ["rate limited"] = function()
      return {
        status = 429, headers = { ["retry-after"] = "1" },
        json = { message = "slow down", retry_after = 1.0, global = false,
          error = { type = "invalid_request_error", code = "rate_limit" } },
      }
    end,
  }
end

-- --- Discord ---

local Discord = setmetatable({ __index = nil }, { __index = Fake })
Discord.__index = Discord

--- The messages that it took, as they came.
function Discord.messages()
  local list = entries "discord"
  for i, entry in ipairs(list) do
    list[i] = entry.message
  end
  return list
end

--- A webhook that refuses what Discord refuses; its address is put into DISCORD_WEBHOOK.
function M.discord(options)
  local o = DISCORD(options)
  local fake = setmetatable({ name = "t.discord", queue = {}, modes = common() }, Discord)
  capture.enable { page = false }
  env.set("DISCORD_WEBHOOK", o.webhook)
  local routes = handlers "sipeat.capture_discord"
  http.on("POST", o.webhook, function(request)
    return answer_with(fake, function()
      return call(routes, request, "/capture/discord/webhooks/1/test")
    end)
  end)
  return fake
end

-- --- payments ---

local Payments = setmetatable({}, { __index = Fake })
Payments.__index = Payments

local function count(list, what, status)
  local n = 0
  for _, entry in ipairs(list) do
    n = n + (entry.what == what and (not status or entry.status == status) and 1 or 0)
  end
  return n
end

--- Payments that were made: each has moved money once.
function Payments.captured()
  return count(entries "payment", "payment", "succeeded")
end

--- Refunds that were made.
function Payments.refunded()
  return count(entries "payment", "refund")
end

--- What is on its books, in order: { what = "payment" | "refund" | "cancel", id, amount_minor,
--- currency, status, declined, … }.
function Payments.entries()
  return entries "payment"
end

--- How often the same request came under each idempotency key.
function Payments:keys()
  local copy = {}
  for key, seen in pairs(self.seen) do
    copy[key] = seen.count
  end
  return copy
end

local function payment_modes(fake)
  local modes = common()
  function modes.conflict() -- another request with this key is on its way
    return {
      status = 409,
      json = { error = { type = "idempotency_error", code = "idempotency_key_in_use" } },
    }
  end
  function modes.declined()
    return {
      status = 402,
      json = { error = { type = "card_error", code = "card_declined",
        decline_code = "generic_decline", message = "Your card was declined." } },
    }
  end
  modes["expired key"] = function(perform) -- what was kept for the key is forgotten
    fake.forgets = true
    return perform()
  end
  return modes
end

-- A key lives for so long; then the same request makes a payment of its own, as at Stripe.
local function key_of(fake, request)
  local key = request.headers["idempotency-key"]
  if request.method ~= "POST" or not key then
    return nil
  end
  local now, seen = sys.now_ms(), fake.seen[key]
  if not seen then
    seen = { count = 0, round = 1, since = now }
    fake.seen[key] = seen
  elseif fake.forgets or now - seen.since > fake.lifetime_ms then
    seen.round, seen.since = seen.round + 1, now
  end
  fake.forgets = nil
  seen.count = seen.count + 1
  return seen.round == 1 and key or ("%s#%d"):format(key, seen.round)
end

--- Stripe's payment intents and refunds. STRIPE_SECRET_KEY is set. The cards are Stripe's test
--- cards: pm_card_visa pays, pm_card_chargeDeclined does not.
function M.payments(options)
  local o = PAYMENTS(options)
  local fake = setmetatable({
    name = "t.payments", queue = {}, seen = {}, lifetime_ms = o.key_lifetime,
  }, Payments)
  fake.modes = payment_modes(fake)
  capture.enable { page = false }
  env.set("STRIPE_SECRET_KEY", "sk_test_fake")
  env.set("STRIPE_API_URL", o.url)
  local routes = handlers "sipeat.capture_stripe"
  http.on("*", o.url .. "/v1/*", function(request)
    local function perform()
      request.headers["idempotency-key"] = key_of(fake, request)
      return call(routes, request, "/capture/stripe" .. request.path)
    end
    if request.method == "GET" then -- a look changes nothing: it meets no trouble
      return perform()
    end
    return answer_with(fake, perform)
  end)
  return fake
end

return M
