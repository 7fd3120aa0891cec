--- The API: contacts, drink requests and machines as JSON. Whoever sends one is answered at once,
--- with a link to what becomes of it.
local access = require "sipeat.access"
local event = require "sipeat.event"
local http = require "sipeat.http"
local json = require "sipeat.json"
local money = require "sipeat.money"
local openapi = require "sipeat.openapi"
local resource = require "sipeat.resource"
local events = require "flows.events"
local machine_checks = require "web.machine_checks"
local offer = require "web.offer"
local progress = require "web.progress"
local store = require "flows.store"
local submit = require "web.submit"
local who = require "web.who"

local M = {}

--- What the document says of the API as a whole.
M.INFO = {
  title = "SipEat",
  description = "Contacts, drink requests and machines. Errors are application/problem+json.",
}

-- What customers may say themselves: not the price, nor that nothing is to be paid.
local Request = events.RequestCreated:only({
  "customerName", "email", "machineId", "drinkName", "slot", "paymentMethod",
}, "request")
local Contact = events.ContactCreated:only({
  "name", "email", "phone", "companyName", "message", "type", "preferences",
}, "contact")
local Machine = events.MachineCreated:only({
  "machineId", "machineName", "type", "location", "slots", "network", "maintenance", "driver",
  "currency",
}, "machine")

local STEP = { name = "string", state = "string" }
local STATUS = {
  id = "string", state = { "sending", "waiting", "working", "done", "failed", "unknown", "lost" },
  steps = event.list(STEP), ended = "boolean", why = "string?", failed = "string?",
}
local TAKEN = { id = "string", status = "string" }
local SLOT = {
  slot = "integer", drink = "string", stock = "integer", price = "number", currency = "string",
}
local MACHINE = {
  machineId = "string", name = "string", type = "string", status = "string", address = "string",
  city = "string?", slots = event.list(SLOT),
}
local KEY = {
  ["Idempotency-Key"] = {
    "string(200)?", pattern = "^[!-~]+$", text = "The same key makes one event",
  },
}
local ID = { "string(64)", pattern = "^[A-Za-z0-9-]+$" }

-- --- taking ---

local function unavailable(message)
  local answer = http.problem(503, message, { code = "UNAVAILABLE" })
  answer.headers["retry-after"] = "10"
  return answer
end

-- The answer to something that was taken: where its status is.
local function taken(req, place, o)
  local id, refusal = resource.event_id(req, o.definition.type)
  if not id then
    return refusal
  end
  o.id, o.data, o.wait = id, o.definition:to_wire(o.data), req.args.wait == "acked"
  local row, message, code = submit.take(o)
  if not row and code == "KEY_REUSED" then
    return http.problem(409, "this Idempotency-Key was used for something else", { code = code })
  elseif not row then
    return unavailable(message)
  end
  local status = ("/api/%s/%s"):format(place, row.event_id)
  return {
    status = 202, headers = { location = status }, json = { id = row.event_id, status = status },
  }
end

-- The route that says what became of it.
local function status_route(place, kind, summary)
  resource.route(("GET /api/%s/:id"):format(place), {
    summary = summary, tags = { place:match "^[^/]+" }, params = { id = ID },
    answers = { [200] = { text = "Its state", body = STATUS }, [404] = true, [503] = true },
  }, function(req)
    local view, problem = progress.read(req.params.id, kind)
    if view == nil then
      return unavailable(problem.message)
    elseif not view then
      return http.problem(404)
    end
    local steps = json.array {}
    for i, step in ipairs(view.steps) do
      steps[i] = { name = step.name, state = step.state }
    end
    return { json = {
      id = view.id, state = view.state, steps = steps, ended = view.ended, why = view.why,
      failed = view.failed,
    } }
  end)
end

local function answers_of(status_place)
  local link = { ("GET /api/%s/:id"):format(status_place), id = "$response.body#/id" }
  return {
    [202] = {
      text = "Taken: Location says where to look", body = TAKEN, links = { status = link },
      headers = { Location = "Where its status is" },
    },
    [409] = "The key was used for something else",
    [503] = "The store or Kafka is away: try again",
  }
end

