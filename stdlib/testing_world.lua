--- The script under test: loaded as `run` does, given events, and looked at.
local env = require "sipeat.testing_env"
local event = require "sipeat.event"
local flow = require "sipeat.testing_flow"
local json = require "sipeat.json"
local letters = require "sipeat.deadletter_letter"
local memory = require "sipeat.core.memory"
local opts = require "sipeat.opts"
local task = require "sipeat.task"

local M = {}

local DELIVER = opts.spec("sipeat.testing.deliver", {
  group = { "string" },
  wait = { "boolean", default = true },
})

local folder = "." -- of the test's file
local given = {} -- topic -> offset -> true: what the test delivered
local loaded = false

--- Where paths of the test begin.
function M.set_file(path)
  folder = path:match("^(.*)/[^/]*$") or "."
end

-- Only the states of tests have it.
local function core()
  local ok, found = pcall(require, "sipeat.core.testing")
  if not ok then
    error("t.load: this is no test that `sipeat test` runs", 3)
  end
  return found
end

local function find(path)
  if path:sub(1, 1) == "/" then
    return path
  end
  local places = { folder .. "/" .. path, folder .. "/../" .. path, path }
  for _, place in ipairs(places) do
    if core().exists(place) then
      return place
    end
  end
  return nil, table.concat(places, ", ")
end

--- Loads a script in the place of the one before. A relative path begins at the folder of the
--- test's file, or at the one above it, or here. Raises when it does not load.
function M.load(path)
  if type(path) ~= "string" then
    error("t.load: the path of a script, got " .. opts.show(path), 2)
  end
  local file, places = find(path)
  if not file then
    error(("t.load: %s is in none of these places: %s"):format(path, places), 2)
  end
  flow.begin()
  local ok, message = core().load(file)
  flow.finish(ok)
  if not ok then
    error("t.load: " .. message, 2)
  end
  loaded = true
end

--- Sets variables of the environment, which is empty otherwise; json.null or false takes one away.
function M.env(values)
  for name, value in pairs(values) do
    if value ~= false and value ~= json.null and type(value) ~= "string" then
      error(("t.env: %s: a text, or false for none; got %s"):format(name, opts.show(value)), 2)
    end
    env.set(name, value or nil)
  end
end

-- --- events in ---

local function header_list(headers, list)
  for _, name in ipairs(opts.names(headers or {})) do
    list[#list + 1] = { name, headers[name] }
  end
  return list
end

-- Key, value and headers of a record.
local function encode(topic, key, value, headers, level)
  if type(value) ~= "table" then
    return key, value, header_list(headers, {})
  elseif type(value.type) ~= "string" then
    return key, assert(json.encode(value)), header_list(headers, {})
  end
  local ev = value
  if not ev.id or not ev.time then
    ev = event.untyped(value.type, value.data, { id = value.id, key = value.key })
  end
  local text, encoded = event.encode(ev)
  if not text then
    error(("t.deliver: %s: %s"):format(topic, encoded), level + 1)
  end
  local list = {}
  for _, header in ipairs(encoded or {}) do
    list[#list + 1] = header
  end
  if #list == 0 then
    list = header_list(encoded, list)
  end
  return key or ev.key, text, header_list(headers, list)
end

local function no_flow(topic, group)
  local known = table.concat(flow.topics(), ", ")
  if not loaded then
    return "t.deliver: no script is loaded: call t.load first"
  elseif group then
    return ("t.deliver: no flow of the group %s takes %s"):format(group, topic)
  end
  return ("t.deliver: no flow takes %s (those of the script take: %s)"):format(topic, known)
end

local function groups_of(topic, wanted, level)
  local groups = flow.groups(topic)
  if wanted then
    for _, group in ipairs(groups) do
      if group == wanted then
        return { group }
      end
    end
    groups = {}
  end
  if #groups == 0 then
    error(no_flow(topic, wanted), level + 1)
  end
  return groups
end

local Outcome = {}
Outcome.__index = Outcome

--- The dead letter of a dead event, as t.dead_letters shows it.
function Outcome:dead_letter()
  for _, letter in ipairs(M.dead_letters()) do
    if letter.event_id == self.event.id and letter.group == self.group then
      return letter
    end
  end
end

-- The outcome in the first group; with `groups` when there are several.
local function wait(groups, topic, offset)
  local first
  for _, group in ipairs(groups) do
    local outcome, message, code = flow.wait(group, topic, offset)
    if not outcome then
      return nil, message, code
    end
    setmetatable(outcome, Outcome)
    first = first or outcome
    first.groups = first.groups or {}
    first.groups[group] = outcome
  end
  return first
end

--- Writes a record into a topic and waits until the flows that take it are done with it. `value` is
--- bytes, an event (with type and data, or made by a definition), another table (as JSON), or nil.
function M.deliver(topic, key, value, headers, options)
  local o = DELIVER(options)
  if type(topic) ~= "string" or topic == "" then
    error("t.deliver: the name of a topic, got " .. opts.show(topic), 2)
  end
  local groups = groups_of(topic, o.group, 2)
  local record_key, text, list = encode(topic, key, value, headers, 2)
  local offset = assert(memory.append(topic, record_key, text, list))
  given[topic] = given[topic] or {}
  given[topic][offset] = true
  if not o.wait then
    return { topic = topic, offset = offset }
  end
  return wait(groups, topic, offset)
end

--- Waits until no event is on its way any more, those that others put out included.
function M.settle()
  local ms = 1
  repeat -- first of all the flows take what was written just now
    local slept, message, code = task.sleep(ms .. "ms")
    if not slept then
      return nil, message, code
    end
    ms = math.min(ms * 2, 60000)
  until not flow.busy()
  return true
end

-- --- what came out ---

local Record = {}

-- json and event are made when they are asked for.
function Record.__index(record, name)
  if name == "json" then
    return (json.decode(record.value or ""))
  end
end

local function record_of(raw)
  local headers = {}
  for _, header in ipairs(raw.headers) do
    headers[header[1]] = header[2]
  end
  return setmetatable({
    topic = raw.topic, key = raw.key, value = raw.value, headers = headers, offset = raw.offset,
    timestamp = raw.timestamp,
  }, Record)
end

--- What the script wrote into a topic, in order; without what the test delivered there.
function M.published(topic)
  if type(topic) ~= "string" then
    error("t.published: the name of a topic, got " .. opts.show(topic), 2)
  end
  local list = {}
  for _, raw in ipairs(memory.records(topic)) do
    if not (given[topic] and given[topic][raw.offset]) then
      list[#list + 1] = record_of(raw)
    end
  end
  return list
end

--- The dead letters of every topic, or of those that came from the one named, or stand in it:
--- message, reason, kind, original_topic, group, attempts, event_id, type, headers, record.
function M.dead_letters(topic)
  local list = {}
  for _, name in ipairs(memory.topics()) do
    for _, raw in ipairs(memory.records(name)) do
      local found = letters.read(raw)
      if found.original_topic and found.message
        and (not topic or topic == name or topic == found.original_topic) then
        list[#list + 1] = found
      end
    end
  end
  return list
end

return M
