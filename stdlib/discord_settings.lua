--- What discord.configure and the environment say. Compiled in: it survives reloads of the script.
local embed = require "sipeat.discord_embed"
local env = require "sipeat.env"
local limits = require "sipeat.discord_limits"
local opts = require "sipeat.opts"
local sys = require "sipeat.core.sys"
local webhook = require "sipeat.discord_webhook"

local M = {}

M.OUTCOMES = { "done", "dead", "info" }
M.PRIORITIES = { "low", "normal", "high" }

local DEFAULT_QUEUE = 1000
local LARGEST_QUEUE = 1000000

--- A check of a spec: every item of the list is one of `allowed`.
---@param allowed string[]
function M.one_of(allowed)
  local known = {}
  for _, name in ipairs(allowed) do
    known[name] = true
  end
  return function(list)
    for _, given in ipairs(list) do
      if not known[given] then
        return ("must be from %s; got %s"):format(table.concat(allowed, ", "), opts.show(given))
      end
    end
  end
end

local function check_username(name)
  local ok, errors = limits.check { content = "x", username = name }
  return not ok and errors[1].message or nil
end

local CONFIGURE = opts.spec("sipeat.discord.configure", {
  webhook = { "secret" },
  fallback = { "secret" },
  queue = { "integer", min = 1, max = LARGEST_QUEUE },
  batch = { "integer", default = limits.EMBEDS, min = 1, max = limits.EMBEDS },
  username = { "string", check = check_username },
  timeout = { "duration", default = "10s" },
  attempts = { "integer", default = 5, min = 1, max = 100 },
  backoff = { "string[]", default = { "1s", "60s" } },
  only = { "string[]" },
  except = { "string[]", default = {} },
  outcomes = { "string[]", default = M.OUTCOMES, check = M.one_of(M.OUTCOMES) },
  min_priority = { "string", default = "low", enum = M.PRIORITIES },
  events = { "table" },
  transport = { "function" },
})

local current

--- DISCORD_QUEUE, or 1,000.
local function queue_size()
  local given = math.tointeger(tonumber(sys.getenv("DISCORD_QUEUE") or ""))
  if given and given >= 1 and given <= LARGEST_QUEUE then
    return given
  end
  return DEFAULT_QUEUE
end

local function http_transport(request)
  return require("sipeat.http").request(request) -- not before the first notice: start-up is short
end

--- Checked options with what follows from them, or nil and what is wrong.
local function complete(checked)
  for _, name in ipairs { "webhook", "fallback" } do
    if checked[name] then
      local where = M.address(checked[name], name)
      local parts, message = webhook.parse(where.url, where.name)
      if not parts then
        return nil, message
      end
    end
  end
  local pause, why = opts.backoff(checked)
  if not pause then
    return nil, "discord.configure: " .. why
  end
  local first, longest = checked.backoff[1], checked.backoff[2]
  checked.backoff_ms = { opts.duration_ms(first), opts.duration_ms(longest or first) }
  checked.queue = checked.queue or queue_size()
  checked.transport = checked.transport or http_transport
  local events = setmetatable({}, { __index = embed.EVENTS })
  for kind, look in next, checked.events or {} do
    events[kind] = look
  end
  checked.events = events
  return checked
end

--- A webhook given in code: {url, name}.
function M.address(given, option)
  return { url = env.reveal(given), name = "discord option " .. option }
end

--- Replaces the settings. Throws at the caller's caller on a mistake in them.
---@param options table?
function M.set(options)
  local made, message = complete(CONFIGURE(options, 3))
  if not made then
    error(message, 3)
  end
  current = made
end

function M.get()
  if not current then
    current = complete(CONFIGURE {})
  end
  return current
end

--- Where notices go: the webhook and then its fallback, as far as they are set.
---@param own string|sipeat.Secret|nil the notice's own webhook
---@return {url: string, name: string}[]
function M.addresses(own)
  local list = {}
  local function add(given, option, variable)
    local from_env = env.get(variable)
    if given then
      list[#list + 1] = M.address(given, option)
    elseif from_env then
      list[#list + 1] = { url = from_env, name = variable }
    end
  end
  add(own or M.get().webhook, "webhook", "DISCORD_WEBHOOK")
  add(M.get().fallback, "fallback", "DISCORD_WEBHOOK_FALLBACK")
  return list
end

return M
