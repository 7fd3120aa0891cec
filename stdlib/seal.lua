--- Sealed texts: whoever has the key that seals closes them, only the key that opens reads them.
--
-- A sealed text is "sealed:1:<id>:<base64>"; the id names the pair of keys. Of several the newest,
-- the last one, seals, and all of them open. Keys are lines "<id> seal <base64>" and
-- "<id> open <base64>" (`sipeat key new`): the secret SEAL_KEYS, so also the file SEAL_KEYS_FILE or
-- a credential of systemd.
local core = require "sipeat.core.crypto"
local env = require "sipeat.env"
local opts = require "sipeat.opts"
local sys = require "sipeat.core.sys"

local M = {}

local PREFIX = "sealed:1:"
local LOOK_AGAIN_MS = 10000 -- for a key that was not there
local HINT = "sipeat key new makes one; SEAL_KEYS or SEAL_KEYS_FILE has them"

local CONFIGURE = opts.spec("sipeat.seal.configure", {
  keys = { "secret" },
  file = { "string" },
})

local given -- by configure
local ring -- { newest = id?, sealing = id -> key, opening = id -> key, read_ms }

local function key_of(text)
  local key = sys.from_base64(text)
  return key and #key == 32 and key or nil
end

-- The keys of lines; nil and what is wrong, without the line, which may be secret.
local function parse(text)
  local keys, number = { sealing = {}, opening = {} }, 0
  for line in (text .. "\n"):gmatch "([^\n]*)\n" do
    number = number + 1
    local id, kind, key = line:match "^%s*([%w_.-]+)%s+(%a+)%s+([%w+/=]+)%s*$"
    key = key and key_of(key)
    if key and (kind == "seal" or kind == "open") then
      keys.newest = id
      keys.sealing[id] = kind == "seal" and key or keys.sealing[id] or core.seal_key(key)
      keys.opening[id] = kind == "open" and key or keys.opening[id]
    elseif not line:find "^%s*$" and not line:find "^%s*#" then
      return nil, ("line %d is no key (%s)"):format(number, HINT)
    end
  end
  return keys
end

-- The text of the keys, and where it is from; nil and why not.
local function source()
  if given and given.keys then
    return env.reveal(given.keys), "sipeat.seal.configure"
  end
  if given and given.file then
    local text, message = sys.read_file(given.file)
    return text, text and given.file or message
  end
  local found = env.secret "SEAL_KEYS"
  return found and env.reveal(found) or "", "SEAL_KEYS"
end

local function load()
  local text, where = source()
  if not text then
    return nil, "seal: " .. where
  end
  local keys, why = parse(text)
  if not keys then
    return nil, ("seal: %s: %s"):format(where, why)
  end
  keys.read_ms = sys.monotonic_ms()
  ring = keys
  return ring
end

local function keys_now()
  if ring then
    return ring
  end
  return load()
end

--- Where keys are from, instead of the environment: their text, or a file.
---@param options sipeat.seal.ConfigureOptions
function M.configure(options)
  given, ring = CONFIGURE(options), nil
end

--- Is it a sealed text?
---@param value any
---@return boolean
function M.is(value)
  return type(value) == "string" and value:sub(1, #PREFIX) == PREFIX
end

--- The ids of the keys: { newest = id?, seals = { id… }, opens = { id… } }.
function M.keys()
  local keys, message = keys_now()
  if not keys then
    return nil, message, "NO_KEY"
  end
  return {
    newest = keys.newest, seals = opts.names(keys.sealing), opens = opts.names(keys.opening),
  }
end

--- Seals a text with the newest key. nil, message, "NO_KEY".
---@param text string
---@return string? sealed
---@return string? message
---@return string? code
function M.close(text)
  if type(text) ~= "string" then
    error("seal.close: a text is needed, got " .. opts.show(text), 2)
  end
  local keys, message = keys_now()
  if not keys then
    return nil, message, "NO_KEY"
  elseif not keys.newest then
    return nil, ("seal: there is no key that seals (%s)"):format(HINT), "NO_KEY"
  end
  local sealed = core.seal(keys.sealing[keys.newest], text)
  return ("%s%s:%s"):format(PREFIX, keys.newest, sys.base64(sealed))
end

-- The key that opens, looked for once more in a while when it is not there.
local function opening(id)
  local keys, message = keys_now()
  if keys and not keys.opening[id] and sys.monotonic_ms() - keys.read_ms >= LOOK_AGAIN_MS then
    keys, message = load()
  end
  return keys and keys.opening[id], message
end

--- Opens a sealed text. nil, message, "NO_KEY" without its key, "BAD_DATA" when it is broken.
---@param sealed string
---@return string? text
---@return string? message
---@return string? code
function M.open(sealed)
  local id, body = tostring(sealed):match "^sealed:1:([%w_.-]+):([%w+/=]+)$"
  local bytes = body and sys.from_base64(body)
  if not bytes then
    return nil, "seal: this is no sealed text", "BAD_DATA"
  end
  local key, message = opening(id)
  if not key then
    return nil, message or ("seal: the key %s, which opens it, is not here"):format(id), "NO_KEY"
  end
  local text = core.unseal(key, bytes)
  if not text then
    return nil, ("seal: it was changed, or not sealed for the key %s"):format(id), "BAD_DATA"
  end
  return text
end

return M
