--- Tests of scripts, run by `sipeat test`: local t = require "sipeat.testing".
--
-- Each test runs in a state of its own, in which Kafka, HTTP and mail are fakes and time is
-- virtual: it jumps to the next timer whenever nothing else is left to do.
local assertions = require "sipeat.testing_assert"
local fakes = require "sipeat.testing_fakes"
local http = require "sipeat.testing_http"
local httpd = require "sipeat.testing_httpd"
local opts = require "sipeat.opts"
local runner = require "sipeat.testing_runner"
local smtp = require "sipeat.testing_smtp"
local task = require "sipeat.task"
local world = require "sipeat.testing_world"

local M = {}

M.eq, M.ok, M.has, M.raises = assertions.eq, assertions.ok, assertions.has, assertions.raises
M.load, M.env, M.deliver, M.settle = world.load, world.env, world.deliver, world.settle
M.published, M.dead_letters = world.published, world.dead_letters
M.http = { on = http.on, expect = http.expect, calls = http.calls, ordered = http.ordered }
M.request = httpd.request
M.mail, M.discord, M.payments = smtp.mail, fakes.discord, fakes.payments
M.now_ms = task.now_ms

local tests, before, after = runner.tests, runner.before, runner.after

local function check_function(what, f, level)
  if type(f) ~= "function" then
    error(("%s: a function is needed, got %s"):format(what, opts.show(f)), level + 1)
  end
end

--- Declares a test.
---@param name string
---@param f fun()
function M.test(name, f)
  if type(name) ~= "string" or name == "" then
    error("t.test: a test has a name, got " .. opts.show(name), 2)
  end
  check_function("t.test " .. name, f, 2)
  if tests[name] then
    error(("t.test: two tests are called %s"):format(opts.show(name)), 2)
  end
  local at = debug.getinfo(2, "l")
  tests[name] = { name = name, f = f, line = at and at.currentline or 0 }
  tests[#tests + 1] = tests[name]
end

--- f() runs before each test of the file, in the order of declaration.
function M.before(f)
  check_function("t.before", f, 2)
  before[#before + 1] = f
end

--- f() runs after each test of the file, also after one that failed; the last one declared first.
function M.after(f)
  check_function("t.after", f, 2)
  after[#after + 1] = f
end

--- Ends the test here; it counts as skipped, for this reason.
function M.skip(reason)
  if type(reason) ~= "string" or reason == "" then
    error("t.skip: give the reason", 2)
  end
  runner.skip(reason)
end

--- Ends the test here: it has failed.
function M.fail(message)
  error(tostring(message), 2)
end

--- Runs f(run) again and again; the host that runs its chain dies at another point each time.
--- See sipeat.simulation.
function M.crash_at_every_step(f, options)
  return require("sipeat.simulation").crash_at_every_step(f, options)
end

--- Lets virtual time pass: whatever is due meanwhile happens, in order.
---@param duration string as in "3d"
function M.advance(duration)
  return task.sleep(duration)
end

return M
