--- /api/invoices: invoices as JSON, problems as application/problem+json; /openapi.json has it all.
local event = require "sipeat.event"
local http = require "sipeat.http"
local json = require "sipeat.json"
local openapi = require "sipeat.openapi"
local resource = require "sipeat.resource"
local sql = require "sipeat.sql"
local events = require "app.events"
local store = require "app.store"

local M = {}

local ID = { "string(64)", pattern = "^[A-Za-z0-9-]+$" }
local INVOICE = {
  id = "string", customerId = "string", amount = "number", status = events.STATUSES,
}
local KEY = {
  ["Idempotency-Key"] = {
    "string(200)?", pattern = "^[!-~]+$", text = "The same key makes one invoice",
  },
}

local function object(row)
  return {
    id = row.id, customerId = row.customer_id, amount = row.amount / 100, status = row.status,
  }
end

local function failed(message, code)
  if sql.is_constraint(code) then
    local field = code == "SQL_FOREIGN_KEY" and "customerId" or "amount"
    local text = field == "amount" and "an amount is more than 0" or "there is no such customer"
    return resource.refuse { { field = field, message = text, code = "unknown" } }
  end
  local answer = http.problem(503, message, { code = code })
  answer.headers["retry-after"] = "5"
  return answer
end

-- The answer with a row, or to what became of it.
local function answer(row, message, code, status)
  if row == nil then
    return failed(message, code)
  elseif not row then
    return http.problem(404)
  end
  local location = "/api/invoices/" .. row.id
  return { status = status or 200, headers = { location = location }, json = object(row) }
end

local function create(req, invoice)
  local id, refusal = resource.event_id(req, "invoice")
  if not id then
    return refusal
  end
  local row, message, code = store.create(id, invoice)
  return answer(row, message, code, 201)
end

local function list(req)
  local rows, message, code = store.list(req.args.limit or 100)
  if not rows then
    return failed(message, code)
  end
  local invoices = json.array {}
  for i, row in ipairs(rows) do
    invoices[i] = object(row)
  end
  return { json = { invoices = invoices } }
end

local function delete(req)
  local row, message, code = store.delete(req.params.id)
  return row and { status = 204 } or answer(row, message, code)
end

local WRONG = { [404] = true, [503] = "The database is away: try again" }

local function route(spec, summary, options, handler)
  options.summary, options.tags = summary, { "invoices" }
  options.params = spec:find ":id" and { id = ID } or nil
  for status, text in pairs(WRONG) do
    options.answers[status] = options.answers[status] or text
  end
  resource.route(spec, options, handler)
end

function M.routes()
  local one = { text = "The invoice", body = INVOICE }
  route("GET /api/invoices", "Invoices, those that changed last first", {
    query = { limit = "integer?" },
    answers = { [200] = { text = "Invoices", body = { invoices = event.list(INVOICE) } } },
  }, list)
  route("POST /api/invoices", "Create an invoice", {
    body = events.Invoice, headers = KEY, answers = { [201] = one },
  }, create)
  route("GET /api/invoices/:id", "One invoice", { answers = { [200] = one } }, function(req)
    return answer(store.find(req.params.id))
  end)
  route("PUT /api/invoices/:id", "Change an invoice", {
    body = events.Invoice, answers = { [200] = one },
  }, function(req, invoice)
    return answer(store.update(req.params.id, invoice))
  end)
  route("DELETE /api/invoices/:id", "Delete an invoice", {
    answers = { [204] = "It is gone" },
  }, delete)
  openapi.serve { title = "Invoices", description = "Each change publishes an event." }
end

return M
