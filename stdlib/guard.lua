--- What breaker, rate_limit, bulkhead and retry_budget share: states by name, and wrapping.
--
-- A state belongs to its name, not to a version of the script: every wrapper of a name has the same
-- one, and it outlives a reload. What a version that loads declares is applied when it is taken
-- over (commit) and forgotten when it is refused (rollback); a name that it does not declare is
-- forgotten then, though whoever still holds its state goes on with it.
local failure = require "sipeat.failure"
local opts = require "sipeat.opts"

local M = {}

local NAMES_MAX = 10000 -- of one kind
local REFUSED = { BREAKER_OPEN = true, BULKHEAD_FULL = true, RETRY_BUDGET = true }

local kinds = {}
local loading = false

--- Coroutines in which an older version of the script loads: it gets the states that there are,
--- with their options, and the declarations of the version that runs stay as they are.
M.aside = setmetatable({}, { __mode = "k" })

local Kind = {}
Kind.__index = Kind

--- A kind of state. `spec` checks the options, of which `name` is one; make(name, options) gives a
--- new state, and state:apply(options) takes over others.
function M.kind(label, spec, make)
  local kind = setmetatable({
    label = label, spec = spec, make = make, states = {}, count = 0,
    declared = {}, -- name -> options, by what runs
    pending = {}, -- the same, by what loads
  }, Kind)
  kinds[#kinds + 1] = kind
  return kind
end

local function same(a, b)
  for _, pair in ipairs { { a, b }, { b, a } } do
    for key, value in pairs(pair[1]) do
      local other = pair[2][key]
      if type(value) == "table" and type(other) == "table" then
        if not same(value, other) then
          return false
        end
      elseif type(value) ~= "function" and value ~= other then
        return false
      end
    end
  end
  return true
end

-- Options that say nothing but the name refer to what another place declares.
local function is_reference(options)
  return next(options, next(options)) == nil
end

local function add(kind, name, o, level)
  if kind.count >= NAMES_MAX then
    error(("%s: more than %d names"):format(kind.label, NAMES_MAX), level + 1)
  end
  local state = kind.make(name, o)
  kind.states[name], kind.count = state, kind.count + 1
  return state
end

--- The state of options.name, made when it is new. Throws at `level` when the options are wrong, or
--- differ from those that the same version of the script gave that name elsewhere.
function Kind:declare(options, level)
  local reference = type(options) == "table" and options.name ~= nil and is_reference(options)
  local name = reference and options.name
  if reference and self.states[name] then
    if M.aside[coroutine.running()] then
      return self.states[name]
    end
    self.pending[name] = self.pending[name] or false
    return self.states[name]
  end
  local o = self.spec(options, level + 1)
  name = o.name
  if M.aside[coroutine.running()] then
    return self.states[name] or add(self, name, o, level + 1)
  end
  local before = self.pending[name] or not loading and self.declared[name]
  if before and not same(before, o) then
    local why = "%s: %s is declared with other options already (give them once, and { name = %q } "
      .. "elsewhere)"
    error(why:format(self.label, name, name), level + 1)
  end
  local state = self.states[name] or add(self, name, o, level + 1)
  self.pending[name] = not reference and o or self.pending[name] or false
  if not loading then
    self:commit()
  end
  return state
end

--- The states by name, sorted: a list.
function Kind:all()
  local list = {}
  for i, name in ipairs(opts.names(self.states)) do
    list[i] = self.states[name]
  end
  return list
end

local function forget(kind, name)
  kind.states[name], kind.declared[name], kind.count = nil, nil, kind.count - 1
end

-- With `loaded`, names that are not pending are forgotten.
function Kind:commit(loaded)
  for name, o in pairs(self.pending) do
    if o then
      self.states[name]:apply(o)
    end
    self.declared[name] = o or self.declared[name] or false
  end
  for name in pairs(loaded and self.states or {}) do
    if self.pending[name] == nil then
      forget(self, name)
    end
  end
  self.pending = {}
end

function Kind:rollback()
  for name in pairs(self.pending) do
    if self.declared[name] == nil then
      forget(self, name)
    end
  end
  self.pending = {}
end

--- A version of the script begins to load.
function M.begin()
  loading = true
end

--- It has loaded.
function M.commit()
  loading = false
  for _, kind in ipairs(kinds) do
    kind:commit(true)
  end
end

--- It has not.
function M.rollback()
  loading = false
  for _, kind in ipairs(kinds) do
    kind:rollback()
  end
end

--- What a call answers that was not made: trying again helps, from retry_at_ms on (on the monotonic
--- clock) when that is known.
function M.refusal(message, code, retry_at_ms)
  local why = failure.new(message, code, "transient")
  why.refused, why.retry_at_ms = true, retry_at_ms and math.ceil(retry_at_ms)
  return why
end

--- Is it a refusal, or made of the code of one?
function M.is_refusal(why)
  return why.refused == true or REFUSED[why.code] == true
end

-- Functions of a table become wrapped ones when they are first asked for; the rest is as it is.
local function proxy(target, around, only)
  local made, self = {}, {}
  local function as_target(f)
    return function(...)
      if ... == self then
        return f(target, select(2, ...))
      end
      return f(...)
    end
  end
  local call = opts.is_callable(target) and around(function(...)
    return target(...)
  end)
  return setmetatable(self, {
    __index = function(_, name)
      local value = target[name]
      if type(value) ~= "function" then
        return value
      elseif not made[name] or made[name].of ~= value then
        local f = as_target(value)
        made[name] = { of = value, f = (not only or only[name]) and around(f) or f }
      end
      return made[name].f
    end,
    __call = call and function(_, ...)
      return call(...)
    end or nil,
  })
end

--- What a wrapper makes of a function, or of a table with functions: around(f) gives the function
--- that stands for f. `only` names the functions of a table that are meant (nil: all).
function M.wrap(label, target, around, only, level)
  if type(target) == "function" then
    return around(target)
  elseif type(target) ~= "table" then
    local why = "%s: expected a function, or a table of functions, got %s"
    error(why:format(label, opts.show(target)), (level or 2) + 1)
  end
  local names
  for _, name in ipairs(only or {}) do
    if type(target[name]) ~= "function" then
      error(("%s: only: the table has no function %s"):format(label, name), (level or 2) + 1)
    end
    names = names or {}
    names[name] = true
  end
  return proxy(target, around, names)
end

--- The __call of a kind's module: takes options, and gives what wraps a target. around(state) is
--- the `around` of M.wrap for a state.
function Kind:wrapper(around)
  return function(_, options)
    local state = self:declare(options, 2)
    local only = type(options) == "table" and options.only or nil
    return function(target)
      return (M.wrap(self.label .. " " .. state.name, target, around(state), only, 2))
    end
  end
end

return M
