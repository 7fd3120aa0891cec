--- Factory: a handler that is made for each event.
local failure = require "sipeat.failure"
local opts = require "sipeat.opts"

--- Makes a handler that calls make(event, ctx) for each attempt of an event and runs what it gives.
--- make may also answer nil, message, code. For the same event it must make the same steps: a chain
--- that has begun goes on only in one that still has the steps it ran.
return function(make)
  if not opts.is_callable(make) then
    error(("sipeat.factory: expected a function, got %s"):format(opts.show(make)), 2)
  end
  return function(event, ctx)
    local handler, message, code = make(event, ctx)
    if failure.is(handler) then
      return nil, handler
    elseif handler == nil and message ~= nil then
      return nil, message, code
    elseif not opts.is_callable(handler) then
      local text = "sipeat.factory: made %s instead of a handler"
      return nil, failure.new(text:format(opts.show(handler)), "SCRIPT_ERROR", "bug")
    end
    return handler(event, ctx)
  end
end
