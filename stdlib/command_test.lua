--- `sipeat test`: finds the tests of scripts, has each run in a world of its own, and says what
--- came of them.
local json = require "sipeat.json"
local junit = require "sipeat.command_junit"
local output = require "sipeat.command_output"
local sys = require "sipeat.core.sys"
local task = require "sipeat.task"
local terminal = require "sipeat.core.terminal"

local M = {}

local OK, FAILED, USAGE, SCRIPT = 0, 1, 2, 3
local SUFFIX = "_test.lua"
local BEGINNING = "2025-01-01T09:00:00Z" -- the time of the day when each test begins
local MAX_DEPTH = 32 -- of folders
local MAX_FILES = 100000

-- --- finding ---

local function search(options, folder, files, depth)
  local entries, message = options.entries(folder)
  if not entries then
    return nil, message
  end
  table.sort(entries, function(a, b)
    return a.name < b.name
  end)
  for _, entry in ipairs(entries) do
    local path = folder .. "/" .. entry.name
    if entry.folder and depth < MAX_DEPTH and not entry.name:find "^%." then
      local ok, why = search(options, path, files, depth + 1)
      if not ok then
        return nil, why
      end
    elseif not entry.folder and entry.name:sub(-#SUFFIX) == SUFFIX and #files < MAX_FILES then
      files[#files + 1] = path
    end
  end
  return true
end

-- The files with tests; or nil and what is wrong with the names that were given.
local function find(options)
  local files, paths = {}, options.paths
  if #paths == 0 then
    paths = { options.entries "tests" and "tests" or "." }
  end
  for _, path in ipairs(paths) do
    if path:sub(-4) == ".lua" then
      files[#files + 1] = path
    else
      local ok, message = search(options, (path:gsub("(.)/+$", "%1")), files, 1)
      if not ok then
        return nil, message
      end
    end
  end
  return files
end

-- --- telling ---

local MARKS = { passed = "ok       ", failed = "not ok   ", skipped = "skipped  " }

local function indent(text)
  return "    " .. (text:gsub("%s+$", ""):gsub("\n", "\n    ")) .. "\n"
end

-- Text of a script keeps its lines and loses what could move a cursor.
local function clean(text)
  local lines = {}
  for line in (text .. "\n"):gmatch "([^\n]*)\n" do
    lines[#lines + 1] = output.printable((line:gsub("\t", "  ")))
  end
  return table.concat(lines, "\n")
end

local function place_of(result)
  return result.line and ("%s:%d"):format(result.file, result.line) or result.file
end

local function tell(result, options)
  if options.json then
    return output.json(result)
  end
  local line = ("%s%s  %s\n"):format(MARKS[result.status], output.printable(result.name),
    place_of(result))
  if result.status == "skipped" then
    line = line .. indent(clean("reason: " .. result.message))
  elseif result.status == "failed" then
    line = line .. indent(clean(result.message))
    if result.traceback and result.traceback ~= "" then
      line = line .. indent(clean(result.traceback))
    end
  end
  if result.output ~= "" and (result.status == "failed" or options.verbose) then
    line = line .. "    --- output\n" .. indent(clean(result.output))
  end
  return terminal.write(line)
end

local function junit_of(results)
  local cases = { name = "sipeat" }
  for i, result in ipairs(results) do
    cases[i] = {
      name = result.name, class = result.file, file = result.file, line = result.line,
      ms = result.real_ms, status = result.status, message = result.message,
      traceback = result.traceback, output = result.output,
    }
  end
  return junit.document { cases }
end

-- --- running ---

-- What a world said of itself: its report, or a failure without one.
local function run(options, file, name, seed)
  local began = sys.monotonic_ms()
  local came = options.run(file, name, seed, sys.parse_time(BEGINNING))
  local report = came.report ~= "" and json.decode(came.report)
  local result = report or { status = "failed", message = came.error or "it left no report" }
  result.output, result.virtual_ms = came.output, came.virtual_ms
  result.real_ms = math.floor(sys.monotonic_ms() - began)
  result.file, result.name, result.seed = file, name, seed
  return result, came.interrupted, not report
end

local function is_wanted(options, file, name)
  local pattern = options.pattern
  return not pattern or name:find(pattern, 1, true) or file:find(pattern, 1, true)
end

local Run = {}
Run.__index = Run

function Run:add(result)
  self.results[#self.results + 1] = result
  self.counts[result.status] = self.counts[result.status] + 1
  tell(result, self.options)
  return result.status == "failed" and self.options.fail_fast
end

-- The tests of a file. True when no more are to run.
function Run:file(file)
  local list, interrupted, broken = run(self.options, file, nil, self.seed)
  self.interrupted = interrupted
  if broken then
    self.broken = true
    list.name = "(the file does not load)"
    return self:add(list) or interrupted
  end
  for _, test in ipairs(list.tests) do
    if is_wanted(self.options, file, test.name) then
      local result
      result, interrupted = run(self.options, file, test.name, self.seed)
      self.interrupted = interrupted
      if self:add(result) or interrupted then
        return true
      end
    end
  end
  return interrupted
end

function Run:summary()
  local counts = self.counts
  if self.options.json then
    return
  end
  terminal.write(("\n%d passed, %d failed, %d skipped (seed %d)\n"):format(
    counts.passed, counts.failed, counts.skipped, self.seed))
end

local function random_seed()
  return (("<I4"):unpack(sys.random(4)))
end

--- Returns the exit code.
function M.run(options)
  local files, message = find(options)
  if not files then
    terminal.note("sipeat test: " .. message)
    return USAGE
  end
  local self = setmetatable({
    options = options, seed = options.seed or random_seed(), results = {},
    counts = { passed = 0, failed = 0, skipped = 0 },
  }, Run)
  for _, file in ipairs(files) do
    if self:file(file) then
      break
    end
  end
  self:summary()
  if self.interrupted then
    task.sleep "1s" -- the signal reaches this loop, too, and ends the wait
  end
  if options.junit then
    local ok, why = sys.write_file(options.junit, junit_of(self.results))
    if not ok then
      terminal.note("sipeat test: " .. why)
      return FAILED
    end
  end
  if #self.results == 0 then
    terminal.note("sipeat test: no test was found"
      .. (options.pattern and " with that name" or " (their files are called *_test.lua)"))
    return FAILED
  end
  return self.counts.failed == 0 and OK or self.broken and SCRIPT or FAILED
end

return M
