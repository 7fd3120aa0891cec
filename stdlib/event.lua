--- Typed events: what a type's data looks like is declared once and checked at the edge, both ways.
--
-- A definition makes events (new), checks data that came (validate, accept) and gives the data its
-- shape on the wire. Reading and writing records is in sipeat.record, re-exported here.
local fields = require "sipeat.fields"
local opts = require "sipeat.opts"
local record = require "sipeat.record"
local seal_fields = require "sipeat.seal_fields"
local sys = require "sipeat.core.sys"
local upcasts = require "sipeat.event_upcast"

local M = {}

local Definition = { __name = "sipeat.event.definition" }
Definition.__index = Definition

function Definition:__tostring()
  return self.type
end

local DEFINE = opts.spec("sipeat.event.define", {
  topic = { "string" },
  key = { "string|function" },
  version = { "string", default = "1.0" },
  upcast = { "table" },
  sealed = { "string[]" },
  without_key = { "string", default = "fail", enum = { "fail", "wait", "leave" } },
  currency = { "string", default = "EUR" },
  source = { "string", default = "sipeat" },
  mode = { "string", default = "binary", enum = { "binary", "structured", "plain", "body" } },
})

local NEW = opts.spec("sipeat.event.new", {
  id = { "string" },
  source = { "string" },
  time = { "string" },
  key = { "string" },
  topic = { "string" },
  headers = { "table" },
  trace = { "string" },
  attributes = { "table" },
})

M.from_record = record.from_record
M.encode = record.encode
M.list = fields.list

--- Declares a type of event. `fields_by_name` maps each field to its type: "string", "email",
--- "text" (a string that is not blank), "integer", "number", "boolean", "money", "money:minor",
--- "time", "object", "array", "any", any of them with "[]" for a list, a list of allowed values, or
--- a table of fields; "string(80)" is one of at most 80 characters; "?" at the end of the type or
--- of the field's name makes it optional.
function M.define(type_name, fields_by_name, options)
  if type(type_name) ~= "string" or type_name == "" then
    error(("event.define: a type's name is text, got %s"):format(opts.show(type_name)), 2)
  elseif type(fields_by_name) ~= "table" then
    local why = "event.define %s: expected a table of fields, got %s"
    error(why:format(type_name, opts.show(fields_by_name)), 2)
  end
  local o = DEFINE(options)
  local ok, shape = pcall(fields.compile, fields_by_name, "event.define " .. type_name)
  if not ok then
    error(shape, 2)
  end
  if o.sealed then
    ok, o.sealed_paths = pcall(seal_fields.compile, o.sealed, fields_by_name)
    if not ok then
      error(("event.define %s: %s"):format(type_name, o.sealed_paths), 2)
    end
  end
  if o.upcast then
    ok, o.upcast = pcall(upcasts.compile, type_name, o.version, o.upcast)
    if not ok then
      error(o.upcast, 2)
    end
  end
  o.type, o.fields, o.shape = type_name, fields_by_name, shape
  return setmetatable(o, Definition)
end

function M.is_definition(value)
  return getmetatable(value) == Definition
end

--- Checks data as it came from the wire, or as a script made it. Returns typed data, a copy:
--- integers, money as { amount_minor, currency }, null fields gone, undeclared fields kept. Or nil,
--- a message that names every wrong field, "INVALID_EVENT", and a list of them: { field, message,
--- code }.
function Definition:validate(data)
  if data == nil then
    return nil, ("invalid %s: there is no data"):format(self.type), "INVALID_EVENT", {}
  end
  local typed, told, problems = self.shape.check(data, self.currency)
  if not typed then
    return nil, ("invalid %s: %s"):format(self.type, told), "INVALID_EVENT", problems
  end
  return typed
end

--- A definition of the same type with these of its fields and no others, as for those whom the
--- rest does not concern: data with any other field is refused.
function Definition:only(names, title)
  local picked = {}
  for _, name in ipairs(names) do
    local as_optional = name .. "?"
    local key = self.fields[name] ~= nil and name or as_optional
    if self.fields[key] == nil then
      error(("event %s: only: it has no field %s"):format(self.type, opts.show(name)), 2)
    end
    picked[key] = self.fields[key]
  end
  local part = {}
  for key, value in pairs(self) do
    part[key] = value
  end
  part.fields, part.shape = picked, fields.compile(picked, "event " .. self.type, true)
  part.title = title
  return setmetatable(part, Definition)
end

--- The definition with any value at the paths of these sealed fields: they stay closed.
function Definition:unsealed(paths)
  local open = seal_fields.loosen(self.fields, paths)
  return setmetatable({
    type = self.type, currency = self.currency, shape = fields.compile(open, "event " .. self.type),
  }, Definition)
end

--- Data as it is written: the reverse of validate.
function Definition:to_wire(data)
  local wire = self.shape.wire(data)
  return self.sealed and seal_fields.close(wire, self.sealed_paths, self.type) or wire
end

--- Checks an event that was read and puts the typed data into it, lifted to the version of today
--- where upcasters are declared (event.written_version says what it was). true, or nil, message,
--- code.
function Definition:accept(event)
  local data, message, code = record.data(event)
  if message then
    return nil, message, code
  end
  local written = event.version
  if self.upcast and written ~= self.version then
    data, message, code = upcasts.lift(self.upcast, written, data, event)
    if code then
      return nil, message, code
    end
  end
  local kept
  if self.sealed and type(data) == "table" then
    data, kept, message, code = seal_fields.open(data, self)
    if not data then
      return nil, message, code
    end
  end
  data, message, code = (kept and self:unsealed(kept) or self):validate(data)
  if not data then
    return nil, message, code
  end
  event.data, event.definition = data, self
  if self.upcast and written ~= self.version then
    event.version, event.written_version = self.version, written
  end
  return true
end

-- The record key that a definition or the caller's choice gives an event's data.
local function key_of(self, data, event)
  if type(self.key) == "function" then
    return self.key(event)
  end
  local value = data
  for part in self.key:gsub("^data%.", ""):gmatch("[^.]+") do
    value = type(value) == "table" and value[part] or nil
  end
  return value
end

--- Makes an event: checked data with an id, the time and what `attributes` say. nil, message,
--- "INVALID_EVENT" when the data is wrong.
function Definition:new(data, attributes)
  local o = NEW(attributes)
  local typed, message, code = self:validate(data)
  if not typed then
    return nil, message, code
  end
  local event = M.untyped(self.type, typed, o, self.source, self.version)
  event.definition, event.topic = self, o.topic or self.topic
  if not event.key and self.key then
    local key = key_of(self, typed, event)
    if type(key) == "string" or math.type(key) == "integer" then
      event.key = tostring(key)
    end
  end
  return event
end

--- An event of a type that has no definition: its data goes as it is. `options` as for new.
function M.untyped(type_name, data, options, source, version)
  options = options or {}
  return record.event {
    id = options.id or sys.uuid(),
    type = type_name,
    source = options.source or source or "sipeat",
    time = options.time or sys.iso_time(),
    version = version or "1.0",
    data = data,
    key = options.key,
    topic = options.topic,
    headers = options.headers or {},
    trace = options.trace,
    attributes = options.attributes or {},
  }
end

return M
