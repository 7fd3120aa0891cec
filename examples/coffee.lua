-- coffee.lua - the tutorial's script: a chain with undo, a strategy, and a route that publishes.
-- Run it: sipeat dev examples/coffee.lua
local sipeat = require "sipeat"
local discord = require "sipeat.discord"
local http = require "sipeat.http"

local Order = sipeat.event.define("coffee.ordered", {
  customer = "string", drink = "string", beans = "integer?", size = "string?",
}, { topic = "coffee.orders", key = "customer" })

local DRINKS = { espresso = true, lungo = true }

-- Steps: what they do, and how it is taken back. Each tells the topic coffee.log what it did.
local function tell(ctx, text)
  return ctx:emit("coffee.log", ctx.id, text)
end

local make = sipeat.chain "make-coffee" {
  { "beans", effect = "idempotent",
    args = function(event) return { grams = event.data.beans or 8 } end,
    run = function(args, ctx)
      tell(ctx, ("took %d g of beans"):format(args.grams))
      return { grams = args.grams }
    end,
    undo = function(args, _, ctx)
      return tell(ctx, ("put %d g of beans back"):format(args.grams))
    end },
  { "brew", effect = "idempotent",
    args = function(event) return { drink = event.data.drink } end,
    run = function(args, ctx)
      if not DRINKS[args.drink] then
        return sipeat.permanent("no recipe for " .. args.drink, "NO_RECIPE")
      end
      tell(ctx, "brewed a " .. args.drink)
      return { cups = 1 }
    end },
}

local handler = sipeat.strategy(function(event) return event.data.size end, {
  large = function() return sipeat.permanent("large cups are sold out", "SOLD_OUT") end,
  default = make,
})

http.route("POST /orders", function(req)
  local data, message = req:json()
  if not data then
    return { status = 400, json = { error = message } }
  end
  local report, why, code = sipeat.publish(Order, data)
  if not report then
    return { status = code == "INVALID_EVENT" and 422 or 503, json = { error = why } }
  end
  return { status = 202, json = { id = report.id } }
end)

sipeat.flow {
  topic = "coffee.orders", group = "barista", key = "data.customer",
  retry = { attempts = 3, backoff = { "200ms", "5s" } },
  on = { [Order] = discord.notified(handler) }, on_dead = discord.on_dead,
}
