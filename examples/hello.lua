-- hello.lua - greets each customer and tells Discord how it went.
local sipeat = require "sipeat"
local discord = require "sipeat.discord"

local Hello = sipeat.event.define("customer.hello", { name = "string", cups = "integer?" })

local function greet(event, ctx)
  local cups = event.data.cups or 1
  if cups > 3 then
    return nil, sipeat.permanent("more than three cups are not sold")
  end
  ctx.log:info(("good morning, %s: %d cup(s)"):format(event.data.name, cups))
  ctx:emit("hello.greeted", event.key, event.data.name)
  return { greeted = event.data.name }
end

sipeat.flow {
  topic = "hello.events", group = "hello", retry = { attempts = 3, backoff = { "200ms", "5s" } },
  dead_letter = true, on = { [Hello] = discord.notified(greet) },
}
