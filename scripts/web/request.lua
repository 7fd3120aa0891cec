--- The drink request at /request: machine and drink from the inventory as it is, the price, and the
--- page of a request with its progress until the drink is out or the money is back.
local access = require "sipeat.access"
local capture = require "sipeat.capture"
local html = require "sipeat.html"
local http = require "sipeat.http"
local money = require "sipeat.money"
local events = require "flows.events"
local forms = require "web.forms"
local layout = require "web.layout"
local offer = require "web.offer"
local outcome = require "web.request_outcome"
local progress = require "web.progress"
local submit = require "web.submit"

local M = {}

local h = html.tags

local KIND = events.RequestCreated.type

local CUSTOMER = {
  { name = "customerName", label = "Your name", required = true, autocomplete = "name", max = 200 },
  { name = "email", label = "E-mail", kind = "email", autocomplete = "email", max = 254,
    hint = "For your receipt." },
}

-- Cards of the payment service's test mode, where sipeat dev stands in for it.
local TEST_CARDS = {
  { "pm_card_visa", "A card that pays" },
  { "pm_card_chargeDeclined", "A card that is declined" },
  { "pm_card_chargeDeclinedInsufficientFunds", "A card without enough money" },
}

local CARD = {
  name = "paymentMethod", label = "Test card", kind = "select", options = TEST_CARDS,
  required = true, hint = "Payments are simulated here.",
}

