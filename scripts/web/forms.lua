--- Forms of typed events: fields with their labels, hints and messages, and what was sent as data
--- of the event. What is wrong is what the event's definition says is wrong, in words for people.
--
-- A field is { name, label, kind?, hint?, required?, autocomplete?, options?, … }: name is a path
-- into the data, as in "location.city"; kind is an input's type, "textarea", "select" or
-- "checkbox".
local access = require "sipeat.access"
local html = require "sipeat.html"
local layout = require "web.layout"

local M = {}

local h = html.tags

-- --- reading ---

-- The node of a path in a definition; nil where the definition does not look inside.
local function node_of(definition, path)
  local node = definition.shape.node
  for name in path:gmatch "[^.]+" do
    local child = node and node.children and node.children[name]
    node = child and child.node
  end
  return node
end

local function number_of(text)
  local value = text:find "^%s*-?%d+[.,]?%d*%s*$" and tonumber((text:gsub(",", ".")))
  return value and math.tointeger(value) or value or text
end

local CONVERT = {
  boolean = function(text)
    return text == "yes"
  end,
  integer = number_of,
  number = number_of,
  money = number_of,
}

local function put(data, path, value)
  local at = data
  local parent, last = path:match "^(.*)%.([^.]+)$"
  for name in (parent or ""):gmatch "[^.]+" do
    at[name] = at[name] or {}
    at = at[name]
  end
  at[last or path] = value
end

--- One value as it was typed: without blanks around it, lines as lines; nil when there is nothing.
function M.typed(text)
  text = (text or ""):gsub("\r\n?", "\n"):gsub("^%s+", ""):gsub("%s+$", "")
  return text ~= "" and text or nil
end

--- What was sent in these fields, as data that the definition can check.
function M.read(definition, fields, sent)
  local data = {}
  for _, field in ipairs(fields) do
    local text = M.typed(sent[field.name])
    local node = node_of(definition, field.name)
    local convert = CONVERT[field.kind == "checkbox" and "boolean" or node and node.kind]
    if field.kind == "checkbox" then
      put(data, field.name, convert(text))
    elseif text then
      put(data, field.name, convert and convert(text) or text)
    end
  end
  return data
end

local NUMBERS = {
  integer = "This has to be a whole number.",
  number = "This has to be a number.",
  email = "This is no e-mail address, such as ada@example.com.",
}

--- What is wrong with a field, in words for whoever fills it in.
function M.words(problem, definition)
  local node = node_of(definition, problem.field)
  if problem.code == "missing" or problem.code == "blank" then
    return "Please fill this in."
  elseif problem.code == "too_long" then
    return ("This is longer than %d characters."):format(node and node.max or 0)
  elseif problem.code == "not_listed" then
    return "Please choose one of these."
  elseif node and NUMBERS[node.kind] then
    return NUMBERS[node.kind]
  elseif node and node.kind == "money" then
    return "This has to be an amount such as 2.50."
  end
  return "This is not as expected: " .. problem.message .. "."
end

--- Checks data as the consumer of the event will: it is right (true), or nil and the messages:
--- field -> text.
function M.check(definition, data)
  local typed, _, _, problems = definition:validate(data)
  if typed then
    return true
  end
  local errors = {}
  for _, problem in ipairs(problems) do
    errors[problem.field] = errors[problem.field] or M.words(problem, definition)
  end
  return nil, errors
end

-- --- showing ---

local function id_of(name)
  return (name:gsub("[^%w]+", "-"):gsub("-$", ""))
end

--- The id of a field's element, for links to it.
M.id = id_of

