-- chains_five.lua - five steps whose effects are answered at once.
local sipeat = require "sipeat"

local function done()
  return { answer = "accepted" }
end

local function step(name)
  return { name, run = done, effect = "idempotent" }
end

return sipeat.chain "five" {
  step "reserve", step "pay", step "vend", step "tell", step "close",
}
