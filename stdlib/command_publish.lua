--- `sipeat publish`: one event, or a file of JSON lines, sent and acknowledged.
--
-- A file is read as it is sent: at most BATCH_RECORDS or BATCH_BYTES are in memory, and lines from
-- a pipe go out as they come.
local core = require "sipeat.core.kafka"
local json = require "sipeat.json"
local kafka = require "sipeat.kafka"
local records = require "sipeat.command_records"
local sys = require "sipeat.core.sys"
local task = require "sipeat.task"
local terminal = require "sipeat.core.terminal"

local M = {}

local OK, FAILED, USAGE, BROKER = 0, 1, 2, 4
local BATCH_RECORDS, BATCH_BYTES = 1000, 4 * 1024 * 1024
local SHOWN_ERRORS = 20
local BAR_WIDTH = 30

local function complain(message)
  terminal.note("sipeat publish: " .. message)
end

-- nil, message, code of a send that did not end in time is the broker's silence.
local function exit_code(code)
  local silent = code == "ETIMEDOUT" or code == "MSG_TIMED_OUT" or code == "TRANSPORT"
  return silent and BROKER or FAILED
end

local function report(options, record, sent)
  local id = record.headers.ce_id
  if options.json then
    local text = json.encode {
      topic = sent.topic, partition = sent.partition, offset = sent.offset, id = id,
    }
    return terminal.write(text .. "\n")
  end
  return terminal.write(("published to %s, partition %d, offset %d%s\n"):format(
    sent.topic, sent.partition, sent.offset, id and ", id " .. id or ""
  ))
end

local function publish_one(options)
  local data, message = json.decode(options.data)
  if message then
    complain("--data: " .. message)
    return USAGE
  end
  local record, why = records.from_event(options.type, data, {
    topic = options.topic, key = options.key, id = options.id, headers = {},
  })
  if not record then
    complain(why)
    return USAGE
  end
  local sent, failed, code = task.with_timeout(options.timeout, function()
    return kafka.producer():send(record)
  end)
  if not sent then
    local trouble = code == "ETIMEDOUT" and core.trouble()
    complain(("%s: %s%s"):format(record.topic, failed, trouble and ": " .. trouble or ""))
    return exit_code(code)
  end
  local ok = report(options, record, sent)
  return ok and OK or FAILED
end

-- --- files ---

local File = {}
File.__index = File

function File:complain(line, message)
  self.failed = self.failed + 1
  if self.failed <= SHOWN_ERRORS then
    terminal.status ""
    terminal.note(("%s:%d: %s"):format(self.name, line, message))
  elseif self.failed == SHOWN_ERRORS + 1 then
    terminal.status ""
    terminal.note(("%s: more errors are counted, not shown"):format(self.name))
  end
end

function File:progress(force)
  local now = sys.monotonic_ms()
  if not force and now - self.shown_at < 100 then
    return
  end
  self.shown_at = now
  local done, size = self.reader:progress()
  local text = ("%d events, %.1f s"):format(self.sent, (now - self.started) / 1000)
  if size then
    local part = math.min(done / size, 1)
    local full = math.floor(part * BAR_WIDTH)
    local bar = ("#"):rep(full) .. ("."):rep(BAR_WIDTH - full)
    text = ("[%s] %3d%%  %s"):format(bar, math.floor(part * 100), text)
  end
  terminal.status(text)
end

function File:flush()
  local batch, lines = self.batch, self.lines
  if #batch == 0 then
    return true
  end
  self.batch, self.lines, self.bytes = {}, {}, 0
  local results, message, code = task.with_timeout(self.options.timeout, function()
    return kafka.producer():send_many(batch)
  end)
  if not results then
    local why = code == "ECANCELED" and "stopped before the broker had them" or message
    self:complain(lines[1], ("this and the %d lines after it: %s"):format(#batch - 1, why))
    self.failed, self.code = self.failed + #batch - 1, exit_code(code)
    return nil, message, code
  end
  for i = 1, #batch do
    local result = results[i]
    if result and result.offset then
      self.sent = self.sent + 1
      if self.options.json then
        report(self.options, batch[i], result)
      end
    else
      self:complain(lines[i], result and result.message or "not acknowledged")
    end
  end
  return true
end

function File:add(text, number)
  local record, message = records.from_line(text, self.options)
  if not record then
    self:complain(number, message)
    return true
  end
  self.batch[#self.batch + 1], self.lines[#self.lines + 1] = record, number
  self.bytes = self.bytes + #text
  if #self.batch >= BATCH_RECORDS or self.bytes >= BATCH_BYTES then
    return self:flush()
  end
  return true
end

function File:read()
  local number = 0
  while true do
    local text, message, code = self.reader:poll()
    local ok
    if text == true then
      ok, message, code = self:flush() -- nothing to read for now
    elseif text then
      number = number + 1
      ok = true
      if text:find "%S" then
        ok, message, code = self:add(text, number)
      end
    elseif message then
      self:complain(number + 1, message)
      return nil, message, code
    else
      return self:flush()
    end
    if not ok then
      return nil, message, code
    end
    self:progress(false)
  end
end

local function publish_file(options)
  local reader <close>, message = terminal.open(options.file)
  if not reader then
    complain(message)
    return FAILED
  end
  local file = setmetatable({
    name = options.file, options = options, reader = reader, batch = {}, lines = {}, bytes = 0,
    sent = 0, failed = 0, code = FAILED, started = sys.monotonic_ms(), shown_at = 0,
  }, File)
  local ok = file:read()
  file:progress(true)
  terminal.status ""
  terminal.note(("%d published, %d failed, %.1f s"):format(
    file.sent, file.failed, (sys.monotonic_ms() - file.started) / 1000
  ))
  if ok and file.failed == 0 then
    return OK
  end
  return file.code
end

--- Returns the exit code.
function M.run(options)
  if options.file then
    return publish_file(options)
  end
  return publish_one(options)
end

-- --- samples ---

--- Sends the lines of `file` one by one, a pause of `every_ms` apart, from the top again and again,
--- until the task is stopped. `topic` is for types whose topic nobody knows. Returns nil, message,
--- code when the file cannot be used.
function M.samples(file, every_ms, topic)
  local defaults = { fallback = topic }
  local lines = {}
  local reader <close>, message, code = terminal.open(file)
  if not reader then
    return nil, message, code
  end
  while true do
    local text
    text, message, code = reader:poll()
    if message then
      return nil, ("%s: %s"):format(file, message), code
    elseif text == nil then
      break
    elseif text ~= true and text:find "%S" then
      lines[#lines + 1] = text
      local record, why = records.from_line(text, defaults)
      if not record then
        return nil, ("%s:%d: %s"):format(file, #lines, why), "BAD_DATA"
      end
    end
  end
  if #lines == 0 then
    return nil, file .. ": no events in it", "BAD_DATA"
  end
  local log = require("sipeat.log").new "samples"
  for i = 1, math.maxinteger do
    local sent
    local record = records.from_line(lines[(i - 1) % #lines + 1], defaults)
    sent, message, code = kafka.producer():send(record)
    if code == "ECANCELED" then
      return true
    elseif not sent then
      log:warn("not published: " .. message)
    end
    if not task.sleep(every_ms .. "ms") then
      return true
    end
  end
end

return M
