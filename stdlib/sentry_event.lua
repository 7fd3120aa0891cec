--- What went wrong, as an event of Sentry: the failure with its causes, frames of Lua, tags, the
--- log lines before it; with secrets and personal data covered.
local core_log = require "sipeat.core.log"
local env = require "sipeat.env"
local json = require "sipeat.json"
local mask = require "sipeat.access_mask"
local sys = require "sipeat.core.sys"
local task = require "sipeat.task"
local tracing = require "sipeat.tracing"

local M = {}

local MESSAGE_BYTES, EXTRA_BYTES = 8192, 16384
local FRAMES, CAUSES, CRUMBS = 64, 8, 30
local TAG_NAME, TAG_BYTES, TAGS = 32, 200, 50 -- Sentry drops what is longer
local SECOND_MS <const> = 1000

-- --- scrubbing ---

-- Ways in which what is secret stands in a text: %1 stays.
local SECRETS = {
  { "(://)[^/@%s]+@", "%1***@" },
  { "(/webhooks/%d+/)[%w_-]+", "%1***" },
  { "(hooks%.slack%.com/services/)[%w/]+", "%1***" },
  { "([Bb]earer )[%w._~+/=-]+", "%1***" },
  { "([Bb]asic )[%w+/=]+", "%1***" },
  { "(%f[%w][srp]k_%a+_)%w+", "%1***" },
  { "%f[%w]eyJ[%w_-]+%.[%w_-]+%.[%w_-]*", "***" },
}
local NAMES = {
  "password", "passwd", "secret", "token", "api_?key", "authorization", "cookie", "credential",
}

-- name=value, name: value and "name": "value"
local function cover_named(text)
  local lower = text:lower()
  for _, name in ipairs(NAMES) do
    if lower:find((name:gsub("_%?", "[_-]?"))) then
      local any = name:gsub("_%?", "[_-]?"):gsub("%a", function(c)
        return ("[%s%s]"):format(c:upper(), c)
      end)
      text = text:gsub("(" .. any .. "[\"']?%s*[=:]%s*[\"']?)[^%s\"',;&]+", "%1***")
    end
  end
  return text
end

--- A text without secrets and without what is told of people, by its shape.
function M.scrub(text)
  text = env.cover(sys.utf8_clean(text))
  for _, way in ipairs(SECRETS) do
    text = text:gsub(way[1], way[2])
  end
  return mask.mask(cover_named(text))
end

local function cut(text, bytes)
  if #text <= bytes then
    return text
  end
  return sys.utf8_clean(text:sub(1, bytes - 3):gsub("[\192-\255][\128-\191]*$", "")) .. "…"
end

local function words(value, bytes)
  return cut(M.scrub(tostring(value)), bytes or MESSAGE_BYTES)
end

-- --- frames ---

local compiled -- set of the modules that are compiled in

-- Whether the file is the script's, and not the program's.
local function is_script(file)
  if not compiled then
    compiled = {}
    for _, name in ipairs(sys.modules()) do
      compiled[name:gsub("^sipeat%.", "")] = true
    end
  end
  local own = file:match "^stdlib/([%w_]+)%.lua$"
  return not (own and compiled[own])
end

-- One line of a traceback, or nil.
local function frame_of(line)
  local file, rest = line:match "^\t(.-): (in .*)$"
  if not file then
    return nil
  elseif file == "[C]" then
    return { filename = "[C]", ["function"] = rest:match "'([^']*)'" or "?", in_app = false }
  end
  local path, at = file:match "^(.*):(%d+)$"
  path = path or file
  local name = rest:match "'([^']*)'" or rest:match "main chunk"
  return {
    filename = path:match "([^/]*/[^/]*)$" or path, abs_path = path, lineno = tonumber(at),
    ["function"] = name or rest:match "<(.*)>" or "?", in_app = is_script(path),
  }
end

