--- What would have left the machine, kept to be looked at: the last entries, newest first, and a
--- page that shows them. Does nothing until capture.enable() was called (`sipeat dev` does);
--- bounded in number and bytes. Compiled in: what is kept survives reloads of the script.
local core = require "sipeat.core.task"
local json = require "sipeat.json"
local money = require "sipeat.money"
local opts = require "sipeat.opts"
local sys = require "sipeat.core.sys"

local M = {}

local ENABLE = opts.spec("sipeat.capture.enable", {
  limit = { "integer", default = 2000, min = 1, max = 100000 },
  max_bytes = { "size", default = "32mb" },
  page = { "boolean", default = true },
})

local SECRET = "sipeat.secret"
local TEXT_BYTES = 256 * 1024 -- of one text in an entry
local MAX_DEPTH = 12
local MAX_ITEMS = 1000 -- of one table in an entry
local CUT = "… (cut here)"

local kept = {} -- number -> {kind, text (JSON)}; numbers first..last
local first, last, bytes = 1, 0, 0
local counts = {} -- kind -> how many were recorded since the last clear
local clears = 0
local settings -- nil: not enabled
local has_page = false
local changed = core.signal()

local function text_of(value)
  local text = #value > TEXT_BYTES and value:sub(1, TEXT_BYTES) .. CUT or value
  return utf8.len(text) and text or (sys.utf8_clean(text))
end

local plain

local function plain_table(value, depth)
  if getmetatable(value) == SECRET then
    return "***"
  elseif depth > 0 and money.is(value) then
    return money.format(value)
  elseif depth >= MAX_DEPTH then
    return "…"
  end
  local out, n, is_list = {}, 0, json.is_array(value)
  if is_list then
    for i = 1, math.min(#value, MAX_ITEMS) do
      out[i] = plain(value[i], depth + 1)
    end
    return json.array(out)
  end
  for key, item in next, value do
    n = n + 1
    if n > MAX_ITEMS then
      break
    end
    out[text_of(tostring(key))] = plain(item, depth + 1)
  end
  return out
end

--- A copy that can be written as JSON, whatever is in it.
function plain(value, depth)
  local kind = type(value)
  if kind == "table" then
    return plain_table(value, depth)
  elseif kind == "string" then
    return text_of(value)
  elseif kind == "number" then
    local finite = value == value and math.abs(value) ~= math.huge
    return finite and value or tostring(value)
  elseif kind == "boolean" or value == json.null then
    return value
  elseif value == nil then
    return json.null
  end
  return kind
end

local function drop_oldest()
  bytes = bytes - #kept[first].text
  kept[first] = nil
  first = first + 1
end

--- Keeps an entry. Returns at once; a no-op unless capture is enabled. `event_id` is the event that
--- it is about: by default the entry's own event_id, or the event that the task works on.
---@return integer? number of the entry
function M.record(kind, entry, event_id)
  if type(kind) ~= "string" or not kind:find("^[%l_]+$") then
    error("capture.record: a kind is a word in small letters, got " .. opts.show(kind), 2)
  elseif type(entry) ~= "table" then
    error("capture.record: an entry is a table, got " .. opts.show(entry), 2)
  elseif not settings then
    return nil
  end
  last = last + 1
  local text = json.encode {
    number = last,
    kind = kind,
    time = sys.iso_time(),
    event_id = text_of(tostring(event_id or entry.event_id or core.event_id())),
    entry = plain(entry, 0),
  }
  kept[last] = { kind = kind, text = text }
  bytes = bytes + #text
  counts[kind] = (counts[kind] or 0) + 1
  while last - first + 1 > settings.limit or (bytes > settings.max_bytes and first < last) do
    drop_oldest()
  end
  changed:wake()
  return last
end

--- Is there a page that shows them, as in `sipeat dev`? Not when they are only kept, for tests.
function M.enabled()
  return has_page
end

--- What is kept, newest first: {number, kind, time, event_id, entry}.
---@param kind string? only these
---@return table[]
function M.entries(kind)
  local list = {}
  for number = last, first, -1 do
    local one = kept[number]
    if not kind or one.kind == kind then
      list[#list + 1] = json.decode(one.text)
    end
  end
  return list
end

--- The entry of that number as JSON, or nil when it is no longer kept.
function M.text(number)
  return kept[number] and kept[number].text
end

--- First and last number that is kept, how often everything was cleared, and how many of each kind
--- came since then. last < first: nothing is kept.
function M.state()
  return first, last, clears, counts
end

--- Waits for a change: true, or nil, message, code.
function M.wait(timeout)
  return changed:wait(timeout)
end

--- Forgets every entry. Numbers go on.
function M.clear()
  while first <= last do
    drop_oldest()
  end
  counts = {}
  clears = clears + 1
  changed:wake()
end

--- From now on entries are kept, and the HTTP server has the page and what looks like Discord,
--- Stripe and other services. Calling it again changes the limits. page = false: entries are only
--- kept, for tests.
function M.enable(options)
  settings = ENABLE(options)
  if settings.page and not has_page then
    local http = require "sipeat.http"
    require("sipeat.capture_page").routes(http)
    require("sipeat.capture_discord").routes(http)
    require("sipeat.capture_stripe").routes(http)
    require("sipeat.capture_messages").routes(http)
    has_page = true
  end
end

return M
