-- slow.lua - handlers that wait, as those do that ask another service.
local output = require "output"
local sipeat = require "sipeat"

local WAIT = os.getenv "BENCH_WAIT_MS" .. "ms"

sipeat.flow {
  topic = output.source,
  group = output.group,
  concurrency = tonumber(os.getenv "BENCH_CONCURRENCY"),
  on = output.handlers(function(ctx)
    ctx:sleep(WAIT)
  end),
}
