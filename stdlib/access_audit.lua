--- What was changed, by whom: rows that are only added, and go when they are old.
local json = require "sipeat.json"
local opts = require "sipeat.opts"
local store = require "sipeat.access_store"
local sys = require "sipeat.core.sys"

local M = {}

local FIELDS_BYTES = 16 * 1024 -- of a row
local ROWS = 1000

local INSERT = "INSERT INTO access_audit (at_ms, who, role, via, what, request, address, fields) "
  .. "VALUES (?, ?, ?, ?, ?, ?, ?, ?)"

local function fields_of(fields)
  if fields == nil then
    return nil
  end
  local text = json.encode(fields)
  if not text or #text > FIELDS_BYTES then
    text = json.encode { left_out = text and #text or "not JSON" }
  end
  return text
end

--- Adds a row: in the transaction `tx` when there is one. true; or nil, message, code.
---@param user {name: string, role: string?, via: string?}
---@param req table? the request that it came by
function M.note(tx, user, what, fields, req)
  local function exec(...)
    if tx then
      return tx:exec(...)
    end
    return store.exec(...)
  end
  local done, message, code = exec(INSERT, sys.now_ms(), user.name, user.role,
    user.via or "program", what, req and req.id, req and req.client,
    fields_of(fields))
  if not done then
    return nil, message, code
  end
  return true
end

local LIST = opts.spec("sipeat.access.audited", {
  max = { "integer", default = 100, min = 1, max = ROWS },
  before = { "integer" },
  who = { "string" },
  what = { "string" },
  since_ms = { "integer" },
})

--- The rows, the newest first: { id, at, who, role, via, what, request, address, fields }.
function M.list(options)
  local o = LIST(options)
  local rows, message, code = store.query("SELECT * FROM access_audit WHERE id < ?1 "
    .. "AND at_ms >= ?2 AND (?3 IS NULL OR who = ?3) "
    .. "AND (?4 IS NULL OR what = ?4 OR what LIKE ?4 || '.%') ORDER BY id DESC LIMIT ?5",
    o.before or math.maxinteger, o.since_ms or 0, o.who, o.what, o.max)
  if not rows then
    return nil, message, code
  end
  for _, row in ipairs(rows) do
    row.at, row.at_ms = sys.iso_time(row.at_ms), nil
    row.fields = row.fields and json.decode(row.fields)
  end
  return rows
end

return M
