--- What Discord accepts in one webhook message, and how it counts: code points, after trimming.
--- Source: discord-api-docs, resources/webhook.mdx and resources/message.mdx. Used to build
--- messages that fit, and by the capture page to refuse what Discord would refuse.
local json = require "sipeat.json"

local M = {
  TITLE = 256,
  DESCRIPTION = 4096,
  FIELDS = 25,
  NAME = 256,
  VALUE = 1024,
  FOOTER = 2048,
  AUTHOR = 256,
  EMBEDS = 10,
  SUM = 6000, -- over all embeds of one message
  CONTENT = 2000,
  USERNAME = 80,
  COLOR = 0xFFFFFF,
}

-- What Discord trims besides ASCII white space: the other characters that Unicode calls white
-- space.
local SPACES = {
  ["\u{85}"] = true, ["\u{A0}"] = true, ["\u{1680}"] = true, ["\u{2028}"] = true,
  ["\u{2029}"] = true, ["\u{202F}"] = true, ["\u{205F}"] = true, ["\u{3000}"] = true,
}
for code = 0x2000, 0x200A do
  SPACES[utf8.char(code)] = true
end
for code = 0x1C, 0x1F do
  SPACES[string.char(code)] = true
end

local function is_visible(byte)
  return byte and byte > 0x20 and byte < 0x7F
end

--- The text without white space at both ends.
---@param text string valid UTF-8
---@return string
function M.trim(text)
  local from, to = 1, #text
  if is_visible(text:byte(1)) and is_visible(text:byte(to)) then
    return text
  end
  while from <= to do
    local space = text:match("^%s+", from)
    local char = space or text:match("^" .. utf8.charpattern, from)
    if not space and not SPACES[char] then
      break
    end
    from = from + #char
  end
  while to >= from do
    local start = utf8.offset(text, -1, to + 1)
    local char = text:sub(start, to)
    if not char:find("^%s$") and not SPACES[char] then
      break
    end
    to = start - 1
  end
  return text:sub(from, to)
end

--- The number of characters that Discord counts, or nil when the text is not valid UTF-8.
---@param text string
---@return integer?
function M.length(text)
  if not utf8.len(text) then
    return nil
  end
  return utf8.len(M.trim(text))
end

