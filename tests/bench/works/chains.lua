-- chains.lua - a durable chain of five steps for each event.
local chain = require "chains_five"
local sipeat = require "sipeat"

sipeat.flow {
  topic = os.getenv "BENCH_IN", group = os.getenv "BENCH_GROUP",
  concurrency = tonumber(os.getenv "BENCH_CONCURRENCY"),
  on = { ["*"] = chain },
}
