--- Runs one test in its world, and reports what came of it. Called by runtime/cli/test_world.c.
local core = require "sipeat.core.testing"
local json = require "sipeat.json"
local runner = require "sipeat.testing_runner"
local task = require "sipeat.task"

local M = {}

local GRACE = "1h" -- of virtual time, for tasks that end by themselves
local SHOWN_LEAKS = 5

--- Before the file of the test is loaded.
function M.begin(options)
  math.randomseed(options.seed)
  require("sipeat.testing_world").set_file(options.file)
end

local function report(value)
  core.report(assert(json.encode(value)))
end

-- The first line of the file in a traceback or a message.
local function line_of(text, file)
  local name = file:match("[^/]*$"):gsub("%p", "%%%0")
  return math.tointeger(text:match(name .. ":(%d+):") or nil)
end

-- A traceback without what is below the test.
local function above(trace)
  local cut = trace:find("\n%s*%[C%]: in function 'xpcall'\n%s*stdlib/testing_run", 1)
  trace = trace:sub(1, cut and cut - 1 or -1):gsub("^\n", "")
  return (trace:gsub("^(stack traceback:)\n%s*%[C%]: in %?", "%1", 1))
end

local function caught(raised)
  local text = type(raised) == "table" and rawget(raised, "message") or tostring(raised)
  return { raised = raised, text = tostring(text), traceback = above(debug.traceback("", 2)) }
end

-- What f() raised, or nil.
local function attempt(f)
  local ok, what = xpcall(f, caught)
  if ok or type(what) == "table" and what.text then
    return not ok and what or nil
  end
  return { raised = what, text = tostring(what), traceback = "" } -- out of memory
end

local function run_test(test)
  local failed
  for _, f in ipairs(runner.before) do
    failed = failed or attempt(f)
  end
  failed = failed or attempt(test.f)
  for i = #runner.after, 1, -1 do
    failed = attempt(runner.after[i]) or failed
  end
  return failed
end

-- Tasks of the script, or of the test, that would run for ever.
local function leaks()
  local count, list = core.tasks()
  local found = {}
  for i = 1, math.min(count, #list) do
    local trace = list[i]
    if trace:find "%.lua:%d+: in" and trace:find "\n%s*/[^\n]*%.lua:%d+:" then
      found[#found + 1] = trace
    end
  end
  return found
end

local function check_leaks()
  require("sipeat.background").stop()
  if #leaks() == 0 then
    return nil
  end
  task.sleep(GRACE)
  local found = leaks()
  if #found == 0 then
    return nil
  end
  local text = ("%d task(s) still run an hour after the test:"):format(#found)
  return text .. "\n" .. table.concat(found, "\n", 1, math.min(#found, SHOWN_LEAKS))
end

local function failure_of(failed, options, test)
  local both = failed.text .. failed.traceback
  return {
    status = "failed", message = failed.text, traceback = failed.traceback,
    line = line_of(both, options.file) or test.line,
  }
end

-- Problems that no assertion has seen.
local function check_world(result)
  local problems = {}
  for _, module in ipairs { "sipeat.testing_http", "sipeat.testing_smtp" } do
    for _, text in ipairs(require(module).problems()) do
      problems[#problems + 1] = text
    end
  end
  if result.status == "passed" and #problems == 0 then
    problems[1] = check_leaks()
  end
  if #problems > 0 then
    local text = table.concat(problems, "\n")
    result.message = result.message and result.message .. "\n" .. text or text
    result.status = "failed"
  end
  return result
end

-- It was stopped: where its tasks stood.
local function stopped(body, options, verdict, message)
  local _, list = core.tasks()
  local name, traces = options.file:match "[^/]*$", {}
  for _, one in ipairs(list) do
    traces[#traces + 1] = one:find(name, 1, true) and above(one) or nil
  end
  traces[#traces + 1] = body:done() and tostring(message) or nil
  body:kill()
  local text = table.concat(traces, "\n")
  return {
    status = "failed", message = verdict, traceback = text, line = line_of(text, options.file),
  }
end

local function run_one(options, test)
  local failed, ended
  local body = task.spawn(function()
    failed, ended = run_test(test), true
  end)
  local _, message = body:join()
  local verdict = core.verdict()
  if verdict then
    local result = stopped(body, options, verdict, message)
    result.line = result.line or test.line
    return result
  elseif not ended then -- stopped where it could not catch: over its time, or out of memory
    failed = { text = tostring(message), traceback = "" }
  end
  local reason = failed and runner.skip_reason(failed.raised)
  if reason then
    return { status = "skipped", message = reason, line = test.line }
  end
  return check_world(failed and failure_of(failed, options, test)
    or { status = "passed", line = test.line })
end

--- Runs the test of that name, or only says which ones there are.
function M.run(options)
  if not options.name then
    local list = json.array {}
    for i, test in ipairs(runner.tests) do
      list[i] = { name = test.name, line = test.line }
    end
    report { tests = list }
    return 0
  end
  report(run_one(options, runner.tests[options.name]))
  return 0
end

return M
