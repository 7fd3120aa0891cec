--- What an older version of a script gets in place of compiled-in modules, when it is recalled.
--
-- The version that runs has the timers, routes, consumers and settings. So while an older one
-- loads, its flows are only collected, what it would start does not start, what it would configure
-- stays as it is, and what it would send is refused. Once it has loaded its handlers run, and
-- everything is as in any version.
local M = {}

local function nothing()
  return nil
end

local function yes()
  return true
end

local function refuse()
  return nil, "an older version of the script sends nothing while it loads", "RECALLED"
end

-- The module with functions of our own for as long as the version loads.
local function overlay(version, real, own)
  local made = {}
  for name, f in pairs(own) do
    local original = real[name]
    made[name] = function(...)
      if version.loading then
        return f(...)
      end
      return original(...)
    end
  end
  local meta = getmetatable(real)
  local call, own_call = meta and meta.__call, own.call
  return setmetatable(made, {
    __index = real,
    __call = call and function(...)
      if version.loading and own_call then
        return own_call(...)
      end
      return call(...)
    end,
  })
end

-- An object each of whose methods is f.
local function object(f, fields)
  return setmetatable(fields or {}, {
    __index = function()
      return f
    end,
  })
end

-- A task that the top of the script starts is only there for what waits for it: it begins then.
local Later = {}
Later.__index = Later

local function later(_, real, f, ...)
  return setmetatable({ real = real, call = table.pack(f, ...) }, Later)
end

function Later:join(timeout)
  if not self.task then
    self.task = self.real.spawn(table.unpack(self.call, 1, self.call.n))
    if self.killed then
      self.task:kill()
    end
  end
  return self.task:join(timeout)
end

function Later:kill()
  self.killed = true
  if self.task then
    self.task:kill()
  end
end

function Later:done()
  if self.task then
    return self.task:done()
  end
  return self.killed == true
end

-- Sends once the version has loaded.
local function producer(version, real, options)
  local made
  return setmetatable({}, {
    __index = function(_, name)
      return function(_, ...)
        if version.loading then
          return refuse()
        end
        made = made or real.producer(options)
        return made[name](made, ...)
      end
    end,
  })
end

local function closed()
  return nil, "an older version of the script consumes nothing", "CLOSED"
end

-- module -> f(version, the module) -> what it is for the version
local SHADOWS = {
  ["sipeat.flow"] = function(version, real)
    local function declare(options)
      if not version.loading then
        error("sipeat.flow: flows are declared while the script loads, not later", 2)
      end
      version:declare((real.define(options, 2)))
    end
    return setmetatable({ flow = declare }, {
      __index = real,
      __call = function(_, options)
        return declare(options)
      end,
    })
  end,
  ["sipeat.task"] = function(version, real)
    return overlay(version, real, {
      spawn = function(...)
        return later(version, real, ...)
      end,
    })
  end,
  ["sipeat.background"] = function(version, real)
    local function stopped(name)
      return object(nothing, { name = name, stopped = true })
    end
    return overlay(version, real, { run = stopped, every = stopped })
  end,
  ["sipeat.batch"] = function(version, real)
    return overlay(version, real, {
      new = function(options)
        local made = real.new(options)
        local add = made.add
        function made:add(...)
          if version.loading then
            return false, "full"
          end
          return add(self, ...)
        end
        return made
      end,
    })
  end,
  ["sipeat.http"] = function(version, real)
    return overlay(version, real, {
      route = nothing,
      listen = function(address)
        return object(nothing, { address = address, url = "http://" .. tostring(address) })
      end,
    })
  end,
  ["sipeat.kafka"] = function(version, real)
    return overlay(version, real, {
      consumer = function()
        return object(closed)
      end,
      producer = function(options)
        return producer(version, real, options)
      end,
    })
  end,
}

-- module -> functions that it has while a version loads
local OVERLAYS = {
  ["sipeat.deadletter"] = { replay = refuse },
  ["sipeat.access"] = { mask_rules = nothing, serve = refuse },
  ["sipeat.discord"] = {
    configure = nothing, notify = refuse, send = refuse, send_kafka_event_notification = refuse,
    test = refuse,
  },
  ["sipeat.analytics"] = {
    configure = nothing, track = refuse, identify = refuse, page = refuse, group = refuse,
  },
  ["sipeat.cloudevents"] = { send = refuse },
  ["sipeat.mail"] = { send = refuse },
  ["sipeat.outbox"] = { configure = nothing, call = nothing }, -- call: of the module itself
  ["sipeat.permissions"] = { call = nothing },
  ["sipeat.publish"] = { publish = refuse, send = refuse },
  ["sipeat.push"] = { send = refuse },
  ["sipeat.slack"] = { send = refuse, post = refuse, notify = refuse },
  ["sipeat.sms"] = { send = refuse },
  ["sipeat.stripe"] = { configure = nothing },
  ["sipeat.vending"] = {
    attach = yes, detach = yes, driver = nothing, ledger = nothing, events = nothing,
  },
}

-- Modules that hand out the others: each version has its own.
local PRIVATE = { sipeat = true, ["sipeat.seeds"] = true }

--- The function that a version's `require` asks first.
function M.shadow(version)
  local core = require "sipeat.core.script"
  return function(name, env)
    if PRIVATE[name] then
      return core.builtin(name, env)(name)
    elseif SHADOWS[name] then
      return SHADOWS[name](version, require(name))
    elseif OVERLAYS[name] then
      return overlay(version, require(name), OVERLAYS[name])
    end
    return nil
  end
end

return M
