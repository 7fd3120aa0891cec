--- Strategy: one of several handlers, chosen for each event.
local context = require "sipeat.context"
local failure = require "sipeat.failure"
local opts = require "sipeat.opts"
local place = require "sipeat.place"

local function check(what, value)
  if not opts.is_callable(value) then
    local why = "sipeat.strategy: %s: expected a function, got %s"
    error(why:format(what, opts.show(value)), 3)
  end
end

--- Makes one handler of several: select(event, ctx) gives the name of the one to run. A name that
--- is not there runs `default`; without a default it is a permanent failure that names the choices.
--- The choice is made once for an event: a retry takes the same one.
return function(select, handlers)
  check("the first argument, which selects", select)
  if type(handlers) ~= "table" or next(handlers) == nil then
    error("sipeat.strategy: a table of handlers by name is needed", 2)
  end
  local choices = {}
  for name, handler in pairs(handlers) do
    check(tostring(name), handler)
    choices[name] = handler
  end
  local names = opts.names(choices)
  return function(event, ctx)
    ctx = context.complete(event, ctx)
    local name = ctx.memory.strategy
    if name == nil then
      local chosen, message, code = select(event, ctx)
      if failure.is(chosen) then
        return nil, chosen
      elseif chosen == nil and message ~= nil then
        return nil, message, code
      end
      name = choices[chosen] and chosen or "default"
      if not choices[name] then
        local text = "no strategy %s (there are: %s)"
        return nil, failure.permanent(
          text:format(opts.show(chosen), table.concat(names, ", ")), "UNKNOWN_STRATEGY"
        )
      end
      ctx.memory.strategy = name
      local ok, why = context.keep(ctx, "state", place.below(ctx.place, "strategy"), name, true)
      if not ok then
        return nil, why
      end
    end
    return choices[name](event, context.child(ctx, "strategy", tostring(name)))
  end
end
