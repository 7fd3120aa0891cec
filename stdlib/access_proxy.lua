--- Whether a request comes from this machine, and the user that a reverse proxy has signed in
--- (OpenID Connect, SAML, …).
--
-- The proxy's header counts only when the connection comes from an address in SIPEAT_PROXY
-- (req.proxied); from anywhere else it is as if it were not there. Roles are given by
-- SIPEAT_PROXY_ROLES, and whoever has none there gets nowhere.
local env = require "sipeat.env"
local log = require("sipeat.log").new "access"

local M = {}

local RANK = { viewer = 1, operator = 2, admin = 3 }
local NAME_BYTES = 200

--- Whether an address is of this machine.
function M.is_loopback(address)
  address = tostring(address or ""):gsub("^::ffff:", "")
  return address:find "^127%." ~= nil or address == "::1" or address == "localhost"
end

--- Whether a program on this machine asks, and no proxy for somebody else, declared or not.
function M.is_local(req)
  return M.is_loopback(req.remote) and not req.proxied and req.headers["x-forwarded-for"] == nil
    and req.headers.forwarded == nil and req.headers["x-real-ip"] == nil
end

local function list_of(text)
  local out = {}
  for part in (text or ""):gmatch "[^,%s]+" do
    out[#out + 1] = part
  end
  return out
end

-- "sipeat-admins=admin, ops=operator, *=viewer" -> group -> role
local function roles_of(text)
  local roles = {}
  for _, part in ipairs(list_of(text)) do
    local group, role = part:match "^(.+)=(%a+)$"
    if RANK[role] then
      roles[group] = role
    else
      log:warn(("SIPEAT_PROXY_ROLES: %s is not group=viewer|operator|admin"):format(part))
    end
  end
  return roles
end

local roles, roles_text = {}, nil -- of the setting when it was last looked at

local function role_for(name, groups)
  local text = env.get("SIPEAT_PROXY_ROLES", "")
  if text ~= roles_text then
    roles, roles_text = roles_of(text), text
  end
  local best
  local function consider(role)
    best = role and RANK[role] > (RANK[best] or 0) and role or best
  end
  consider(roles["*"])
  consider(roles["user:" .. name])
  for _, group in ipairs(groups) do
    consider(roles[group])
  end
  return best
end

--- The user that a declared proxy names: { name, role, via }, nil when it names none.
function M.user(req)
  local header = env.get("SIPEAT_PROXY_USER", ""):lower()
  local name = header ~= "" and req.proxied and req.headers[header]
  if not name or name == "" or #name > NAME_BYTES or name:find "[%c,]" then
    return nil
  end
  local groups = req.headers[env.get("SIPEAT_PROXY_GROUPS", "x-forwarded-groups"):lower()]
  local role = role_for(name, list_of(groups))
  return role and { name = name, role = role, via = "proxy" } or nil
end

return M
