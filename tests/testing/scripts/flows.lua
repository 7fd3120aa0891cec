--- Flows of every kind, for flow_test.lua.
local sipeat = require "sipeat"
local http = require "sipeat.http"
local task = require "sipeat.task"

local ticks, ended = 0, {}

sipeat.every("5m", function()
  ticks = ticks + 1
  assert(sipeat.publish("tick", { n = ticks }, { topic = "ticks" }))
end)

-- Fails data.fails times, then puts out how often it ran.
local function flaky(event, ctx)
  if ctx.attempt <= (event.data.fails or 0) then
    return nil, "not yet"
  end
  ctx:emit("flaky.out", event.key, { attempt = ctx.attempt }, { at = os.date("!%H:%M:%S") })
  return { attempt = ctx.attempt }
end

sipeat.flow {
  topic = "flaky", group = "flaky", retry = { attempts = 4, backoff = { "10s", "10m" } },
  on = {
    ["work"] = flaky,
    ["slow"] = function(event)
      task.sleep(event.data.time)
      return { slept = event.data.time }
    end,
    ["ended"] = function(event, ctx)
      ctx:on_end(function(outcome)
        ended[#ended + 1] = outcome.status
        ctx.log:info "the end was told"
      end)
      if event.data.dies then
        return nil, sipeat.permanent("no use", "NO_USE")
      end
    end,
  },
}

sipeat.flow {
  topic = "limited", group = "limited", timeout = "2s", retry = { attempts = 2 },
  on = { ["slow"] = function() task.sleep "1h" end },
}

sipeat.flow {
  topic = "later", group = "later", order = "none",
  retry = { attempts = 3, topics = { "1m", "1h" } },
  on = { ["work"] = flaky },
}

sipeat.flow {
  topic = "exact", group = "exact", transactional = true, retry = { attempts = 4 },
  on = { ["work"] = flaky },
}

sipeat.flow { topic = "boxed", group = "boxed", outbox = true, on = { ["work"] = flaky } }

sipeat.flow {
  topics = { "^any[.].*" }, group = "any",
  on = {
    ["*"] = function(event, ctx)
      ctx:emit("flaky", event.key, event.value, event.headers)
    end,
  },
}

for _, group in ipairs { "first", "second" } do
  sipeat.flow { topic = "both", group = group, on = { ["*"] = function() return group end } }
end

sipeat.flow {
  topic = "calls", group = "calls", retry = { attempts = 3, backoff = { "1s", "1s" } },
  on = {
    ["call"] = function(event)
      local answer, message, code = http.request {
        method = event.data.method or "GET", url = event.data.url, json = event.data.body,
        timeout = "5s",
      }
      if not answer then
        return nil, message, code
      elseif answer.status >= 500 then
        return nil, "status " .. answer.status
      end
      return { status = answer.status, body = answer.body }
    end,
  },
}
