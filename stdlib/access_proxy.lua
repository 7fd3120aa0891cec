--- Who a request comes from: the address and scheme behind a declared reverse proxy, and the user
--- that the proxy has signed in (OpenID Connect, SAML, …).
--
-- A header counts only when the connection itself comes from an address in SIPEAT_PROXY; from
-- anywhere else it is as if it were not there. Roles are given by SIPEAT_PROXY_ROLES, and whoever
-- has none there gets nowhere.
local env = require "sipeat.env"
local log = require("sipeat.log").new "access"

local M = {}

local RANK = { viewer = 1, operator = 2, admin = 3 }

local NAME_BYTES = 200

local function number_of(address)
  local a, b, c, d = address:match "^(%d+)%.(%d+)%.(%d+)%.(%d+)$"
  a, b, c, d = tonumber(a), tonumber(b), tonumber(c), tonumber(d)
  if not a or a > 255 or b > 255 or c > 255 or d > 255 then
    return nil
  end
  return (a << 24 | b << 16 | c << 8 | d) // 1
end

local function plain(address)
  return (tostring(address or ""):lower():gsub("^::ffff:", ""))
end

-- "10.0.0.0/8" -> number, mask; an address of version 6, or "unix", as its text.
local function rule_of(text)
  local address, bits = text:match "^([^/]+)/(%d+)$"
  local number = number_of(address or text)
  bits = math.tointeger(tonumber(bits or "32"))
  if number and bits <= 32 then
    local mask = ~0 << (32 - bits) & 0xffffffff
    return { number = number & mask, mask = mask }
  elseif not address and text:find "^[%x:]+:[%x:]*$" then
    return { text = text }
  end
  log:warn(("SIPEAT_PROXY: %s is no address, and is not trusted"):format(text))
  return nil
end

local function list_of(text)
  local out = {}
  for part in (text or ""):gmatch "[^,%s]+" do
    out[#out + 1] = part
  end
  return out
end

-- The settings as they are in the environment, read again when the text has changed.
local cached = {}

local function read(name, make)
  local text = env.get(name, "")
  local kept = cached[name]
  if not kept or kept.text ~= text then
    kept = { text = text, value = make(text) }
    cached[name] = kept
  end
  return kept.value
end

local function rules_of(text)
  local rules = {}
  for _, part in ipairs(list_of(text)) do
    rules[#rules + 1] = rule_of(part:lower())
  end
  return rules
end

--- Whether the address is that of a declared proxy.
function M.trusts(address)
  address = plain(address)
  local number = number_of(address)
  for _, rule in ipairs(read("SIPEAT_PROXY", rules_of)) do
    if rule.text == address or number and rule.mask and number & rule.mask == rule.number then
      return true
    end
  end
  return false
end

--- The address of the client: the nearest one that is no proxy of ours.
function M.address(req)
  local address = plain(req.remote)
  if not M.trusts(address) then
    return address
  end
  local hops = list_of(req.headers["x-forwarded-for"])
  for i = #hops, 1, -1 do
    address = plain(hops[i])
    if not M.trusts(address) then
      break
    end
  end
  return #address <= 64 and address or address:sub(1, 64)
end

--- Whether the client speaks TLS, to us or to a proxy of ours.
function M.is_secure(req)
  if req.secure or req.tls then
    return true
  end
  return M.trusts(req.remote) and (req.headers["x-forwarded-proto"] or ""):lower() == "https"
end

--- Whether the request comes from this machine, and through no proxy.
function M.is_local(req)
  local address = plain(req.remote)
  return (address:find "^127%." ~= nil or address == "::1") and not M.trusts(address)
    and req.headers["x-forwarded-for"] == nil and req.headers.forwarded == nil
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

local function role_for(name, groups)
  local roles = read("SIPEAT_PROXY_ROLES", roles_of)
  local best = roles["*"]
  for _, group in ipairs(groups) do
    local role = roles[group]
    if role and RANK[role] > (RANK[best] or 0) then
      best = role
    end
  end
  local own = roles["user:" .. name]
  return own and RANK[own] > (RANK[best] or 0) and own or best
end

--- The user that a declared proxy names: { name, role, via }, nil when it names none.
function M.user(req)
  local header = env.get("SIPEAT_PROXY_USER", ""):lower()
  if header == "" or not M.trusts(req.remote) then
    return nil
  end
  local name = req.headers[header]
  if not name or name == "" or #name > NAME_BYTES or name:find "[%c,]" then
    return nil
  end
  local groups = req.headers[env.get("SIPEAT_PROXY_GROUPS", "x-forwarded-groups"):lower()]
  local role = role_for(name, list_of(groups))
  return role and { name = name, role = role, via = "proxy" } or nil
end

return M