local function take_route(place, summary, body, handler, status_place, role)
  resource.route("POST /api/" .. place, {
    summary = summary, tags = { place }, body = body, query = { ["wait?"] = { "acked" } },
    headers = KEY, answers = answers_of(status_place), role = role, guard = who.only,
  }, handler)
end

-- --- contacts ---

local function contact(req, body)
  return taken(req, "contacts", { definition = events.ContactCreated, data = body })
end

-- --- requests ---

-- The slot that has the drink, when the customer named none.
local function slot_of(body)
  if body.slot then
    return body.slot
  end
  local rows, problem = offer.slots(body.machineId)
  if not rows then
    return nil, problem
  end
  local found
  for _, row in ipairs(rows) do
    if row.drink:lower() == body.drinkName:lower() and (not found or found.stock == 0) then
      found = row
    end
  end
  return found and found.slot or false
end

local function request(req, body)
  local slot, problem = slot_of(body)
  if slot == nil then
    return unavailable(problem.message)
  end
  local wished = body.drinkName
  local found, machine = offer.complete(body, { machineId = body.machineId, slot = slot })
  if found == nil then
    return unavailable(machine.message)
  elseif not found or body.drinkName:lower() ~= wished:lower() then
    local text = not found and machine or "this slot has another drink"
    return resource.refuse { { field = "drinkName", message = text, code = "not_offered" } }
  end
  local about = offer.about(body, machine)
  return taken(req, "requests", {
    definition = events.RequestCreated, data = body, about = about,
  })
end

-- --- machines ---

local function machine_set_up(req, body)
  local wrong = machine_checks.problems(body)
  if #wrong > 0 then
    return resource.refuse(wrong)
  end
  local noted, message = access.audit(req, "machine.set_up", { machine_id = body.machineId })
  if not noted then
    return unavailable(message)
  end
  return taken(req, "setups", {
    definition = events.MachineCreated, data = body, about = machine_checks.about(body),
  })
end

local function machine_object(row, slots)
  local list = json.array {}
  for i, slot in ipairs(slots) do
    local price = money.new(slot.price_minor, slot.currency)
    list[i] = {
      slot = slot.slot, drink = slot.drink, stock = slot.stock, price = money.to_number(price),
      currency = slot.currency,
    }
  end
  return {
    machineId = row.machine_id, name = row.name, type = row.type, status = row.status,
    address = row.address, city = row.city, slots = list,
  }
end

local function machines()
  local rows, problem = offer.machines()
  if not rows then
    return unavailable(problem.message)
  end
  local list = json.array {}
  for i, row in ipairs(rows) do
    list[i] = {
      machineId = row.machine_id, name = row.name, address = row.address, city = row.city,
    }
  end
  return { json = { machines = list } }
end

local function machine(req)
  local row, problem = store.first("machines", { machine_id = req.params.id })
  local slots
  if row then
    slots, problem = offer.slots(row.machine_id)
  end
  if problem then
    return unavailable(problem.message)
  elseif not row then
    return http.problem(404)
  end
  return { json = machine_object(row, slots) }
end

local function machine_routes()
  resource.route("GET /api/machines", {
    summary = "The machines that serve requests", tags = { "machines" },
    answers = {
      [200] = { text = "The machines", body = { machines = event.list {
        machineId = "string", name = "string", address = "string", city = "string?",
      } } },
      [503] = true,
    },
  }, machines)
  resource.route("GET /api/machines/:id", {
    summary = "One machine with its drinks", tags = { "machines" }, params = { id = ID },
    answers = { [200] = { text = "The machine", body = MACHINE }, [404] = true, [503] = true },
  }, machine)
  take_route("machines", "Set a machine up", Machine, machine_set_up, "setups", "operator")
  status_route("setups", events.MachineCreated.type, "How far a set-up has come")
end

function M.routes()
  take_route("contacts", "Write to us", Contact, contact, "contacts")
  status_route("contacts", events.ContactCreated.type, "What became of a contact")
  take_route("requests", "Order a drink", Request, request, "requests")
  status_route("requests", events.RequestCreated.type, "How far a request has come")
  machine_routes()
  openapi.serve(M.INFO)
end

return M
