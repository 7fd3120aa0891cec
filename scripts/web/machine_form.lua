--- The form that sets a machine up: its fields, its slots (as many rows as wanted, also without
--- JavaScript), and what was sent as data of machine.created.
local html = require "sipeat.html"
local events = require "flows.events"
local factory = require "flows.machine.factory"
local forms = require "web.forms"
local machine_checks = require "web.machine_checks"
local vending = require "sipeat.vending"

local M = {}

local h = html.tags

local MIN_ROWS, MORE_ROWS, MAX_ROWS = 4, 4, 100

local function options(list, first)
  local out = { first }
  for _, name in ipairs(list) do
    out[#out + 1] = { name, name }
  end
  return out
end

local FIELDS = {
  { name = "machineId", label = "Number", required = true, max = 100, autocomplete = "off",
    hint = "As on the machine, such as M12345. A known number sets that machine up anew." },
  { name = "machineName", label = "Name", required = true, max = 200, autocomplete = "off" },
  { name = "type", label = "Type", kind = "select", required = true,
    options = options(factory.types), default = "standard" },
}

local PLACE = {
  { name = "location.address", label = "Address", required = true, max = 200,
    autocomplete = "off" },
  { name = "location.city", label = "City", max = 200, autocomplete = "off" },
  { name = "location.country", label = "Country", max = 200, autocomplete = "off" },
}

local NETWORK = {
  { name = "network.mode", label = "Mode", kind = "select", required = true,
    options = { { "dhcp", "by DHCP" }, { "static", "fixed" } }, default = "dhcp" },
  { name = "network.address", label = "Fixed address", max = 15, autocomplete = "off" },
  { name = "network.gateway", label = "Gateway", max = 15, autocomplete = "off" },
}

local SERVICE = {
  { name = "maintenance.everyDays", label = "Inspection every … days", inputmode = "numeric",
    autocomplete = "off" },
  { name = "maintenance.technician", label = "Technician", max = 200, autocomplete = "off" },
}

local DRIVER = {
  { name = "driver.name", label = "Driver", kind = "select", required = true,
    options = options(vending.drivers()), default = "simulated" },
  { name = "driver.port", label = "Port", max = 200, autocomplete = "off",
    hint = "Of a real board." },
}

local GROUPS = {
  { nil, FIELDS }, { "Place", PLACE }, { "Board", DRIVER }, { "Network", NETWORK },
  { "Maintenance", SERVICE },
}

M.fields = {}
for _, group in ipairs(GROUPS) do
  table.move(group[2], 1, #group[2], #M.fields + 1, M.fields)
end

-- --- slots ---

local CELLS = {
  { "slot", "Slot" }, { "drink", "Drink" }, { "stock", "Stock" }, { "capacity", "Room for" },
  { "price", "Price" },
}

local function cell_name(row, cell)
  return ("slots.%d.%s"):format(row, cell)
end

-- How many rows the form that was sent has.
local function rows_of(sent)
  local count = math.tointeger(tonumber(sent.rows or "")) or MIN_ROWS
  return math.max(MIN_ROWS, math.min(count, MAX_ROWS))
end

local NUMERIC = { slot = "numeric", stock = "numeric", capacity = "numeric", price = "decimal" }

local function slot_row(row, sent, errors)
  local cells = {}
  for i, cell in ipairs(CELLS) do
    local name = cell_name(row, cell[1])
    local default = cell[1] == "slot" and tostring(row) or nil
    cells[i] = forms.field({
      name = name, label = cell[2], required = true, inputmode = NUMERIC[cell[1]],
      autocomplete = "off",
    }, sent[name] or default, errors[name])
  end
  return h.div { class = "slot", role = "group", ["aria-label"] = "Slot row " .. row, cells }
end

local function slot_rows(sent, errors)
  local list = {}
  for row = 1, rows_of(sent) do
    list[row] = slot_row(row, sent, errors)
  end
  return h.fieldset {
    id = "slots", class = "group", tabindex = "-1",
    h.legend { "Slots" },
    h.p { class = "hint", "Rows without a drink are left out." },
    errors.slots and h.p { class = "error", errors.slots },
    h.div { class = "slots", list },
    forms.hidden("rows", tostring(rows_of(sent))),
    h.button {
      type = "submit", class = "plain", name = "more", value = "yes", formnovalidate = true,
      "More slots",
    },
  }
end

local CELL_NODE = { slot = "integer", stock = "integer", capacity = "integer", price = "money" }

local function cell_value(cell, text)
  local number = CELL_NODE[cell] and text and tonumber((text:gsub(",", ".")))
  if number then
    return math.tointeger(number) or number
  end
  return text
end

-- The rows that have a drink, as the event has them, and which row each one is.
local function read_slots(sent)
  local list, rows = {}, {}
  for row = 1, rows_of(sent) do
    if forms.typed(sent[cell_name(row, "drink")]) then
      local slot = {}
      for _, cell in ipairs(CELLS) do
        slot[cell[1]] = cell_value(cell[1], forms.typed(sent[cell_name(row, cell[1])]))
      end
      list[#list + 1], rows[#rows + 1] = slot, row
    end
  end
  return list, rows
end

-- "slots[2].price" as the name of its cell.
local function cell_of(field, rows)
  local at, cell = field:match "^slots%[(%d+)%]%.?(%w*)$"
  local row = rows[tonumber(at)]
  return row and cell_name(row, cell ~= "" and cell or "slot") or field
end

-- --- the form ---

--- Wants it more rows, and no more than that?
function M.add_rows(sent)
  if sent.more == "yes" then
    sent.rows = tostring(math.min(rows_of(sent) + MORE_ROWS, MAX_ROWS))
    return true
  end
end

--- The form's fields, also of the slots, for the list of what is wrong.
function M.listed(sent)
  local list = table.move(M.fields, 1, #M.fields, 1, {})
  list[#list + 1] = { name = "slots", label = "Slots" }
  for row = 1, rows_of(sent) do
    for _, cell in ipairs(CELLS) do
      list[#list + 1] = {
        name = cell_name(row, cell[1]), label = ("Row %d, %s"):format(row, cell[2]),
      }
    end
  end
  return list
end

--- The form's content with what was sent and what is wrong.
function M.content(sent, errors)
  local out = {}
  for i, group in ipairs(GROUPS) do
    local fields = forms.fields(group[2], sent, errors)
    out[i] = group[1] and h.fieldset {
      class = "group", h.legend { group[1] }, h.div { class = "two", fields },
    } or fields
  end
  table.insert(out, 3, slot_rows(sent, errors))
  return out
end

local WORDS = { integer = "A whole number", money = "Such as 2.50" }

local function add_error(errors, problem, rows)
  local name = cell_of(problem.field, rows)
  local cell = name:match "^slots%.%d+%.(%w+)$"
  if errors[name] then
    return
  elseif cell and problem.code ~= "refused" then
    errors[name] = WORDS[CELL_NODE[cell]] or "A text"
  else
    errors[name] = problem.code == "refused" and problem.message
      or forms.words(problem, events.MachineCreated)
  end
end

local function drop_empty(data)
  for name, part in pairs(data) do
    if name ~= "slots" and type(part) == "table" and next(part) == nil then
      data[name] = nil
    end
  end
end

-- Who has a fixed address by DHCP, or days that are no number, hears it; a number typed is one.
local function tidy(data)
  if data.maintenance and data.maintenance.everyDays then
    local days = data.maintenance.everyDays
    data.maintenance.everyDays = math.tointeger(tonumber(days)) or days
  end
  drop_empty(data)
end

--- What was sent as data of machine.created; or nil and the messages: field -> text.
function M.read(sent)
  local data = forms.read(events.MachineCreated, M.fields, sent)
  local rows
  data.slots, rows = read_slots(sent)
  tidy(data)
  local typed, _, _, problems = events.MachineCreated:validate(data)
  problems = typed and machine_checks.problems(typed) or problems
  if #problems == 0 then
    return data
  end
  local errors = {}
  for _, problem in ipairs(problems) do
    add_error(errors, problem, rows)
  end
  return nil, errors
end

return M
