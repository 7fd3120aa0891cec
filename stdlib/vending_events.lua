--- What machines say of themselves, as events: machine.status, machine.fault, machine.sale and
--- machine.audit, written to one topic in the order in which they happened.
--
-- They wait in a queue until a broker has them. A sale is marked in the ledger once it is written,
-- and those that are not marked are written at the next start: an id that comes twice is the same
-- sale.
local background = require "sipeat.background"
local event = require "sipeat.event"
local log = require("sipeat.log").new "sipeat.vending"
local publish = require "sipeat.publish"
local sys = require "sipeat.core.sys"
local task = require "sipeat.task"

local M = {}

local MOST = 1000 -- events that wait; then the oldest go, sales at the next start

M.definitions = {
  status = event.define("machine.status", {
    machineId = "string",
    state = "string", -- ready, offline, silent, wrong_board
    driver = "string?",
    role = "string?", -- dispense, payment, audit
    board = "string?",
    port = "string?",
    reason = "string?",
  }, { key = "machineId" }),
  fault = event.define("machine.fault", {
    machineId = "string",
    code = "string",
    reason = "string?",
    slot = "any?",
    approval = "string?",
  }, { key = "machineId" }),
  sale = event.define("machine.sale", {
    machineId = "string",
    slot = "any?",
    approval = "string?",
    proof = "string?",
    quantity = "integer?",
    amountMinor = "integer?",
    dispensedAt = "string?",
  }, { key = "machineId" }),
  audit = event.define("machine.audit", {
    machineId = "string",
    text = "string", -- EVA-DTS, as it was read
    ok = "boolean?", -- its checks hold
  }, { key = "machineId" }),
}

local topic -- nil: nobody wants them
local queue, first, last = {}, 1, 0
local is_writing = false

local function write()
  while first <= last do
    local item = queue[first]
    local ok, message = publish.publish(M.definitions[item.kind], item.data, {
      topic = topic, id = item.id,
    })
    if ok then
      if queue[first] == item then
        queue[first], first = nil, first + 1
      end
      if item.told then
        item.told()
      end
    elseif topic == nil or not task.sleep "1s" then
      break
    else
      log:warn("an event of a machine waits: " .. tostring(message))
    end
  end
  is_writing = false
end

local function tell(kind, machine, data, id, told)
  if not topic then
    return
  end
  data.machineId = machine
  last = last + 1
  queue[last] = { kind = kind, data = data, id = id or sys.uuid(), told = told }
  if last - first >= MOST then
    queue[first], first = nil, first + 1
  end
  if not is_writing then
    is_writing = true
    task.spawn(function()
      task.set_event_id("")
      write()
    end)
  end
end

function M.status(machine, data)
  tell("status", machine, data)
end

function M.fault(machine, data)
  tell("fault", machine, data)
end

function M.audit(machine, data)
  tell("audit", machine, data)
end

--- A sale of an order of the ledger, or one that a board has told of (`order` nil).
function M.sale(machine, order, book, data)
  if not order then
    return tell("sale", machine, data)
  end
  local outcome = order.outcome
  tell("sale", machine, {
    slot = order.slot, approval = order.approval, proof = outcome.proof,
    quantity = outcome.quantity, dispensedAt = outcome.dispensed_at,
  }, sys.sha256(("sale:%s:%s"):format(machine, order.approval)):sub(1, 32), function()
    book:told(order)
  end)
end

--- From now on events go to that topic; nil: nowhere. Sales that the ledger has and nobody was told
--- of follow.
function M.start(name, book)
  local is_new = topic == nil
  topic = name
  if not name then
    queue, first, last = {}, 1, 0
  elseif is_new then
    background.run("vending sales", function()
      for _, order in ipairs(book:untold() or {}) do
        M.sale(order.machine, order, book)
      end
    end)
  end
end

return M
