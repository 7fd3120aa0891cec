--- Mail in a test: a server that takes messages as strictly as a real one, keeps them, and can be
--- told to misbehave.
local env = require "sipeat.testing_env"
local opts = require "sipeat.opts"
local task = require "sipeat.task"
local transfers = require "sipeat.core.http"

local M = {}

local MAIL = opts.spec("sipeat.testing.mail", { url = { "string", default = "smtp://mail.test" } })

-- What a server may do instead of taking the mail and saying so: { taken, late, message, code }.
local MODES = {
  refused = { false, false, "550 no such user here", "SMTP_REFUSED" },
  temporary = { false, false, "451 try again later", "SMTP_TEMPORARY" },
  ["connection refused"] = { false, false, "connection refused", "ECONNREFUSED" },
  ["no answer"] = { false, true, "timed out", "ETIMEDOUT" },
  ["late answer"] = { true, true, "timed out while waiting for the answer", "ETIMEDOUT" },
}

local server -- what t.mail made, or nil
local problems = {}
local real_core

local Server = {}
Server.__index = Server

--- The next mails meet these, one each: "refused" | "temporary" | "connection refused" |
--- "no answer" | "late answer" (taken, and the sender does not hear of it) | "ok".
function Server:next(...)
  for _, mode in ipairs { ... } do
    if mode ~= "ok" and not MODES[mode] then
      local known = table.concat(opts.names(MODES), ", ")
      error(("t.mail: next: %s is none of ok, %s"):format(opts.show(mode), known), 2)
    end
    self.modes[#self.modes + 1] = mode
  end
  return self
end

--- How many different messages were taken: one that came again under its Message-ID counts once.
function Server:count()
  local n = 0
  for _ in pairs(self.by_id) do
    n = n + 1
  end
  return n
end

local function take(mail, mime)
  local taken = { mime = mime }
  for name, value in pairs(mail) do
    taken[name] = value
  end
  server.messages[#server.messages + 1] = taken
  server.by_id[mail.message_id] = (server.by_id[mail.message_id] or 0) + 1
  return {}
end

local function send(mail, request)
  transfers.permit(request.url)
  local mime, message, code = real_core.render(mail)
  if not mime then
    return nil, message, code
  elseif not server then
    message = ("an unexpected mail: %s to %s (declare a server with t.mail{})"):format(
      opts.show(mail.subject), table.concat(mail.to, ", "))
    problems[#problems + 1] = message
    return nil, message, "UNEXPECTED_MAIL"
  end
  local mode = MODES[table.remove(server.modes, 1)]
  if not mode then
    return take(mail, mime)
  end
  if mode[1] then
    take(mail, mime)
  end
  local slept
  slept, message, code = task.sleep((mode[2] and request.timeout_ms or 0) .. "ms")
  if not slept then
    return nil, message, code
  end
  return nil, ("mail to %s: %s"):format(request.url, mode[3]), mode[4]
end

--- Starts the server of the test and puts its address into SMTP_URL. `messages` are those that it
--- took, `by_id` says how often each Message-ID came.
function M.mail(options)
  local o = MAIL(options)
  server = setmetatable({ messages = {}, by_id = {}, modes = {}, url = o.url }, Server)
  env.set("SMTP_URL", o.url)
  return server
end

--- What sipeat.core.smtp is in a test.
function M.open(real)
  real_core = real
  return { address = real.address, render = real.render, send = send }
end

--- What was wrong with the mails of the test: texts.
function M.problems()
  return problems
end

return M