local function described(field, error_text)
  local ids = {}
  if field.hint then
    ids[#ids + 1] = id_of(field.name) .. "-hint"
  end
  if error_text then
    ids[#ids + 1] = id_of(field.name) .. "-error"
  end
  return #ids > 0 and table.concat(ids, " ") or nil
end

local function attributes_of(field, error_text)
  return {
    id = id_of(field.name), name = field.name, autocomplete = field.autocomplete,
    required = field.required, maxlength = field.max, inputmode = field.inputmode,
    min = field.min, step = field.step, ["data-auto"] = field.auto,
    ["aria-invalid"] = error_text and "true", ["aria-describedby"] = described(field, error_text),
  }
end

local function options_of(field, value)
  local list = {}
  for i, option in ipairs(field.options) do
    list[i] = h.option { value = option[1], selected = option[1] == value, option[2] }
  end
  return list
end

local function control(field, value, error_text)
  local attributes = attributes_of(field, error_text)
  if field.kind == "textarea" then
    attributes.rows = field.rows or 6
    attributes[1] = "\n" .. (value or "")
    return h.textarea(attributes)
  elseif field.kind == "select" then
    attributes[1] = options_of(field, value)
    return h.select(attributes)
  end
  attributes.type, attributes.value = field.kind or "text", value
  return h.input(attributes)
end

local function message(field, error_text)
  return error_text and h.p { class = "error", id = id_of(field.name) .. "-error", error_text }
end

local function checkbox(field, value, error_text)
  local attributes = attributes_of(field, error_text)
  attributes.type, attributes.value, attributes.checked = "checkbox", "yes", value == "yes"
  return html.join(
    h.label { class = "choice", h.input(attributes), field.label }, message(field, error_text)
  )
end

--- A field with the text that it has, and what is wrong with it.
function M.field(field, value, error_text)
  if field.kind == "checkbox" then
    return checkbox(field, value, error_text)
  end
  local optional = not field.required and h.span { class = "optional", " (optional)" }
  return h.div {
    class = "field",
    h.label { ["for"] = id_of(field.name), field.label, optional },
    field.hint and h.p { class = "hint", id = id_of(field.name) .. "-hint", field.hint },
    control(field, value, error_text),
    message(field, error_text),
  }
end

--- Several of them.
function M.fields(fields, sent, errors)
  local list = {}
  for i, field in ipairs(fields) do
    list[i] = M.field(field, sent[field.name] or field.default, errors[field.name])
  end
  return list
end

--- What stands above a form that was refused: each message with a link to its field.
function M.summary(fields, errors)
  if next(errors) == nil then
    return nil
  end
  local items, seen = {}, {}
  for _, field in ipairs(fields) do
    if errors[field.name] then
      seen[field.name] = true
      items[#items + 1] = h.li {
        h.a { href = "#" .. id_of(field.name), field.label }, ": ", errors[field.name],
      }
    end
  end
  for _, name in ipairs(M.names(errors)) do
    if not seen[name] then
      items[#items + 1] = h.li { name ~= "" and name .. ": ", errors[name] }
    end
  end
  return h.div {
    class = "banner bad", role = "alert", tabindex = "-1", ["data-errors"] = true,
    h.h2 { "Please look at this again" },
    h.ul { items },
  }
end

--- The names of messages, sorted.
function M.names(errors)
  local names = {}
  for name in pairs(errors) do
    names[#names + 1] = name
  end
  table.sort(names)
  return names
end

--- What stands above a form that could not be sent now: nothing of it is lost.
function M.trouble(text)
  return text and h.div {
    class = "banner warn", role = "alert", tabindex = "-1", ["data-errors"] = true,
    h.h2 { "Not sent yet" },
    h.p { text },
  }
end

--- A hidden field.
function M.hidden(name, value)
  return h.input { type = "hidden", name = name, value = value }
end

--- What a visitor's form has sent, and the form's key; or nil and the answer: a page that leads
--- back to `path` when it cannot be read, again(req, sent, state) when its token is refused.
function M.received(req, path, again)
  local sent = req:form()
  if not sent then
    return nil, layout.notice {
      title = "That did not arrive well", path = path, status = 400, link = path,
      link_text = "Back", text = "The form could not be read. Please fill it in again.",
    }
  end
  local key, trouble, code = access.check_form(req, sent)
  if not key then
    local status = code == "CSRF" and 403 or 503
    return nil, again(req, sent, { status = status, trouble = trouble, fresh = true })
  end
  return sent, key
end

return M
