--- Nothing that a stranger sends raises or is taken for signed, and what is covered stays covered.
--
-- The first byte says what the rest is: a header of a signature and, after a line feed, the body; a
-- cookie; or a payload that a viewer is shown.
local json = require "sipeat.json"
local masks = require "sipeat.access_mask"
local session = require "sipeat.access_session"
local signature = require "sipeat.webhook_signature"

local AT, TOLERANCE = 1700000000, 300000
-- Of RFC 8032 section 7.1, test 1: the seeds are signed with another one, so no input is signed.
local KEY = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"

local function check(condition, what)
  if not condition then
    error(what, 0)
  end
end

local subjects = {}

function subjects.s(rest)
  local header, body = rest:match "^([^\n]*)\n?(.*)$"
  local at, given = header:match "^(%S*) ?(.*)$"
  for _, found in ipairs {
    { signature.stripe("whsec_fuzz", header, body, AT, TOLERANCE) },
    { signature.slack("fuzz", given, at, body, AT, TOLERANCE) },
    { signature.discord(KEY, given, at, body, AT, TOLERANCE) },
  } do
    check(found[1] == nil and type(found[2]) == "string", "it is taken for signed")
  end
end

function subjects.c(rest)
  for _, secure in ipairs { true, false } do
    local req = { headers = { cookie = rest }, secure = secure }
    local value = session.cookie(req, session.COOKIE)
    check(value == nil or rest:find(value, 1, true), "a cookie that nobody sent")
  end
end

-- Nothing of the shape of an address is left, whatever it stood in.
local function check_covered(shown)
  for name, host in shown:gmatch "([%w._%%+\128-\255-]+)@([%w\128-\255-]+%.%a+)" do
    check(#name > 64 or #host > 253, "an address can be read")
  end
end

function subjects.p(rest)
  local shown = masks.payload(rest)
  check(type(shown) == "string", "a payload that is no text any more")
  local value = rest:find "^%s*[%[{]" and json.decode(rest)
  if value then
    check(json.decode(shown) ~= nil, "JSON that is none any more")
  else
    check_covered(shown)
  end
  for _, kind in ipairs { "text", "name", "email", "phone", "card" } do
    check(type(masks.mask(rest, kind)) == "string", kind)
  end
end

return function(bytes)
  local subject = subjects[bytes:sub(1, 1)]
  if subject then
    subject(bytes:sub(2))
  end
end
