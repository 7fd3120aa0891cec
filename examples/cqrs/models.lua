--- The read side: two projections of the ledger, each with tables that answer one question.
local ledger = require "ledger"
local sipeat = require "sipeat"

local M = {}

local READ_DB = sipeat.env.get("READ_DB", "./cqrs-read.db")

local MOVE = [[INSERT INTO {stock} VALUES (?, ?, ?, ?)
  ON CONFLICT (machine, slot) DO UPDATE SET
    drink = coalesce(excluded.drink, {stock}.drink), units = {stock}.units + excluded.units]]

local function moves(sign)
  return function(event, rows)
    local data = event.data
    local units = sign * (data.units or 1)
    return rows:exec(MOVE, data.machineId, data.slot, data.drink, units)
  end
end

--- What is in each slot of each machine.
M.stock = sipeat.projection {
  name = "stock", version = 1, topic = ledger.TOPIC, db = READ_DB, sequence = true,
  tables = {
    stock = "machine TEXT, slot BIGINT, drink TEXT, units BIGINT NOT NULL, "
      .. "PRIMARY KEY (machine, slot)",
  },
  on = {
    ["stock.refilled"] = moves(1),
    ["stock.corrected"] = moves(1),
    ["drink.sold"] = moves(-1),
  },
}

local SALE = [[INSERT INTO {sales} VALUES (?, ?, 1, ?)
  ON CONFLICT (drink, day) DO UPDATE SET
    sold = {sales}.sold + 1, cents = {sales}.cents + excluded.cents]]

--- What was sold of each drink on each day.
M.sales = sipeat.projection {
  name = "sales", version = 1, topic = ledger.TOPIC, db = READ_DB, sequence = true,
  tables = {
    sales = "drink TEXT, day TEXT, sold BIGINT NOT NULL, cents BIGINT NOT NULL, "
      .. "PRIMARY KEY (drink, day)",
  },
  indexes = { "sales (day)" },
  on = {
    ["drink.sold"] = function(event, rows)
      return rows:exec(SALE, event.data.drink, event.time:sub(1, 10), event.data.cents)
    end,
  },
}

return M
