-- main.lua - doses of syrup over HTTP, from a board with a driver of our own.
-- Run it: sipeat dev examples/pump/main.lua
-- then:   curl -sS -X POST http://127.0.0.1:3000/doses/30
-- PUMP_PORT names the port of a real pump; without it, board.lua plays one.
local board = require "board"
local driver = require "driver"
local env = require "sipeat.env"
local http = require "sipeat.http"
local log = require "sipeat.log"
local sipeat = require "sipeat"

local port = env.get "PUMP_PORT"
if not port then
  local played = assert(board.new())
  sipeat.every("1ms", function() played:turn() end)
  port = played.path
end

http.route("POST /doses/:ml", function(request)
  local ml = math.tointeger(request.params.ml)
  if not ml or ml < 1 then
    return { status = 400, json = { error = "how many ml?" } }
  end
  local outcome
  local pump, message, code = driver.open(port) -- the same line each time
  if pump then
    outcome, message, code = pump:dose(ml)
  end
  if not outcome then
    log.warn("no dose", { message = message, code = code })
    return { status = code == "REFUSED" and 409 or 503, json = { error = message, code = code } }
  end
  return { json = { outcome = outcome, ml = ml, pump = pump.version } }
end)
