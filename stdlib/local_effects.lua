--- Effects of kind "local": statements on tables in the journal's own database, in one transaction
--- with the record that says that the step is done.
--
-- Once begun, such a transaction ends by itself, also when the step that asked for it has run out
-- of time: before anything else is decided about the step, its end is awaited.
local core_task = require "sipeat.core.task"
local failure = require "sipeat.failure"
local opts = require "sipeat.opts"
local plain = require "sipeat.plain"
local task = require "sipeat.task"

local M = {}

-- State of a step -> its transaction: { over, results, why, signal }.
local begun = setmetatable({}, { __mode = "k" })

local function check(list)
  if type(list) ~= "table" or #list == 0 then
    error(("ctx:transact: a list of statements is needed, got %s"):format(opts.show(list)), 3)
  end
  for i, statement in ipairs(list) do
    if type(statement) ~= "table" or type(statement[1]) ~= "string" then
      error(("ctx:transact: statement %d: {\"SQL\", value…}, got %s"):format(
        i, opts.show(statement)
      ), 3)
    end
  end
  local text, why = plain.pack(list.result == nil or list.result)
  if not text then
    error("ctx:transact: result is no plain data: " .. why, 3)
  end
  return text
end

-- true when it is over; nil, message, code when this task is stopped first.
local function await(transaction)
  while not transaction.over do
    local ok, message, code = transaction.signal:wait()
    if not ok then
      return nil, message, code
    end
  end
  return true
end

local function begin(journal_run, list, phase, where, record, after)
  local transaction = { signal = core_task.signal() }
  begun[record] = transaction
  task.spawn(function()
    local ok, results, why = failure.catch(journal_run.transact, journal_run, list, phase, where,
      after)
    transaction.results, transaction.why = ok and results or nil, ok and why or results
    if transaction.results then
      record.status, record.result, record.doubt = after.status, after.result, nil
    end
    transaction.over = true
    transaction.signal:wake()
  end)
  return transaction
end

--- The method ctx:transact of a step, whose state is `record`: afterwards that is `status`.
function M.method(run, step, record, phase, status)
  local called = false
  return function(_, list)
    local text = check(list)
    if called then
      error("ctx:transact: once in a step; put all statements into one list", 2)
    elseif not run.ctx.run then
      return nil, failure.permanent("ctx:transact: there is no journal", "JOURNAL_NONE")
    end
    local after = {}
    for key, value in pairs(record) do
      after[key] = value
    end
    after.status, after.doubt = status, nil
    after.result = phase == "outcome" and text or record.result
    called = true
    local transaction =
      begin(run.ctx.run, list, phase, run.places[step.name], record, after)
    local ok, message, code = await(transaction)
    if not ok then
      return nil, message, code
    end
    called = transaction.results ~= nil
    return transaction.results, transaction.why
  end
end

--- Waits for a transaction of the step that was left alone. Whether the step stands at `status` by
--- one; nil and a failure when this task is stopped first.
function M.settled(record, status)
  local transaction = begun[record]
  if not transaction then
    return false
  end
  local ok, message, code = await(transaction)
  if not ok then
    return nil, failure.new(message, code, "cancelled")
  end
  begun[record] = nil
  return transaction.results ~= nil and record.status == status
end

return M
