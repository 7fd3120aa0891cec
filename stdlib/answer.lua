--- What an answer of an HTTP service means to whoever wants something done: done, come back later,
--- or never.
local failure = require "sipeat.failure"
local sys = require "sipeat.core.sys"

local M = {}

local LONGEST_WAIT_MS = 3600 * 1000 -- a service that names a longer pause is asked once an hour
local TEXT_BYTES = 300 -- of an answer's words in a message
local MONTHS = {
  Jan = 1, Feb = 2, Mar = 3, Apr = 4, May = 5, Jun = 6,
  Jul = 7, Aug = 8, Sep = 9, Oct = 10, Nov = 11, Dec = 12,
}
local PASSING = { [408] = true, [409] = true, [421] = true, [425] = true, [429] = true }

--- "Wed, 21 Oct 2015 07:28:00 GMT" in ms since 1970, or nil.
function M.date_ms(text)
  local date = "^%a+, (%d%d?) (%a%a%a) (%d%d%d%d) (%d%d:%d%d:%d%d) GMT$"
  local day, month, year, time = text:match(date)
  if not day or not MONTHS[month] then
    return nil
  end
  return sys.parse_time(("%s-%02d-%02dT%sZ"):format(year, MONTHS[month], tonumber(day), time))
end

--- How many ms a Retry-After header asks to wait: of seconds (also with a fraction) or a date. nil
--- when there is none that can be read.
---@param header string?
---@return integer?
function M.retry_after_ms(header)
  if type(header) ~= "string" then
    return nil
  end
  local text = header:match "^%s*(.-)%s*$"
  local seconds = text:find "^%d+%.?%d*$" and tonumber(text)
  local at = not seconds and M.date_ms(text)
  local ms = seconds and seconds * 1000 or at and at - sys.now_ms()
  return ms and math.ceil(math.max(0, math.min(ms, LONGEST_WAIT_MS))) or nil
end

local function words_of(body)
  local text = type(body) == "string" and body:gsub("%s+", " "):match "^%s*(.-)%s*$" or ""
  if #text > TEXT_BYTES then
    text = text:sub(1, TEXT_BYTES) .. "…"
  end
  return text ~= "" and ": " .. (sys.utf8_clean(text)) or ""
end

local function code_of(status)
  if status == 429 then
    return "RATE_LIMITED"
  elseif status == 413 then
    return "TOO_BIG"
  elseif status >= 500 then
    return "UNAVAILABLE"
  end
  return "REJECTED"
end

--- The failure that an answer stands for, or nil for one of 200 to 299. `words` are those of the
--- service when they are better than its body. Codes: RATE_LIMITED (429), TOO_BIG (413),
--- UNAVAILABLE (5xx), REJECTED (others; permanent but for 408, 409, 421 and 425). A pause that the
--- service asked for is in `retry_at_ms`.
---@param what string what was tried
---@param response {status: integer, headers: table<string, string>, body: string}
---@param words string?
function M.failure(what, response, words)
  local status = response.status
  if status >= 200 and status < 300 then
    return nil
  end
  local code = code_of(status)
  local passing = PASSING[status] or status >= 500
  local text = words and words ~= "" and ": " .. words or words_of(response.body)
  local why = failure.new(("%s: refused with status %d%s"):format(what, status, text), code,
    passing and "transient" or "permanent")
  local wait = passing and M.retry_after_ms((response.headers or {})["retry-after"])
  if wait then
    why.retry_at_ms = sys.monotonic_ms() + wait
  end
  why.status = status
  return why
end

return M