--- What an embed adds to the sum of a message.
---@param embed table
---@return integer
function M.embed_size(embed)
  local size = 0
  local function add(text)
    if type(text) == "string" then
      size = size + (M.length(text) or #text)
    end
  end
  add(embed.title)
  add(embed.description)
  add(embed.footer and embed.footer.text)
  add(embed.author and embed.author.name)
  for _, field in ipairs(embed.fields or {}) do
    add(field.name)
    add(field.value)
  end
  return size
end

-- --- checking ---

local function absent(value)
  return value == nil or value == json.null
end

---@param errors table[] filled with {path, code, message}
local function report(errors, path, code, message)
  errors[#errors + 1] = { path = path, code = code, message = message }
end

local function check_text(errors, path, text, limit, required)
  if absent(text) then
    if required then
      report(errors, path, "BASE_TYPE_REQUIRED", "This field is required")
    end
    return
  end
  local length = type(text) == "string" and M.length(text)
  if not length then
    report(errors, path, "STRING_TYPE_CONVERT", "Must be text in UTF-8.")
  elseif required and length == 0 then
    report(errors, path, "BASE_TYPE_REQUIRED", "This field is required")
  elseif length > limit then
    report(errors, path, "BASE_TYPE_MAX_LENGTH", ("Must be %d or fewer in length."):format(limit))
  end
end

--- The list at `path`, or nil after reporting what is wrong with it.
local function check_list(errors, path, list, limit)
  if absent(list) then
    return nil
  elseif type(list) ~= "table" or (next(list) ~= nil and list[1] == nil) then
    report(errors, path, "LIST_TYPE_CONVERT", "Only iterables may be used in a ListType")
    return nil
  elseif #list > limit then
    report(errors, path, "BASE_TYPE_MAX_LENGTH", ("Must be %d or fewer in length."):format(limit))
    return nil
  end
  return list
end

local function check_part(errors, path, part, key, limit)
  if absent(part) then
    return
  elseif type(part) ~= "table" then
    report(errors, path, "DICT_TYPE_CONVERT", "Only dictionaries may be used in a DictType")
    return
  end
  check_text(errors, path .. "." .. key, part[key], limit, true)
end

local function is_stamp(stamp)
  return type(stamp) == "string"
    and stamp:find("^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d[%.%d]*[Z+-][%d:]*$") ~= nil
end

local function check_embed(errors, path, embed)
  if type(embed) ~= "table" then
    report(errors, path, "DICT_TYPE_CONVERT", "Only dictionaries may be used in a DictType")
    return
  end
  check_text(errors, path .. ".title", embed.title, M.TITLE)
  check_text(errors, path .. ".description", embed.description, M.DESCRIPTION)
  check_part(errors, path .. ".footer", embed.footer, "text", M.FOOTER)
  check_part(errors, path .. ".author", embed.author, "name", M.AUTHOR)
  if not absent(embed.color)
    and (math.type(embed.color) ~= "integer" or embed.color < 0 or embed.color > M.COLOR)
  then
    report(errors, path .. ".color", "NUMBER_TYPE_MAX",
      "int value should be less than or equal to 16777215.")
  end
  if not absent(embed.timestamp) and not is_stamp(embed.timestamp) then
    report(errors, path .. ".timestamp", "DATE_TIME_TYPE_PARSE",
      "Could not parse. Should be ISO8601.")
  end
  for i, field in ipairs(check_list(errors, path .. ".fields", embed.fields, M.FIELDS) or {}) do
    local here = ("%s.fields.%d"):format(path, i - 1)
    if type(field) == "table" then
      check_text(errors, here .. ".name", field.name, M.NAME, true)
      check_text(errors, here .. ".value", field.value, M.VALUE, true)
    else
      report(errors, here, "DICT_TYPE_CONVERT", "Only dictionaries may be used in a DictType")
    end
  end
end

local function check_username(errors, name)
  if absent(name) then
    return
  end
  local length = type(name) == "string" and M.length(name)
  if not length or length < 1 or length > M.USERNAME then
    report(errors, "username", "BASE_TYPE_BAD_LENGTH", "Must be between 1 and 80 in length.")
    return
  end
  local lower = M.trim(name):lower()
  if lower:find("clyde", 1, true) or lower:find("discord", 1, true) then
    report(errors, "username", "USERNAME_INVALID_CONTAINS",
      'Username cannot contain "clyde" or "discord"')
  elseif lower == "everyone" or lower == "here" then
    report(errors, "username", "USERNAME_INVALID_RESERVED", "Username is reserved")
  end
end

--- Says what Discord would refuse. Paths count from 0, as in Discord's own answers
--- ("embeds.0.title").
---@param message table
---@return true? ok
---@return {path: string, code: string, message: string}[]? errors
function M.check(message)
  local errors = {}
  check_username(errors, message.username)
  check_text(errors, "content", message.content, M.CONTENT)
  local embeds = check_list(errors, "embeds", message.embeds, M.EMBEDS) or {}
  local sum = 0
  for i, embed in ipairs(embeds) do
    check_embed(errors, "embeds." .. i - 1, embed)
    sum = sum + (#errors == 0 and M.embed_size(embed) or 0)
  end
  if sum > M.SUM then
    report(errors, "embeds", "MAX_EMBED_SIZE_EXCEEDED", "Embed size exceeds maximum size of 6000")
  end
  local text = type(message.content) == "string" and message.content:find("%S")
  if #errors == 0 and not text and #embeds == 0 then
    report(errors, "content", "EMPTY_MESSAGE", "Cannot send an empty message")
  end
  if #errors > 0 then
    return nil, errors
  end
  return true
end

return M
