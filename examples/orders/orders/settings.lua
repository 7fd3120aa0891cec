--- What the environment says, under the names of the example's README.
local env = require "sipeat.env"
local money = require "sipeat.money"
local opts = require "sipeat.opts"

local M = {}

M.partitions = 3

function M.topic()
  return env.get("KAFKA_TOPIC", "order-events")
end

--- The group of a service. A script that runs one service alone takes it from the environment, as
--- in KAFKA_CONSUMER_GROUP=order-service-prod.
function M.group(service, alone)
  local chosen = alone and (env.get "KAFKA_CONSUMER_GROUP" or env.get "KAFKA_GROUP_ID")
  return chosen or service
end

--- The SQLite file of a service: beside the script's own in `sipeat dev`, else here.
function M.database(variable, name)
  local folder = env.get("SIPEAT_DB", "./"):match "^(.*/)" or "./"
  return env.get(variable, folder .. name)
end

function M.currency()
  return env.get("ORDERS_CURRENCY", "EUR")
end

--- What is added to the sum of an order's lines, as money.
function M.fee()
  local fee = tonumber(env.get("ORDERS_FEE", "0.50"))
  local amount, message = money.of(fee, M.currency())
  return amount or error("ORDERS_FEE: " .. message, 0)
end

--- How old what a request led to is, in ms, when it is sent again unless Kafka has it.
function M.unsent_after()
  local text = env.get("ORDERS_UNSENT_AFTER", "30s")
  local ms, why = opts.duration_ms(text)
  return ms or error("ORDERS_UNSENT_AFTER: " .. why, 0)
end

--- The stock to begin with, of foods that are not counted yet: { { food_id, available } } of
--- ORDERS_STOCK="food-001=3, food-002=7".
function M.stock()
  local list = {}
  for entry in env.get("ORDERS_STOCK", ""):gmatch "[^,]+" do
    local food, count = entry:match "^%s*([^=]-)%s*=%s*(%d+)%s*$"
    if not food or food == "" then
      error(("ORDERS_STOCK: %q is not as in food-001=3"):format(entry), 0)
    end
    list[#list + 1] = { food_id = food, available = math.tointeger(tonumber(count)) }
  end
  return list
end

--- Whether orders go on by themselves once they are confirmed: cooked, fetched and delivered.
function M.autopilot()
  return env.get("ORDERS_AUTOPILOT", "off") == "on"
end

return M
