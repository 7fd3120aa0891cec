--- Where in HTML a value of a template stands: found once, when the template is made, from the text
--- around it. A place in which escaping would not help (scripts, styles, tags, values without
--- quotes) is refused then.
local html = require "sipeat.html"

local M = {}

local RAW = {
  script = true, style = true, xmp = true, iframe = true, noembed = true, noframes = true,
  noscript = true, plaintext = true,
}
local URLS = {
  href = true, src = true, action = true, formaction = true, cite = true, poster = true,
  background = true, data = true, manifest = true, longdesc = true, ["xlink:href"] = true,
}
local REFUSED = { style = true, srcdoc = true, srcset = true, imagesrcset = true, ping = true }
local LOADED = { -- what their URLs name is run, or decides where others lead
  script = true, object = true, embed = true, base = true, link = true, iframe = true, frame = true,
}
local SCHEMES = { http = true, https = true, mailto = true, tel = true }
local WITHIN_TAG = { tag = true, attr = true, after_attr = true, gap = true }

local Place = {}
Place.__index = Place

--- Where a document begins.
function M.new()
  return setmetatable({ mode = "text", tag = "", attr = "", value = "" }, Place)
end

local function close(self)
  self.mode = RAW[self.tag] and "raw" or "text"
  self.tail = ""
end

local function begin_attr(self, c)
  self.mode, self.attr = "attr", c:lower()
end

-- mode -> what a character does there
local STEPS = {
  text = function(self, c)
    self.mode = c == "<" and "lt" or "text"
  end,
  lt = function(self, c)
    if c == "!" then
      self.mode, self.tail = "bang", ""
    elseif c == "/" or c:find "%a" then
      self.mode, self.tag = "tagname", c:lower()
    else
      self.mode = c == "<" and "lt" or "text"
    end
  end,
  bang = function(self, c)
    self.tail = self.tail .. c
    self.mode = self.tail == "--" and "comment" or c == ">" and "text" or "bang"
    self.tail = self.mode == "comment" and "" or self.tail
  end,
  comment = function(self, c)
    self.tail = (self.tail .. c):sub(-3)
    self.mode = self.tail == "-->" and "text" or "comment"
  end,
  raw = function(self, c)
    local ending = "</" .. self.tag
    self.tail = (self.tail .. c:lower()):sub(-#ending)
    if self.tail == ending then
      self.mode, self.tag = "tagname", "/" .. self.tag
    end
  end,
  tagname = function(self, c)
    if c == ">" then
      close(self)
    elseif c:find "[%s/]" and self.tag ~= "/" then
      self.mode = "tag"
    else
      self.tag = self.tag .. c:lower()
    end
  end,
  tag = function(self, c)
    if c == ">" then
      close(self)
    elseif not c:find "[%s/]" then
      begin_attr(self, c)
    end
  end,
  attr = function(self, c)
    if c == ">" then
      close(self)
    elseif c == "=" then
      self.mode = "before_value"
    elseif c:find "[%s/]" then
      self.mode = c == "/" and "tag" or "after_attr"
    else
      self.attr = self.attr .. c:lower()
    end
  end,
  after_attr = function(self, c)
    if c == ">" then
      close(self)
    elseif c == "=" then
      self.mode = "before_value"
    elseif not c:find "%s" then
      begin_attr(self, c)
    end
  end,
  before_value = function(self, c)
    if c == '"' or c == "'" then
      self.mode, self.quote, self.value = "value", c, ""
    elseif c == ">" then
      close(self)
    elseif not c:find "%s" then
      self.mode = "unquoted"
    end
  end,
  unquoted = function(self, c)
    if c == ">" then
      close(self)
    elseif c:find "%s" then
      self.mode = "tag"
    end
  end,
  value = function(self, c)
    if c == self.quote then
      self.mode = "tag"
    else
      self.value = self.value .. c
    end
  end,
  gap = function(self, c) -- after a section within a tag
    if not c:find "[%s/>]" then
      error("a section within a tag holds whole attributes", 0)
    end
    self.mode = "tag"
    return c == ">" and close(self)
  end,
}

--- Goes on over text of the template.
function Place:over(text)
  for c in text:gmatch "." do
    STEPS[self.mode](self, c)
  end
end

--- A copy, to compare with after a section.
function Place:copy()
  local copy = setmetatable({}, Place)
  for key, value in pairs(self) do
    copy[key] = value
  end
  return copy
end

--- After a section that began at `start`: it may be there several times or not at all.
function Place:after(start)
  if WITHIN_TAG[start.mode] and WITHIN_TAG[self.mode] and self.tag == start.tag then
    self.mode = "gap"
  elseif self.mode ~= start.mode or self.tag ~= start.tag and self.mode ~= "text"
    or self.mode == "value" and (self.attr ~= start.attr or self.quote ~= start.quote) then
    error("a section ends where it began: within the same tag or quotes, or outside of both", 0)
  end
end

-- --- what becomes of a value ---

local function attribute(value)
  return html.escape(tostring(value))
end

local function content(value)
  return html.is_html(value) and tostring(value) or html.escape(value)
end

local function encoded(value)
  return (tostring(value):gsub("[^%w._~-]", function(c)
    return ("%%%02X"):format(c:byte())
  end))
end

-- A whole URL, or its beginning: a scheme that could run something is taken away.
local function url(value)
  local text = tostring(value)
  local scheme = text:gsub("[%c%s]", ""):match "^([^/?#]-):"
  if scheme and not SCHEMES[scheme:lower()] then
    return "about:invalid"
  end
  return html.escape(text)
end

local function url_part(before)
  local scheme = before:match "^%s*([^/?#\0]-):"
  if scheme and not SCHEMES[scheme:lower()] then
    error(("a value within a %s: URL cannot be made safe"):format(scheme), 0)
  elseif before:find "^%s*$" then
    return url
  elseif not scheme and not before:find "[/?#]" then
    error("a URL begins with one value, or with text up to a / or ? or #", 0)
  end
  return encoded
end

--- The function that makes a value safe here; what it gives is part of what follows. Raises when
--- there is none.
function Place:escape()
  if self.mode == "text" then
    return content
  elseif self.mode ~= "value" then
    local why = "a value stands in text, or in the quotes of an attribute; not in %s"
    local places = { raw = self.tag, comment = "a comment", unquoted = "a value without quotes",
      before_value = "a value without quotes" }
    error(why:format(places[self.mode] or "a tag"), 0)
  elseif REFUSED[self.attr] or self.attr:find "^on" or URLS[self.attr] and LOADED[self.tag] then
    error(("a value in the attribute %s cannot be made safe"):format(self.attr), 0)
  end
  local escape = URLS[self.attr] and url_part(self.value) or attribute
  self.value = self.value .. "\0"
  return escape
end

return M
