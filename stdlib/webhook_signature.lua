--- Signatures of webhooks, checked: no I/O, and no clock but the one that is given. Each function
--- gives true, or nil and why not. What is compared is compared in constant time.
local bytes = require "sipeat.bytes"
local crypto = require "sipeat.core.crypto"
local sys = require "sipeat.core.sys"

local M = {}

local SIGNATURES = 16 -- in one header
local UNSIGNED = "the signature is missing or cannot be read"
local FORGED = "the signature does not fit"

-- Seconds as text, no further from `now_s` than the tolerance.
local function is_recent(at, now_s, tolerance_ms)
  local seconds = #at <= 12 and math.tointeger(tonumber(at))
  if seconds and math.abs(now_s - seconds) * 1000 <= tolerance_ms then
    return true
  end
  return nil, "it was signed at another time: is this machine's clock right?"
end

--- Stripe-Signature: t=SECONDS,v1=HEX[,v1=HEX…]; any of them may fit, as while a secret is changed.
function M.stripe(secret, header, body, now_s, tolerance_ms)
  local at, signatures = nil, {}
  for name, value in (header or ""):gmatch "([%w_]+)=([%w_]+)" do
    if name == "t" and value:find "^%d+$" then
      at = value
    elseif name == "v1" and #signatures < SIGNATURES then
      signatures[#signatures + 1] = value:lower()
    end
  end
  if not at or #signatures == 0 then
    return nil, UNSIGNED
  end
  local expected = sys.hmac_sha256(secret, at .. "." .. body)
  local fits = false
  for _, signature in ipairs(signatures) do
    fits = sys.equal(signature, expected) or fits
  end
  if not fits then
    return nil, FORGED
  end
  return is_recent(at, now_s, tolerance_ms)
end

--- X-Slack-Signature: v0=HEX over "v0:TIMESTAMP:BODY".
function M.slack(secret, header, at, body, now_s, tolerance_ms)
  local signature = (header or ""):match "^v0=(%x+)$"
  if not signature or not (at or ""):find "^%d+$" then
    return nil, UNSIGNED
  end
  local expected = sys.hmac_sha256(secret, ("v0:%s:%s"):format(at, body))
  if not sys.equal(signature:lower(), expected) then
    return nil, FORGED
  end
  return is_recent(at, now_s, tolerance_ms)
end

--- X-Signature-Ed25519 over TIMESTAMP .. BODY; key and signature are hex.
function M.discord(key, header, at, body, now_s, tolerance_ms)
  local signature = (header or ""):match "^%x+$"
  if not signature or #signature ~= 128 or not (at or ""):find "^%d+$" then
    return nil, UNSIGNED
  elseif not crypto.ed25519_verify(bytes.unhex(key), bytes.unhex(signature), at .. body) then
    return nil, FORGED
  end
  return is_recent(at, now_s, tolerance_ms)
end

return M
