--- Machines: what is known of each without asking its board, and of one what it counted, its last
--- orders and the last bytes of its line.
local api = require "sipeat.console_api"
local host = require "sipeat.console_host"
local json = require "sipeat.json"
local opts = require "sipeat.opts"
local sys = require "sipeat.core.sys"
local task = require "sipeat.task"
local vending = require "sipeat.vending"

local M = {}

local ASKED = "3s" -- a board is waited for
local CAPABILITIES = { "dispense", "counters", "credit", "payment", "audit" }

local function slots_of(slots)
  local out = json.array {}
  for _, slot in ipairs(opts.names(slots or {})) do
    local state = slots[slot] or slots[math.tointeger(tonumber(slot))]
    out[#out + 1] = { slot = slot, stock = type(state) == "table" and state.stock or nil }
  end
  return out
end

local function machine_object(id)
  local known, problem = vending.glance(id)
  if not known then
    return nil, problem.message, problem.code
  end
  local can, has = {}, vending.capabilities(id)
  for _, name in ipairs(CAPABILITIES) do
    can[name] = has[name]
  end
  return {
    id = id, driver = known.driver, online = known.online or false, state = known.state,
    reason = known.reason, proof = known.proof, slots = slots_of(known.slots),
    capabilities = can, line = known.line,
  }
end

--- The answer of GET machines.
function M.state()
  if host.is_alone() then
    return host.without { machines = json.array {} }
  end
  local list = json.array {}
  for _, id in ipairs(vending.machines()) do
    list[#list + 1] = machine_object(id) -- it may be detached meanwhile
  end
  return { available = true, machines = list }
end

-- What the board has counted; nil when it does not say so in time.
local function counters_of(id)
  local ok, counters = pcall(task.with_timeout, ASKED, vending.counters, id)
  if not ok or type(counters) ~= "table" then
    return nil
  end
  local slots = json.array {}
  for _, slot in ipairs(opts.names(counters.slots or {})) do
    local count = counters.slots[slot] or counters.slots[math.tointeger(tonumber(slot))]
    slots[#slots + 1] = { slot = slot, count = count }
  end
  return { total = counters.total, slots = slots }
end

local function orders_of(id)
  local out = json.array {}
  for i, order in ipairs(vending.orders(id) or {}) do
    out[i] = {
      approval = order.approval, slot = tostring(order.slot), state = order.state,
      at = sys.iso_time(order.at_ms),
    }
  end
  return out
end

local function traffic_of(id)
  local out = json.array {}
  for i, one in ipairs(vending.traffic(id)) do
    out[i] = {
      at = sys.iso_time(one.at_ms), direction = one.out and "out" or "in",
      hex = (one.bytes:gsub(".", function(c)
        return ("%02x "):format(c:byte())
      end):sub(1, -2)),
      text = (one.bytes:gsub("[^\32-\126]", ".")),
    }
  end
  return out
end

local function show(req)
  if host.is_alone() then
    return nil, host.without({}).reason, "NOT_FOUND"
  end
  local id = req.params.id
  local out, message, code = machine_object(id)
  if not out then
    return nil, message, code
  end
  out.counters = out.online and out.capabilities.counters and counters_of(id) or nil
  out.orders, out.traffic = orders_of(id), traffic_of(id)
  return out
end

--- Sums for the overview.
function M.summarize(out)
  local state = M.state()
  if state.available then
    local online = 0
    for _, one in ipairs(state.machines) do
      online = online + (one.online and 1 or 0)
    end
    out.machines = { count = #state.machines, online = online }
  end
end

function M.routes()
  api.route("GET machines", "viewer", M.state)
  api.route("GET machines/:id", "viewer", show)
end

return M
