--- A run as a file of JSON lines: the event with its bytes, what was recorded, and its script.
--
-- The first line says what it is: { sipeat_export = 1, … run = {…} }; then come { record = … } in
-- order, { said = … } for what people said, { script = …, files_base64 = … } when the journal has
-- the script, and { lines = N } at the end, without which the file is not whole.
local bytes = require "sipeat.bytes"
local chains = require "sipeat.chains"
local json = require "sipeat.json"
local object = require "sipeat.chain_object"
local sys = require "sipeat.core.sys"

local M = {}

local VERSION = 1

local function head_of(run)
  local head = {
    sipeat_export = VERSION, program = sys.version, at = sys.iso_time(),
    run = object.run(run), record_base64 = sys.base64(run.record),
  }
  head.run.key, head.run.key_base64 = nil, run.key and sys.base64(run.key)
  return head
end

--- The lines of an export, without line breaks; or nil, message, code.
function M.lines(id)
  local run, message, code = chains.show(id)
  if not run then
    return nil, message, code
  end
  local script
  script, message, code = chains.script(run.script)
  if not script and message then
    return nil, message, code
  end
  local full = object.full(run)
  local list = { head_of(run) }
  for _, row in ipairs(run.rows) do
    list[#list + 1] = { record = {
      seq = row[1], at = row[2], phase = row[3], place = row[4], body = row[5],
    } }
  end
  for _, said in ipairs(full.audit) do
    list[#list + 1] = { said = said }
  end
  if script then
    list[#list + 1] = { script = run.script, files_base64 = sys.base64(script) }
  end
  list[#list + 1] = { lines = #list + 1 }
  for i, line in ipairs(list) do
    list[i] = json.encode(line)
  end
  return list
end

local function broken(number, what)
  return nil, ("line %d: %s"):format(number, what), "BAD_DATA"
end

local function read_line(into, line, number)
  local value, why = json.decode(line)
  if type(value) ~= "table" then
    return broken(number, "no JSON object" .. (why and ": " .. why or ""))
  elseif number == 1 then
    if math.type(value.sipeat_export) ~= "integer" or type(value.run) ~= "table" then
      return broken(1, "this is no file of sipeat chains export")
    elseif value.sipeat_export > VERSION then
      return broken(1, ("it is of version %d, this program knows %d: use a newer sipeat"):format(
        value.sipeat_export, VERSION))
    end
    into.run, into.head = value.run, value
    into.run.record = bytes.get(value, "record")
    into.run.key = bytes.get(value.run, "key")
  elseif type(value.record) == "table" then
    local r = value.record
    if math.type(r.seq) ~= "integer" or math.type(r.at) ~= "integer"
      or math.type(r.phase) ~= "integer" or type(r.place) ~= "string" then
      return broken(number, "a record lacks seq, at, phase or place")
    end
    into.rows[#into.rows + 1] = { r.seq, r.at, r.phase, r.place, r.body ~= json.null and r.body
      or nil, n = 5 }
  elseif value.script then
    into.script, into.files = value.script, bytes.get(value, "files")
  elseif value.lines then
    into.whole = value.lines == number
  end
  return true
end

--- What a file says: { run, rows, script, files }, rows as the statement "records" gives them; or
--- nil, message, "BAD_DATA".
function M.read(text)
  local into, number = { rows = {} }, 0
  for line in text:gmatch "[^\n]+" do
    number = number + 1
    local ok, message, code = read_line(into, line, number)
    if not ok then
      return nil, message, code
    end
  end
  if number == 0 then
    return broken(1, "the file is empty")
  elseif not into.whole then
    return broken(number, "the file is not whole: its last line is missing")
  elseif type(into.run.record) ~= "string" or type(into.run.offset) ~= "number"
    or type(into.run.partition) ~= "number" or type(into.run.topic) ~= "string" then
    return broken(1, "the event is missing, or no Base64")
  end
  return into
end

return M
