--- A Discord for `sipeat dev`: takes webhook messages at /capture/discord/webhooks/<id>/<token>,
--- refuses what Discord would refuse, with its errors, and keeps the others for the capture page.
local capture = require "sipeat.capture"
local json = require "sipeat.json"
local limits = require "sipeat.discord_limits"
local sys = require "sipeat.core.sys"

local M = {}

local messages = 0

local function answer(status, value)
  local headers = { ["content-type"] = "application/json" }
  return { status = status, headers = headers, body = json.encode(value) }
end

--- Discord's nested form: {"embeds":{"0":{"title":{"_errors":[…]}}}}.
local function nested(errors)
  local root = {}
  for _, one in ipairs(errors) do
    local at = root
    for step in one.path:gmatch("[^.]+") do
      at[step] = at[step] or {}
      at = at[step]
    end
    at._errors = at._errors or json.array {}
    table.insert(at._errors, { code = one.code, message = one.message })
  end
  return root
end

local function refuse(errors)
  if errors[1].code == "EMPTY_MESSAGE" then
    return answer(400, { message = "Cannot send an empty message", code = 50006 })
  end
  return answer(400, { message = "Invalid Form Body", code = 50035, errors = nested(errors) })
end

local function execute(req)
  local kind = (req.headers["content-type"] or ""):match("^[^;%s]*"):lower()
  local message = kind == "application/json" and json.decode(req.body or "")
  if type(message) ~= "table" then
    return answer(400, { message = "The request body contains invalid JSON.", code = 50109 })
  end
  local ok, errors = limits.check(message)
  if not ok then
    return refuse(errors)
  end
  capture.record("discord", { webhook = req.params.id, message = message }, "")
  if req.query.wait ~= "true" then
    return { status = 204 }
  end
  messages = messages + 1
  return answer(200, {
    id = tostring(1100000000000000000 + messages),
    type = 0,
    webhook_id = req.params.id,
    content = message.content or "",
    timestamp = sys.iso_time(),
  })
end

--- Registers the endpoint with the HTTP server.
---@param http {route: function}
function M.routes(http)
  http.route("POST /capture/discord/webhooks/:id/:token", execute, { builtin = true })
end

return M
