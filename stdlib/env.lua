--- Settings from the environment, and secrets: values that print as *** wherever they turn up.
--
-- The program has merged .env.local and .env into the environment before a script loads. A secret's
-- text is kept beside the object, not in it: only env.reveal reads it. It may also be kept in a
-- file (NAME_FILE) or be a credential of systemd.
local sys = require "sipeat.core.sys"
local failure = require "sipeat.failure"

local M = {}

local SHORTEST = 6 -- of a secret that is looked for in texts: one of "1" would cover too much
local texts = setmetatable({}, { __mode = "k" }) -- secret -> its text

local Secret = {
  __name = "sipeat.secret",
  __metatable = "sipeat.secret",
  __tostring = function()
    return "***"
  end,
  __newindex = function()
    error("a secret has no fields", 2)
  end,
}

local function is_name(name)
  return type(name) == "string" and name:find("^[%w_]+$") ~= nil
end

local function lookup(name, caller)
  if not is_name(name) then
    error(("env.%s: expected the name of a variable, got %s"):format(caller, tostring(name)), 3)
  end
  local value, message, code
  if caller == "get" then
    value = sys.getenv(name)
  else
    value, message, code = sys.secret(name)
  end
  if message then
    error(failure.permanent(message, code), 0)
  end
  if value ~= "" then
    return value -- an empty variable counts as not set, as in a line "NAME=" of .env
  end
end

--- The value of a variable, or `default`. An empty variable counts as not set.
function M.get(name, default)
  return lookup(name, "get") or default
end

--- The value of a variable as a secret, or nil when it is not set: of NAME, of the file that
--- NAME_FILE names, or of the credential NAME of systemd. Raises when such a file cannot be read.
function M.secret(name)
  local value = lookup(name, "secret")
  return value and M.conceal(value)
end

--- The value of a variable that nothing works without: raises a permanent failure when it is not
--- set.
function M.require(name, why)
  local value = lookup(name, "require")
  if not value then
    local text = "%s is not set%s (put %s=… into .env.local or the environment)"
    local purpose = why and ", needed for " .. why or ""
    error(failure.permanent(text:format(name, purpose, name), "NOT_CONFIGURED"))
  end
  return value
end

--- Makes a secret of a text.
function M.conceal(text)
  if type(text) ~= "string" then
    error(("env.conceal: expected a string, got %s"):format(type(text)), 2)
  end
  local secret = setmetatable({}, Secret)
  texts[secret] = text
  return secret
end

--- A text in which the text of each secret is covered.
function M.cover(text)
  for _, secret in pairs(texts) do
    local from, to = text:find(secret, 1, true)
    while from and #secret >= SHORTEST do
      text = text:sub(1, from - 1) .. "***" .. text:sub(to + 1)
      from, to = text:find(secret, from + 3, true)
    end
  end
  return text
end

--- The text of a secret; a plain string is returned as it is.
function M.reveal(secret)
  local text = type(secret) == "string" and secret or texts[secret]
  if not text then
    error(("env.reveal: expected a secret or a string, got %s"):format(type(secret)), 2)
  end
  return text
end

function M.is_secret(value)
  return getmetatable(value) == "sipeat.secret"
end

return M
