--- HTML as text: elements are made by calls, and what they hold is escaped unless it is HTML
--- already. So nothing that comes from outside can become markup.
local M = {}

local Html = { __name = "sipeat.html" }

local VOID = {
  area = true, base = true, br = true, col = true, hr = true, img = true, input = true, link = true,
  meta = true, source = true, wbr = true,
}
local ESCAPES = {
  ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["'"] = "&#39;",
}

function Html:__tostring()
  return self[1]
end

--- Text as text of HTML, also within an attribute's quotes. Bytes that are no UTF-8 and control
--- characters become the replacement character.
function M.escape(text)
  text = tostring(text)
  if not utf8.len(text) then
    text = text:gsub("[\128-\255]", "\u{fffd}")
  end
  return (text:gsub("[%z\1-\8\11\12\14-\31\127]", "\u{fffd}"):gsub("[&<>\"']", ESCAPES))
end

--- Says that this text is HTML already: for what was made here, never for what came from outside.
function M.raw(text)
  return setmetatable({ text }, Html)
end

function M.is_html(value)
  return getmetatable(value) == Html
end

local function put(out, item)
  if item == nil or item == false then
    return
  elseif M.is_html(item) then
    out[#out + 1] = item[1]
  elseif type(item) == "table" then
    for i = 1, item.n or #item do
      put(out, item[i])
    end
  else
    out[#out + 1] = M.escape(item)
  end
end

local function put_attributes(out, attributes)
  local names = {}
  for name in pairs(attributes) do
    if type(name) == "string" then
      names[#names + 1] = name
    end
  end
  table.sort(names)
  for _, name in ipairs(names) do
    local value = attributes[name]
    if not name:find "^[%a][%w:-]*$" or name:lower():find "^on" then
      error(("html: %q is no attribute that a page here may have"):format(name), 3)
    elseif value == true then
      out[#out + 1] = " " .. name
    elseif value ~= false then
      out[#out + 1] = (' %s="%s"'):format(name, M.escape(value))
    end
  end
end

--- What the items are one after the other: texts, numbers, HTML, lists of them; nil and false are
--- left out.
function M.join(...)
  local out = {}
  put(out, table.pack(...))
  return M.raw(table.concat(out))
end

--- One element: element("a", { href = url }, "text", …). An attribute of true stands without a
--- value, one of false or nil not at all; its list part is what the element holds, before the rest.
function M.element(name, attributes, ...)
  local out = { "<", name }
  put_attributes(out, attributes or {})
  out[#out + 1] = ">"
  if not VOID[name] then
    put(out, attributes or {})
    put(out, table.pack(...))
    out[#out + 1] = "</" .. name .. ">"
  end
  return M.raw(table.concat(out))
end

--- h.p { class = "x", "text", h.b { "bold" } } is element("p", …).
M.tags = setmetatable({}, {
  __index = function(tags, name)
    local function make(content)
      if type(content) ~= "table" or M.is_html(content) then
        content = { content }
      end
      return M.element(name, content)
    end
    rawset(tags, name, make)
    return make
  end,
})

--- A whole document.
function M.document(language, head, body)
  return "<!doctype html>\n" .. tostring(M.element("html", { lang = language },
    M.element("head", { M.element("meta", { charset = "utf-8" }), head }), body))
end

return M
