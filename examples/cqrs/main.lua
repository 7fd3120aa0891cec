--- A machine stock ledger: commands append events (ledger.lua), questions are answered from tables
--- that projections make of them (models.lua).
local ledger = require "ledger"
local models = require "models"
local sipeat = require "sipeat"

-- For ever: the read models are made of it, whenever.
sipeat.topics { [ledger.TOPIC] = { partitions = 4, retention = "forever" } }

local store = assert(sipeat.eventsource.open {
  db = sipeat.env.get("LEDGER_DB", "./cqrs-ledger.db"), aggregates = { ledger.machine },
})

local STATUS = { CONFLICT = 409, COMMAND_MISMATCH = 409, EMPTY = 409, NO_ROOM = 409, INVALID = 400,
  INVALID_EVENT = 400 }

-- Commands: the answer says what was appended, and nothing else.
sipeat.http.route("POST /api/v1/machines/:id/:command", function(req)
  local args = req:json()
  local command = req.params.command
  if type(args) ~= "table" or not ledger.machine.commands[command] then
    return { status = 400, json = { error = "refill, sell or count, with JSON", code = "INVALID" } }
  end
  local done, message, code = store:execute("machine", req.params.id, command, args, {
    command_id = req.headers["idempotency-key"], expected = args.expected,
  })
  if not done then
    return { status = STATUS[code] or 503, json = { error = message, code = code } }
  end
  return { status = 202, json = { version = done.version, repeated = done.repeated } }
end)

-- Questions: from the read models, which are a moment behind.
sipeat.http.route("GET /api/v1/machines/:id/stock", function(req)
  local rows, message = models.stock:query(
    "SELECT slot, drink, units FROM stock WHERE machine = ? ORDER BY slot", req.params.id)
  if not rows then
    return { status = 503, json = { error = message } }
  end
  return { json = sipeat.json.array(rows) }
end)

sipeat.http.route("GET /api/v1/sales", function(req)
  local rows, message = models.sales:query(
    "SELECT drink, day, sold, cents FROM sales WHERE day >= ? ORDER BY day, drink",
    req.query.from or "")
  if not rows then
    return { status = 503, json = { error = message } }
  end
  return { json = sipeat.json.array(rows) }
end)