--- The frames of a traceback, the one that failed last; nil when there are none.
function M.frames(traceback)
  local found = {}
  for line in (traceback:match "\nstack traceback:(.*)$" or ""):gmatch "[^\n]+" do
    local frame = frame_of(line)
    local is_own = frame and frame["function"]:find "^sipeat%.failure%.caught$"
    if frame and not is_own and #found < FRAMES then
      found[#found + 1] = frame
    end
  end
  local frames = {}
  for i = #found, 1, -1 do
    frames[#frames + 1] = found[i]
  end
  return frames[1] and frames or nil
end

-- --- exceptions ---

local function exception(why, handled)
  local frames = why.traceback and M.frames(why.traceback)
  local text = tostring(why.message)
  return {
    type = words(why.code or "ERROR", TAG_BYTES), value = words(text),
    mechanism = { type = "sipeat", handled = handled },
    stacktrace = frames and { frames = frames } or nil,
  }
end

-- The failure and what caused it, the oldest cause first.
local function exceptions(why, handled)
  local list = {}
  while type(why) == "table" and why.message ~= nil and #list < CAUSES do
    table.insert(list, 1, exception(why, handled))
    why = why.cause
  end
  return list
end

-- --- what else is known ---

local function crumbs(event_id)
  local list = {}
  for _, line in ipairs(event_id ~= "" and core_log.recent() or {}) do
    if line.event_id == event_id and #list < CRUMBS then
      table.insert(list, 1, {
        type = "default", category = line.module, message = words(line.message, 1000),
        level = line.level == "warn" and "warning" or "error", timestamp = line.at_ms / SECOND_MS,
      })
    end
  end
  return list[1] and { values = list } or nil
end

local function tags_of(given)
  local out, count = {}, 0
  for name, value in pairs(given) do
    local key = tostring(name):gsub("[^%w_.:-]", "_"):sub(1, TAG_NAME)
    local covered = mask.payload { [key] = tostring(value) }[key]
    local text = words(covered, TAG_BYTES):gsub("[\r\n]+", " ")
    if count < TAGS and text ~= "" then
      out[key], count = text, count + 1
    end
  end
  return out
end

local function extra_of(given)
  local out = {}
  for name, value in pairs(mask.payload(given)) do
    local text = type(value) == "table" and json.encode(value) or tostring(value)
    out[words(name, TAG_BYTES)] = words(text or "(not plain data)", EXTRA_BYTES)
  end
  return out
end

-- What differs from one event to the next does not keep failures apart.
local function shape(message)
  local text = tostring(message):match "^[^\n]*":sub(1, 200)
  return (text:gsub("%x%x%x%x%x%x%x%x%-%x+%-%x+%-%x+%-%x+", "<id>"):gsub("%d+", "<n>"))
end

--- What groups failures: those with frames are grouped by them; others by their code, where they
--- happened, and what they say without its numbers.
function M.fingerprint(why, tags)
  if why.traceback then
    return { "{{ default }}", tostring(why.code or "ERROR") }
  end
  return {
    "sipeat", tostring(why.code or "ERROR"), tostring(tags.flow or ""),
    tostring(tags.event_type or ""), tostring(why.step or ""), M.scrub(shape(why.message)),
  }
end

local function trace_context()
  local parent = tracing.current()
  return parent and { trace_id = parent:sub(4, 35), span_id = parent:sub(37, 52) } or nil
end

--- The event as Sentry takes it. what: why (a failure, or {message, code, traceback, cause}),
--- handled, level, tags, extra, fingerprint, transaction, release, environment, server_name.
function M.make(what)
  local why, tags = what.why, what.tags or {}
  return {
    event_id = sys.uuid():gsub("%-", ""), timestamp = sys.now_ms() / SECOND_MS, platform = "other",
    level = what.level or "error", logger = "sipeat", server_name = what.server_name,
    transaction = what.transaction, release = what.release, environment = what.environment,
    tags = tags_of(tags), extra = extra_of(what.extra or {}),
    fingerprint = what.fingerprint or M.fingerprint(why, tags),
    contexts = {
      runtime = { type = "runtime", name = "sipeat", version = sys.version },
      trace = trace_context(),
    },
    exception = { values = exceptions(why, what.handled ~= false) },
    breadcrumbs = crumbs(task.event_id()),
    sdk = { name = "sipeat.lua", version = sys.version },
  }
end

return M
