-- chains.lua - five steps for each event, whose effects are answered at once.
local sipeat = require "sipeat"

local function done()
  return { answer = "accepted" }
end

local function step(name)
  return { name, run = done, effect = "idempotent" }
end

sipeat.flow {
  topic = os.getenv "BENCH_IN", group = os.getenv "BENCH_GROUP",
  concurrency = tonumber(os.getenv "BENCH_CONCURRENCY"),
  on = {
    ["*"] = sipeat.chain "five" {
      step "reserve", step "pay", step "vend", step "tell", step "close",
    },
  },
}
