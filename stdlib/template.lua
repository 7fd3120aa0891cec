--- Templates: text with places for values, which are escaped by where they stand. A template holds
--- no code, and what it is given cannot become markup.
--
-- {{ name }} a value; {{ a.b }} within a table; {{ . }} the item itself; {{ name? }} may be missing
-- {{# name }} … {{/ name }} for each item of a list, or once when the value is there
-- {{^ name }} … {{/ name }} when it is not, or is an empty list;   {{! a comment }}
local html = require "sipeat.html"
local json = require "sipeat.json"
local money = require "sipeat.money"
local opts = require "sipeat.opts"
local places = require "sipeat.template_html"

local M = {}

local MAX_DEPTH = 50 -- of sections in sections

-- --- reading ---

local function line_of(text, at)
  local _, breaks = text:sub(1, at):gsub("\n", "")
  return breaks + 1
end

local function path_of(name)
  local path = {}
  if name ~= "." then
    for part in (name .. "."):gmatch "([^.]*)%." do
      if not part:find "^[%w_-]+$" then
        return nil
      end
      path[#path + 1] = math.tointeger(tonumber(part)) or part
    end
  end
  return path
end

-- A tag's kind, name and path.
local function tag_of(inner)
  local kind, rest = inner:match "^([#^/!]?)%s*(.-)%s*$"
  if kind == "!" then
    return kind
  end
  local name, optional = rest:match "^(.-)(%??)$"
  local path = path_of(name)
  if not path or optional == "?" and kind ~= "" then
    error(("%s is no tag (a name, as in {{ order.id }}, maybe with # ^ / before it)"):format(
      opts.show("{{" .. inner .. "}}")), 0)
  end
  return kind, name, path, optional == "?"
end

-- The parts of a template from `at` on: texts, values and sections. `place` is nil for plain text.
local function parse(self, at, place, section, depth)
  local parts = {}
  while true do
    local open, close, inner = self.text:find("{{(.-)}}", at)
    local before = self.text:sub(at, (open or 0) - 1)
    self.at = open or at
    if before ~= "" then
      parts[#parts + 1] = before
      if place then
        place:over(before)
      end
    end
    if not open then
      if section then
        error(("{{#%s}} is not closed"):format(section), 0)
      end
      return parts, #self.text + 1
    end
    local kind, name, path, optional = tag_of(inner)
    at = close + 1
    if kind == "/" then
      if name ~= section then
        error(("{{/%s}} closes nothing that is open"):format(name), 0)
      end
      return parts, at
    elseif kind == "" then
      local escape = place and place:escape() or self.escape
      parts[#parts + 1] = { name = name, path = path, optional = optional, escape = escape }
    elseif kind ~= "!" then
      if depth >= MAX_DEPTH then
        error(("more than %d sections in each other"):format(MAX_DEPTH), 0)
      end
      local start = place and place:copy()
      local inside
      inside, at = parse(self, at, place, name, depth + 1)
      if place then
        place:after(start)
      end
      parts[#parts + 1] = { path = path, parts = inside, inverted = kind == "^" }
    end
  end
end

-- --- writing ---

local function lookup(stack, path)
  if #path == 0 then
    return stack[#stack]
  end
  for level = #stack, 1, -1 do
    local value = stack[level]
    if type(value) == "table" and value[path[1]] ~= nil then
      for _, key in ipairs(path) do
        if type(value) ~= "table" then
          return nil
        end
        value = value[key]
      end
      return value
    end
  end
end

local function text_of(part, value)
  local kind = type(value)
  if kind == "string" or kind == "number" or kind == "boolean" or html.is_html(value) then
    return value
  elseif money.is(value) then
    return money.format(value)
  elseif value == nil or value == json.null then
    if part.optional then
      return ""
    end
    error(("%s has no value ({{ %s? }} may have none)"):format(part.name, part.name), 0)
  end
  error(("%s is %s, not a text"):format(part.name, opts.show(value)), 0)
end

local write

local function write_section(out, part, stack)
  local value = lookup(stack, part.path)
  local is_list = type(value) == "table" and not html.is_html(value) and not money.is(value)
    and (#value > 0 or next(value) == nil)
  local absent = value == nil or value == false or value == json.null or is_list and #value == 0
  if part.inverted or absent then
    if part.inverted and absent then
      write(out, part.parts, stack)
    end
    return
  end
  for _, item in ipairs(is_list and value or { value }) do
    stack[#stack + 1] = item
    write(out, part.parts, stack)
    stack[#stack] = nil
  end
end

function write(out, parts, stack)
  for _, part in ipairs(parts) do
    if type(part) == "string" then
      out[#out + 1] = part
    elseif part.parts then
      write_section(out, part, stack)
    else
      out[#out + 1] = part.escape(text_of(part, lookup(stack, part.path)))
    end
  end
end

local function compile(what, text, escape, place)
  if type(text) ~= "string" then
    error(("template.%s: a text, got %s"):format(what, opts.show(text)), 3)
  end
  local self = { text = text, escape = escape, at = 1 }
  local ok, parts = pcall(parse, self, 1, place, nil, 0)
  if not ok then
    error(("template.%s: line %d: %s"):format(what, line_of(text, self.at), parts), 3)
  end
  return function(values, level)
    local out = {}
    local fine, why = pcall(write, out, parts, { values or {} })
    if not fine then
      error("template: " .. why, (level or 1) + 1)
    end
    return table.concat(out)
  end
end

--- HTML: values are escaped as text, as an attribute's or as a URL's, by where they stand; HTML of
--- sipeat.html stays as it is. A function of the values, which gives HTML.
---@param text string
---@return fun(values: table): sipeat.Html
function M.html(text)
  local write_text = compile("html", text, nil, places.new())
  return function(values, level)
    return html.raw(write_text(values, (level or 1) + 1))
  end
end

--- Plain text, as in a mail: nothing is escaped.
---@param text string
---@return fun(values: table): string
function M.text(text)
  return compile("text", text, tostring)
end

--- One line of plain text, as a subject: what would break it becomes a blank.
---@param text string
---@return fun(values: table): string
function M.line(text)
  return compile("line", text, function(value)
    return (tostring(value):gsub("%c+", " "))
  end)
end

return M
