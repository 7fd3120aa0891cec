--- `sipeat consume`: prints records one by one, without a group, so that flows do not notice.
local bytes = require "sipeat.bytes"
local core = require "sipeat.core.kafka"
local output = require "sipeat.command_output"
local terminal = require "sipeat.core.terminal"

local M = {}

local OK, FAILED, BROKER = 0, 1, 4

local function as_object(record)
  local out = {
    topic = record.topic, partition = record.partition, offset = record.offset,
    timestamp = record.timestamp, headers = {},
  }
  bytes.put(out, "key", record.key)
  bytes.put(out, "value", record.value)
  for _, header in ipairs(record.headers) do
    bytes.put(out.headers, header[1], header[2] or "")
  end
  return out
end

local function as_line(record)
  local parts = { ("%d:%d"):format(record.partition, record.offset) }
  if record.key then
    parts[#parts + 1] = "key=" .. output.printable(record.key)
  end
  for _, header in ipairs(record.headers) do
    local value = header[2] and output.printable(header[2]) or "(null)"
    parts[#parts + 1] = ("%s=%s"):format(output.printable(header[1]), value)
  end
  parts[#parts + 1] = record.value and output.printable(record.value) or "(null)"
  return table.concat(parts, "  ") .. "\n"
end

local function print_record(options, record)
  if options.json then
    return output.json(as_object(record))
  end
  return terminal.write(as_line(record))
end

local function complain(message)
  terminal.note("sipeat consume: " .. message)
end

-- The exit code after a write failed. A reader that has gone, such as `head`, is an end.
local function write_failed(message, code)
  if code == "EPIPE" then
    return OK
  end
  complain(message)
  return FAILED
end

-- What a wait without a record means: nil to go on, or the exit code.
local function ended(options, message, code, seen)
  if code == "END" or code == "EAGAIN" then
    return nil
  elseif code == "ECANCELED" then
    return OK -- Ctrl-C
  elseif code == "ETIMEDOUT" then
    terminal.note(("sipeat consume: nothing came for %s"):format(options.timeout))
    return (seen == 0 or options.max) and FAILED or OK -- fewer than were wanted
  end
  complain(message)
  return BROKER
end

-- Prints until there is a reason to end; the exit code.
local function follow(options, reader)
  local timeout_ms = options.timeout and math.tointeger(tonumber(options.timeout:match "^%d+"))
  local interactive = terminal.is_terminal "stdout"
  local seen, ok = 0, nil
  while seen < (options.max or math.maxinteger) do
    local record, message, code = reader:next(timeout_ms)
    local result
    if record then
      seen = seen + 1
      ok, message, code = print_record(options, record)
    else
      result = ended(options, message, code, seen)
    end
    if interactive or not record then
      ok, message, code = terminal.flush()
    end
    if not ok then
      return write_failed(message, code)
    elseif result then
      return result
    end
  end
  return OK
end

--- Returns the exit code.
function M.run(options)
  local from = options.from_beginning and "beginning" or "end"
  local reader <close>, message = core.reader(options.topic, from)
  if not reader then
    complain(message)
    return BROKER
  end
  return follow(options, reader)
end

return M
