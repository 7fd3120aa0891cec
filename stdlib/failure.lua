--- Failures as values: what went wrong, its code, and whether trying again can help.
--
-- kind "transient"  may pass: try again
--      "timeout"    as transient; whether it happened is not known
--      "permanent"  trying again cannot help, and the effect is known not to have happened
--      "bug"        a script raised something that is no failure
--      "cancelled"  the task was stopped from outside: no verdict on the event, never a dead letter
local core = require "sipeat.core.task"
local core_json = require "sipeat.core.json"

local M = {}

local Failure = { __name = "sipeat.failure" }
Failure.__index = Failure

-- As a text would: clients put what went wrong behind what they tried.
function Failure.__concat(a, b)
  return tostring(a) .. tostring(b)
end

function Failure:__tostring()
  return self.message
end

local KINDS = { transient = true, permanent = true, bug = true, timeout = true, cancelled = true }

-- Codes that say by themselves that trying again cannot help: the data is what it is.
local DATA_CODES = {
  BAD_DATA = true,
  FINAL_STATE = true,
  ILLEGAL_TRANSITION = true,
  INVALID_ADDRESS = true,
  INVALID_EVENT = true,
  NEWER_VERSION = true,
  NO_UPCASTER = true,
  SMTP_REFUSED = true, -- a 5xx; a 4xx is SMTP_TEMPORARY
  TOO_BIG = true,
  UNKNOWN_STATE = true,
  UNKNOWN_TYPE = true,
  UPCAST_FAILED = true,
}

-- Codes of a request that certainly never reached its receiver, or was turned away before it acted.
local NEVER_STARTED = {
  BREAKER_OPEN = true,
  BULKHEAD_FULL = true,
  ECONNREFUSED = true,
  EDNS = true,
  EHOSTUNREACH = true,
  ENETUNREACH = true,
  ETLS = true, -- no handshake, so no request
  INVALID_URL = true,
  NOT_SENT = true,
  RATE_LIMITED = true,
  RETRY_BUDGET = true,
}

-- Permanent, and yet no proof that nothing happened: an answer that could not be read, or was too
-- large to be taken, may well have been a yes.
local PROVES_NOTHING = { BAD_DATA = true, TOO_BIG = true, UNKNOWN_OUTCOME = true }

local function kind_of(code)
  if DATA_CODES[code] then
    return "permanent"
  elseif code == "ECANCELED" then
    return "cancelled"
  elseif code == "ETIMEDOUT" then
    return "timeout"
  end
  return "transient"
end

--- A failure with a message, a code (default "FAILED") and a kind (default: what the code implies).
function M.new(message, code, kind)
  if kind ~= nil and not KINDS[kind] then
    error(("failure.new: unknown kind %q"):format(tostring(kind)), 2)
  end
  return setmetatable({
    message = tostring(message),
    code = code or "FAILED",
    kind = kind or kind_of(code),
  }, Failure)
end

--- Trying again cannot help, and what was asked for did not happen.
function M.permanent(message, code)
  return M.new(message, code or "PERMANENT", "permanent")
end

--- Trying again may help.
function M.transient(message, code)
  return M.new(message, code, "transient")
end

function M.is(value)
  return getmetatable(value) == Failure
end

--- Is it certain that the effect did not happen?
function M.proves_absence(failure)
  if PROVES_NOTHING[failure.code] then
    return false
  end
  return failure.kind == "permanent" or NEVER_STARTED[failure.code] == true
end

local function has_some(list)
  return list ~= nil and next(list) ~= nil
end

--- Did it leave something behind that a person has to look at: an outcome that nobody knows, or
--- what could not be undone?
function M.in_doubt(failure)
  if failure.code == "UNKNOWN_OUTCOME" or has_some(failure.not_undone)
    or not failure.decided_by and has_some(failure.unknown) then
    return true
  end
  for _, part in pairs(failure.failures or {}) do
    if M.in_doubt(part) then
      return true
    end
  end
  return false
end

--- The failure that `nil, message, code` stands for; `message` may be a failure already.
function M.of(message, code)
  if M.is(message) then
    return message
  end
  return M.new(message == nil and "failed without a message" or message, code)
end

local MARK = "~failure" -- the one key of what stands for a failure in plain data

--- A value as plain data: failures in it become tables that from_plain knows.
function M.to_plain(value)
  if type(value) ~= "table" then
    return value
  end
  local out = {}
  for key, item in next, value do
    out[key] = M.to_plain(item)
  end
  return M.is(value) and { [MARK] = out } or setmetatable(out, getmetatable(value))
end

--- The JSON text of to_plain(value), in one go; nil, message, code when it has none.
M.encode = core_json.encoder(Failure, MARK)

--- What to_plain was given.
function M.from_plain(value)
  if type(value) ~= "table" then
    return value
  end
  local why = rawget(value, MARK)
  local out = setmetatable({}, why and Failure or getmetatable(value))
  for key, item in pairs(why or value) do
    out[key] = M.from_plain(item)
  end
  return out
end

--- What a raised value becomes: the message handler of an xpcall.
M.caught = core.guard(function(value)
  if M.is(value) then
    return value
  end
  local text = type(value) == "string" and value or ("raised %s"):format(tostring(value))
  local failure = M.new(text, "SCRIPT_ERROR", "bug")
  failure.traceback = debug.traceback(text, 2)
  return failure
end)

--- The failure that a function's results stand for: a failure, or nil, message, code. Else nil.
function M.of_results(first, second, third)
  if M.is(first) then
    return first
  elseif (first == nil or first == false) and second ~= nil then
    return M.of(second, third)
  end
end

--- Results of an xpcall with M.caught as the caller of catch gets them.
function M.sort_out(ok, first, second, third, ...)
  if not ok then -- no failure: memory is out, or the event is over its budget
    return nil, M.is(first) and first or M.new(first, core.over() or "SCRIPT_ERROR", "bug")
  end
  local why = M.of_results(first, second, third)
  if why then
    return nil, why
  end
  return true, first, second, third, ...
end

--- Runs f(...). true and its results, or nil and a failure: one that it raised, returned, or gave
--- as nil, message, code. Anything else that is raised becomes a failure of kind "bug" with its
--- traceback.
M.catch = core.catcher(M.caught, Failure, M.sort_out)

return M
