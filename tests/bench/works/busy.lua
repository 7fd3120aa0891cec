-- busy.lua - handlers that compute: as many rounds of a loop as the benchmark asks for.
local output = require "output"
local sipeat = require "sipeat"

local ROUNDS = tonumber(os.getenv "BENCH_ROUNDS")

sipeat.flow {
  topic = output.source,
  group = output.group,
  on = output.handlers(function()
    local sum = 0
    for i = 1, ROUNDS do
      sum = (sum * 31 + i) % 1000003
    end
  end),
}