local function fields_of()
  local list = table.move(CUSTOMER, 1, #CUSTOMER, 1, {})
  if capture.enabled() then
    list[#list + 1] = CARD
  end
  return list
end

-- --- choosing ---

local function machine_choice(machines, chosen)
  local options = { { "", "Please choose" } }
  for _, machine in ipairs(machines) do
    options[#options + 1] = {
      machine.machine_id, ("%s, %s"):format(machine.name, machine.address),
    }
  end
  return h.form {
    method = "get", action = "/request",
    forms.field({
      name = "machine", label = "Machine", kind = "select", options = options, required = true,
      auto = true,
    }, chosen and chosen.machine_id),
    h.div { class = "actions auto-hidden",
      h.button { type = "submit", class = "plain", "Show its drinks" } },
  }
end

local function price_text(row)
  return row.price_minor == 0 and "free" or money.format(money.new(row.price_minor, row.currency))
end

local function drink(row, sent)
  local sold_out = row.stock == 0
  return h.label {
    class = "drink",
    h.input {
      type = "radio", name = "slot", value = row.slot, required = true, disabled = sold_out,
      checked = not sold_out and sent.slot == tostring(row.slot),
    },
    h.span { class = "name", row.drink },
    h.span { class = "price", sold_out and "sold out" or price_text(row) },
  }
end

local function drinks(slots, sent, errors)
  local list = {}
  for i, row in ipairs(slots) do
    list[i] = drink(row, sent)
  end
  return h.fieldset {
    id = "slot", tabindex = "-1", ["aria-describedby"] = errors.slot and "slot-error",
    h.legend { "Drink" },
    h.div { class = "drinks", list },
    errors.slot and h.p { class = "error", id = "slot-error", errors.slot },
  }
end

-- The prices that the page shows go with it: a customer pays what was shown, or is asked again.
local function prices(slots)
  local list = {}
  for i, row in ipairs(slots) do
    local value = ("%d %s"):format(row.price_minor, row.currency)
    list[i] = forms.hidden("price." .. row.slot, value)
  end
  return list
end

local function order_form(state, fields)
  return h.form {
    method = "post", action = "/request", novalidate = true,
    forms.hidden("csrf", state.token),
    forms.hidden("machineId", state.machine.machine_id),
    prices(state.slots),
    drinks(state.slots, state.sent, state.errors),
    forms.fields(fields, state.sent, state.errors),
    h.div { class = "actions",
      h.button { type = "submit", ["data-busy"] = "Ordering…", "Order and pay" } },
  }
end

-- The page; `state` has machines, and with a machine its slots, what was sent and what is wrong.
local function page(state)
  local fields = fields_of()
  local summed = { { name = "slot", label = "Drink" } }
  table.move(fields, 1, #fields, 2, summed)
  return layout.page {
    title = state.machine and state.machine.name or "Get a drink", path = "/request",
    status = state.status, kept = true, headers = { ["set-cookie"] = state.cookie },
    content = {
      forms.trouble(state.trouble),
      forms.summary(summed, state.errors),
      #state.machines == 0 and h.p { class = "lead", "No machine is ready at the moment." }
        or machine_choice(state.machines, state.machine),
      state.machine and order_form(state, fields),
    },
  }
end

-- Fills in what there is to choose from; nil when the store is away.
local function with_offer(state, machine_id)
  state.machines = offer.machines()
  if not state.machines then
    return nil
  end
  state.machine = machine_id and offer.find(state.machines, machine_id) or nil
  if state.machine then
    state.slots = offer.slots(state.machine.machine_id)
    return state.slots and state
  end
  return state
end

local function with_token(req, state)
  local form = access.form(req)
  if not form then
    return nil
  end
  state.token, state.cookie = form.token, form.cookie
  return state
end

local function show(req)
  local wanted = forms.typed(req.query.machine)
  local state = with_offer({ sent = {}, errors = {} }, wanted)
  if not state or not with_token(req, state) then
    return layout.unavailable "/request"
  elseif wanted and not state.machine then
    state.status = 404
    state.trouble = "This machine is not ready, or does not exist. Please choose another one."
  end
  return page(state)
end

-- --- ordering ---

local function again(req, sent, o)
  local state = with_offer({
    sent = sent, errors = o.errors or {}, status = o.status, trouble = o.trouble, token = sent.csrf,
  }, forms.typed(sent.machineId))
  if not state or o.fresh and not with_token(req, state) then
    return layout.unavailable "/request"
  end
  return page(state)
end

local SORRY = "Your order could not be taken just now; nothing was charged. What you entered is "
  .. "still here: please try again in a minute."

-- The event's data from what was sent, and its machine; or nil and the messages of fields; or nil,
-- nil and a failure.
local function data_of(sent)
  local data = forms.read(events.RequestCreated, fields_of(), sent)
  local wish = {
    machineId = forms.typed(sent.machineId), slot = math.tointeger(tonumber(sent.slot or "")),
    shown = sent["price." .. tostring(sent.slot)],
  }
  local found, machine = offer.complete(data, wish)
  if found == nil then
    return nil, nil, machine
  end
  local ok, errors = forms.check(events.RequestCreated, data)
  if ok and found then
    return data, machine
  end
  errors = errors or {}
  errors.drinkName, errors.machineId = nil, nil
  errors.slot = not found and machine or nil
  return nil, errors
end

local function take(req)
  local sent, key = forms.received(req, "/request", again)
  if not sent then
    return key
  end
  local earlier = progress.read(key, KIND)
  if earlier and earlier.state ~= "lost" and earlier.state ~= "sending" then
    return { status = 303, headers = { location = "/request/" .. key } } -- sent twice: one drink
  end
  local data, found, problem = data_of(sent)
  if problem then
    return again(req, sent, { status = 503, trouble = SORRY })
  elseif not data then
    return again(req, sent, { status = 422, errors = found })
  end
  local row, message, code = submit.take {
    id = key, definition = events.RequestCreated, data = data, about = offer.about(data, found),
    wait = true,
  }
  if row then
    return { status = 303, headers = { location = "/request/" .. row.event_id } }
  elseif code == "KEY_REUSED" then
    return again(req, sent, { status = 409, fresh = true, trouble = message })
  end
  return again(req, sent, { status = 503, trouble = SORRY })
end

-- --- the page of a request ---

local function show_request(req)
  local id = req.params.id
  local view = progress.read(id, KIND)
  if view == nil then
    return layout.unavailable("/request/" .. http.encode(id))
  elseif not view then
    return layout.missing("There is no such request.", "/request", "Get a drink")
  end
  local here = "/request/" .. id
  return layout.page {
    title = outcome.title(view), path = "/request",
    content = {
      progress.live(view, here .. "/events", here, outcome.content),
      h.p { h.a { href = "/request", "Get another drink" } },
    },
  }
end

local function request_events(req)
  return progress.events(req.params.id, KIND, outcome.content)
end

function M.routes()
  http.route("GET /request", show)
  http.route("POST /request", take)
  http.route("GET /request/:id", show_request)
  http.route("GET /request/:id/events", request_events)
end

return M
