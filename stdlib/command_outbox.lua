--- `sipeat outbox list|show|retry|discard`: the outbox's file, also while a program has it open.
local bytes = require "sipeat.bytes"
local output = require "sipeat.command_output"
local sql = require "sipeat.sql"
local sys = require "sipeat.core.sys"
local terminal = require "sipeat.core.terminal"

local M = {}

local OK, FAILED = 0, 1
local APPLICATION, SCHEMA = 0x53697042, 1 -- as in drivers/outbox/file.h
local COLUMNS = "bytes, at_ms, timestamp_ms, topic_partition, topic, key, headers, value"
local NULL_LEN = 0xffffffff
local time_of = sys.iso_time

-- Headers as drivers/outbox/record.h describes them: a list of { name, value }.
local function headers_of(packed)
  local headers, at = {}, 1
  while packed and at <= #packed do
    local name, len
    name, at = ("<s4"):unpack(packed, at)
    len, at = ("<I4"):unpack(packed, at + 1) -- over the NUL behind the name
    local value = len ~= NULL_LEN and packed:sub(at, at + len - 1) or nil
    at = at + (value and len or 0)
    headers[#headers + 1] = { name, value }
  end
  return headers
end

local function totals(db, name)
  local query = "SELECT count(*) AS records, ifnull(sum(bytes), 0) AS bytes, min(at_ms) AS oldest "
    .. "FROM " .. name
  local rows, message, code = db:query(query)
  if not rows then
    return nil, message, code
  end
  return rows[1]
end

local actions = {}

function actions.list(db, options)
  local queued, message, code = totals(db, "queue")
  if not queued then
    return nil, message, code
  end
  local refused
  refused, message, code = totals(db, "refused")
  if not refused then
    return nil, message, code
  end
  local rows
  rows, message, code = db:query(
    "SELECT seq, topic, code, message, bytes, refused_at_ms FROM refused ORDER BY seq LIMIT ?",
    options.max)
  if not rows then
    return nil, message, code
  end
  local oldest = queued.oldest and time_of(queued.oldest)
  if options.json then
    output.json {
      file = options.file, queued = queued.records, queued_bytes = queued.bytes, oldest = oldest,
      refused = refused.records, refused_bytes = refused.bytes,
    }
    for _, row in ipairs(rows) do
      output.json {
        number = row.seq, topic = row.topic, code = row.code, message = row.message,
        bytes = row.bytes, refused_at = time_of(row.refused_at_ms),
      }
    end
    return OK
  end
  terminal.write(("%s: %d records (%d bytes) wait for the broker%s; %d were refused\n"):format(
    options.file, queued.records, queued.bytes, oldest and ", the oldest since " .. oldest or "",
    refused.records))
  local lines = {}
  for i, row in ipairs(rows) do
    lines[i] = {
      row.seq, output.printable(row.topic), row.bytes, time_of(row.refused_at_ms),
      output.printable(row.code), output.printable(row.message),
    }
  end
  if #lines > 0 then
    output.table({ "NUMBER", "TOPIC", "BYTES", "REFUSED AT", "CODE", "WHY" }, lines)
  end
  return OK
end

function actions.show(db, options)
  local rows, message, code = db:query("SELECT * FROM refused WHERE seq = ?", options.seq)
  if not rows then
    return nil, message, code
  elseif not rows[1] then
    return nil, ("no refused record has the number %d"):format(options.seq), "NOT_FOUND"
  end
  local row = rows[1]
  local headers = headers_of(row.headers)
  if options.json then
    local record = {
      number = row.seq, topic = row.topic, code = row.code, message = row.message,
      partition = row.topic_partition >= 0 and row.topic_partition or nil, bytes = row.bytes,
      put_at = time_of(row.at_ms), refused_at = time_of(row.refused_at_ms), headers = {},
    }
    bytes.put(record, "key", row.key)
    bytes.put(record, "value", row.value)
    for i, header in ipairs(headers) do
      record.headers[i] = { name = header[1] }
      bytes.put(record.headers[i], "value", header[2])
    end
    output.json(record)
    return OK
  end
  local lines = {
    { "topic", row.topic }, { "refused", ("%s: %s"):format(row.code, row.message) },
    { "put at", time_of(row.at_ms) }, { "refused at", time_of(row.refused_at_ms) },
    { "key", row.key or "none" },
  }
  for _, header in ipairs(headers) do
    lines[#lines + 1] = { "header " .. header[1], header[2] or "null" }
  end
  lines[#lines + 1] = { "value", row.value or "null" }
  for _, line in ipairs(lines) do
    terminal.write(("%-12s %s\n"):format(output.printable(line[1]), output.printable(line[2])))
  end
  return OK
end

-- Runs statements on the chosen records in one transaction, the last of which deletes them.
local function change(db, options, statements, done)
  local count, message, code = db:transaction(function(tx)
    local changed
    for _, statement in ipairs(statements) do
      local why, reason
      changed, why, reason = tx:exec(statement, options.seq or 0)
      if not changed then
        return nil, why, reason
      end
    end
    return changed
  end)
  if not count then
    return nil, message, code
  elseif options.seq and count == 0 then
    return nil, ("no refused record has the number %d"):format(options.seq), "NOT_FOUND"
  end
  terminal.write(("%d records %s\n"):format(count, done))
  return OK
end

local CHOSEN = " FROM refused WHERE ?1 IN (0, seq)"

function actions.retry(db, options)
  return change(db, options, {
    ("INSERT INTO queue (%s) SELECT %s%s ORDER BY seq"):format(COLUMNS, COLUMNS, CHOSEN),
    "DELETE" .. CHOSEN,
  }, "put back")
end

function actions.discard(db, options)
  local name = options.seq and tostring(options.seq) or "all"
  local what = options.seq and "the refused record " .. name or "all refused records"
  if not options.yes and not output.confirm(what, name) then
    terminal.note "sipeat outbox discard: nothing was deleted"
    return FAILED
  end
  return change(db, options, { "DELETE" .. CHOSEN }, "discarded")
end

-- Opens the file, if it is an outbox.
local function open(options)
  if options.missing then
    return nil, ("there is no outbox %s (name it with --outbox or SIPEAT_OUTBOX)"):format(
      options.file)
  end
  local db, message, code = sql.open(options.file)
  if not db then
    return nil, message, code
  end
  local rows
  rows, message, code = db:query [[
    SELECT application_id, user_version FROM pragma_application_id, pragma_user_version]]
  if rows and rows[1].application_id == APPLICATION and rows[1].user_version == SCHEMA then
    return db
  end
  db:close()
  return nil, message or options.file .. " is no outbox of this version", code
end

--- Returns the exit code.
function M.run(options)
  local db, message = open(options)
  local result
  if db then
    local opened <close> = db
    result, message = actions[options.action](opened, options)
  end
  if result then
    return result
  end
  terminal.note(("sipeat outbox %s: %s"):format(options.action, message))
  return FAILED
end

return M
