--- Text as Discord takes it: valid UTF-8, cut at code points, harmless as Markdown, never empty.
local limits = require "sipeat.discord_limits"
local sys = require "sipeat.core.sys"

local M = {}

M.EMPTY = "—"
M.ELLIPSIS = "…"

local ZERO_WIDTH = "\u{200B}" -- breaks up what Discord would make a mention of
local JOINER = "\u{200D}"

-- Overrides of the writing direction, with which a text can pose as another; line separators; byte
-- order marks. Each by its first two bytes, so that most texts need no replacing.
local UNWANTED = {
  ["\xE2\x80"] = "\xE2\x80[\xA8-\xAE]", -- U+2028 to U+202E
  ["\xE2\x81"] = "\xE2\x81[\xA6-\xA9]", -- U+2066 to U+2069
  ["\xEF\xBB"] = "\xEF\xBB\xBF", -- U+FEFF
}

--- Valid UTF-8 without control characters (line feed and tab stay), trimmed.
---@param text string any bytes
---@return string
function M.clean(text)
  text = text:gsub("\r\n?", "\n"):gsub("[\0-\8\11-\31\127]+", "")
  if text:find("[\x80-\xFF]") then
    text = sys.utf8_clean(text)
    for start, pattern in next, UNWANTED do
      if text:find(start, 1, true) then
        text = text:gsub(pattern, "")
      end
    end
  end
  return limits.trim(text)
end

--- At most `limit` code points; what is cut ends in an ellipsis.
---@param text string valid UTF-8
---@param limit integer
---@return string
function M.cut(text, limit)
  if #text <= limit or utf8.len(text) <= limit then
    return text
  elseif limit < 1 then
    return ""
  end
  local kept = text:sub(1, utf8.offset(text, limit) - 1)
  if kept:sub(-#JOINER) == JOINER then
    kept = kept:sub(1, -#JOINER - 1)
  end
  if #kept:match("\\*$") % 2 == 1 then
    kept = kept:sub(1, -2) -- half an escape would escape the ellipsis
  end
  return limits.trim(kept) .. M.ELLIPSIS
end

--- The same text with its Markdown, mentions, links and emoji codes shown as they were typed.
---@param text string valid UTF-8
---@return string
function M.escape(text)
  text = text:gsub("[\\*_~|`%[]", "\\%0")
  text = ("\n" .. text):gsub("(\n[ \t]*)([>#%-])", "%1\\%2"):sub(2)
  text = text:gsub("<([%a@#:/&!])", "<" .. ZERO_WIDTH .. "%1")
  text = text:gsub("@(everyone)", "@" .. ZERO_WIDTH .. "%1")
  return (text:gsub("@(here)", "@" .. ZERO_WIDTH .. "%1"))
end

--- The bytes that can matter for `limit` characters: cleaning a megabyte to show a line would be a
--- waste.
local function head(text, limit)
  local enough = limit * 8
  if #text <= enough then
    return text, false
  end
  local first = text:find("%S") or 1
  local part = text:sub(first, first + enough - 1)
  return (part:gsub("[\xC2-\xF4][\x80-\xBF]*$", "")), first + enough - 1 < #text
end

--- Any bytes as text of 1 to `limit` code points: cleaned, escaped unless `plain`, cut; a dash when
--- nothing is left.
---@param text string
---@param limit integer
---@param plain boolean? for places where Discord shows no Markdown (footer, author)
---@return string
function M.fit(text, limit, plain)
  local part, more = head(text, limit)
  part = M.clean(part)
  if part == "" then
    return M.EMPTY
  end
  if not plain then
    part = M.escape(part)
  end
  if more and utf8.len(part) < limit then
    return part .. M.ELLIPSIS
  end
  return M.cut(part, limit)
end

return M
