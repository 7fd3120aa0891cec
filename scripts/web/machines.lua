--- The machine admin at /machines: the machines that there are, a form that sets one up, and the
--- page of a set-up, on which its commands are seen one by one. For operators.
local access = require "sipeat.access"
local html = require "sipeat.html"
local http = require "sipeat.http"
local money = require "sipeat.money"
local sys = require "sipeat.core.sys"
local events = require "flows.events"
local forms = require "web.forms"
local layout = require "web.layout"
local machine_checks = require "web.machine_checks"
local machine_form = require "web.machine_form"
local progress = require "web.progress"
local store = require "flows.store"
local submit = require "web.submit"
local who = require "web.who"

local M = {}

local h = html.tags

local KIND = events.MachineCreated.type
local UUID = "^%x%x%x%x%x%x%x%x%-%x%x%x%x%-%x%x%x%x%-%x%x%x%x%-%x%x%x%x%x%x%x%x%x%x%x%x$"

-- --- the list ---

local STATUS = { active = "ready", setting_up = "being set up" }

local function all_machines()
  local list = {}
  for _, status in ipairs { "active", "setting_up" } do
    local rows, problem = store.find("machines", { status = status })
    if not rows then
      return nil, problem
    end
    table.move(rows, 1, #rows, #list + 1, list)
  end
  table.sort(list, function(a, b)
    return a.machine_id < b.machine_id
  end)
  return list
end

local function table_of(rows)
  local lines = {}
  for i, row in ipairs(rows) do
    lines[i] = h.tr {
      h.td { h.a { href = "/machines/" .. http.encode(row.machine_id), row.machine_id } },
      h.td { row.name }, h.td { row.address }, h.td { STATUS[row.status] },
    }
  end
  return h.div {
    class = "scroll", tabindex = "0", role = "region", ["aria-label"] = "Machines",
    h.table {
      h.thead { h.tr {
        h.th { scope = "col", "Number" }, h.th { scope = "col", "Name" },
        h.th { scope = "col", "Address" }, h.th { scope = "col", "Status" },
      } },
      h.tbody { lines },
    },
  }
end

local function list()
  local rows = all_machines()
  if not rows then
    return layout.unavailable "/machines"
  end
  return layout.page {
    title = "Machines", path = "/machines",
    content = {
      h.p { h.a { class = "button", href = "/machines/new", "Set a machine up" } },
      #rows == 0 and h.p { class = "lead", "There is no machine yet." } or table_of(rows),
    },
  }
end

-- --- one machine ---

local function slots_table(rows)
  local lines = {}
  for i, row in ipairs(rows) do
    local price = money.format(money.new(row.price_minor, row.currency))
    lines[i] = h.tr {
      h.td { row.slot }, h.td { row.drink },
      h.td { class = "number", ("%d of %d"):format(row.stock, row.capacity) },
      h.td { class = "number", price },
    }
  end
  return h.div {
    class = "scroll", tabindex = "0", role = "region", ["aria-label"] = "Slots",
    h.table {
      h.thead { h.tr {
        h.th { scope = "col", "Slot" }, h.th { scope = "col", "Drink" },
        h.th { scope = "col", class = "number", "Stock" },
        h.th { scope = "col", class = "number", "Price" },
      } },
      h.tbody { lines },
    },
  }
end

local function place_text(row)
  local parts = {}
  for _, column in ipairs { "address", "city", "country" } do
    parts[#parts + 1] = row[column]
  end
  return table.concat(parts, ", ")
end

local function show(req)
  local row, problem = store.first("machines", { machine_id = req.params.id })
  local slots
  if row then
    slots, problem = store.find("inventory", { machine_id = row.machine_id })
  end
  if problem then
    return layout.unavailable "/machines"
  elseif not row then
    return layout.missing("There is no such machine.", "/machines", "All machines")
  end
  local order = "/request?machine=" .. http.encode(row.machine_id)
  return layout.page {
    title = row.name, path = "/machines",
    content = {
      h.div {
        class = "card",
        h.dl {
          class = "facts",
          h.dt { "Number" }, h.dd { row.machine_id },
          h.dt { "Status" }, h.dd { STATUS[row.status] },
          h.dt { "Type" }, h.dd { row.type }, h.dt { "Place" }, h.dd { place_text(row) },
          h.dt { "Board" }, h.dd { row.driver }, h.dt { "Proof" }, h.dd { row.proof },
          h.dt { "Code on it" }, h.dd { h.a { href = order, order } },
        },
      },
      h.h2 { "Slots" },
      slots_table(slots),
      h.p { h.a { href = "/machines", "All machines" } },
    },
  }
end

-- --- setting one up ---

-- The hidden fields of the form: whoever has a session proves it with the session's own token, and
-- the key makes one event of a form that is sent twice.
local function secrets(req)
  if req.user.csrf then
    return { csrf = req.user.csrf, key = sys.uuid() }
  end
  local form = access.form(req)
  return form and { csrf = form.token, cookie = form.cookie }
end

local function page(req, state)
  local hidden = state.hidden or secrets(req)
  if not hidden then
    return layout.unavailable "/machines/new"
  end
  return layout.page {
    title = "Set a machine up", path = "/machines", status = state.status,
    headers = { ["set-cookie"] = hidden.cookie },
    content = {
      forms.trouble(state.trouble),
      forms.summary(machine_form.listed(state.sent), state.errors),
      h.form {
        method = "post", action = "/machines", novalidate = true,
        forms.hidden("csrf", hidden.csrf),
        hidden.key and forms.hidden("key", hidden.key),
        machine_form.content(state.sent, state.errors),
        h.div { class = "actions",
          h.button { type = "submit", ["data-busy"] = "Setting up…", "Set it up" } },
      },
    },
  }
end

local function key_of(req, sent)
  if not req.user.csrf and req.user.via ~= "token" then
    return access.check_form(req, sent)
  elseif (sent.key or ""):find(UUID) then
    return sent.key:lower()
  end
  return nil, "The form has lost its key. Please send it again.", "CSRF"
end

local SORRY = "The machine could not be set up just now. Everything you entered is still here: "
  .. "please try again in a minute."

local function submit_setup(req, sent, key)
  local data, errors = machine_form.read(sent)
  local hidden = { csrf = sent.csrf, key = sent.key }
  if not data then
    return page(req, { sent = sent, errors = errors, status = 422, hidden = hidden })
  end
  local row, _, code = access.audit(req, "machine.set_up", {
    machine_id = data.machineId, event_id = key,
  })
  if row then
    row, _, code = submit.take {
      id = key, definition = events.MachineCreated, data = data, about = machine_checks.about(data),
      wait = true,
    }
  end
  if row then
    return { status = 303, headers = { location = "/machines/setups/" .. row.event_id } }
  elseif code == "KEY_REUSED" then
    local text = "This form was sent before with other values. Send it again if that is meant."
    return page(req, { sent = sent, errors = {}, status = 409, trouble = text })
  end
  return page(req, { sent = sent, errors = {}, status = 503, trouble = SORRY, hidden = hidden })
end

local function take(req)
  local sent = req:form()
  if not sent then
    return layout.notice {
      title = "That did not arrive well", path = "/machines", status = 400,
      text = "The form could not be read.", link = "/machines/new", link_text = "Back",
    }
  end
  local key, message, code = key_of(req, sent)
  if not key then
    local status = code == "CSRF" and 403 or 503
    return page(req, { sent = sent, errors = {}, status = status, trouble = message })
  elseif machine_form.add_rows(sent) then
    return page(req, { sent = sent, errors = {}, hidden = { csrf = sent.csrf, key = sent.key } })
  end
  return submit_setup(req, sent, key)
end

-- --- the page of a set-up ---

local LABELS = {
  survey = "What was there is noted", location = "Location", driver = "Board",
  inventory = "Inventory", network = "Network", maintenance = "Maintenance plan",
  cleaning = "Cleaning plan", activation = "Ready to serve",
}

local STATES = {
  done = { "good", "The machine is ready", "It serves requests from now on." },
  failed = { "bad", "It could not be set up", "Everything that was changed has been taken back." },
  unknown = { "warn", "This needs a look", "Nobody can tell what was changed: see the console." },
  lost = { "bad", "Not sent", "The set-up could not be passed on. Send the form again." },
}
local BUSY = { "busy", "Setting up", "Its commands are worked on one by one." }

local function content(view)
  local state, about = STATES[view.state] or BUSY, view.row.about
  return html.join(
    h.div {
      class = "banner " .. state[1], h.h2 { state[2] }, h.p { state[3] },
      view.ended and view.why and h.p { "Reason: ", h.code { view.why } },
    },
    h.div {
      class = "card",
      progress.steps(view, LABELS),
      h.dl {
        class = "facts",
        h.dt { "Number" },
        h.dd { h.a { href = "/machines/" .. http.encode(about.machine_id), about.machine_id } },
        h.dt { "Reference" }, h.dd { h.code { view.id } },
      },
    }
  )
end

local function show_setup(req)
  local view = progress.read(req.params.id, KIND)
  if view == nil then
    return layout.unavailable "/machines"
  elseif not view then
    return layout.missing("There is no such set-up.", "/machines", "All machines")
  end
  local here = "/machines/setups/" .. view.id
  return layout.page {
    title = "Set-up of " .. tostring(view.row.about.name), path = "/machines",
    content = {
      progress.live(view, here .. "/events", here, content),
      h.p { h.a { href = "/machines", "All machines" } },
    },
  }
end

local function setup_events(req)
  return progress.events(req.params.id, KIND, content)
end

function M.routes()
  http.route("GET /machines", who.only("operator", list))
  http.route("POST /machines", who.only("operator", take))
  http.route("GET /machines/new", who.only("operator", function(req)
    return page(req, { sent = {}, errors = {} })
  end))
  http.route("GET /machines/:id", who.only("operator", show))
  http.route("GET /machines/setups/:id", who.only("operator", show_setup))
  http.route("GET /machines/setups/:id/events", who.only("operator", setup_events))
end

return M
