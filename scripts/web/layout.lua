--- What all pages have in common: head, navigation, and the place of what is announced.
local access = require "sipeat.access"
local assets = require "web.assets"
local html = require "sipeat.html"

local M = {}

local h = html.tags

local NAVIGATION = {
  { "/request", "Get a drink" },
  { "/", "Contact" },
  { "/machines", "Machines" },
}

local function navigation(path)
  local links = {}
  for i, entry in ipairs(NAVIGATION) do
    local here = entry[1] == path
    links[i] = h.li { h.a { href = entry[1], ["aria-current"] = here and "page", entry[2] } }
  end
  return h.nav { ["aria-label"] = "Main", h.ul { links } }
end

local function head(title)
  return html.join(
    h.meta { name = "viewport", content = "width=device-width, initial-scale=1" },
    h.meta { name = "color-scheme", content = "light dark" },
    h.title { title .. " – SipEat" },
    h.link { rel = "icon", href = assets.url "icon.svg", type = "image/svg+xml" },
    h.link { rel = "stylesheet", href = assets.url "web.css" },
    h.script { src = assets.url "web.js", defer = true }
  )
end

-- The browser may keep a page of a form, with what was entered, for its back button.
local KEPT = "private, no-cache"

--- A page: { title, path, content, status?, headers?, kept? } as an answer. With `kept` it is one
--- that the back button shows as it was.
function M.page(o)
  local headers = { ["cache-control"] = o.kept and KEPT or nil }
  for name, value in pairs(o.headers or {}) do
    headers[name] = value
  end
  local body = h.body {
    h.a { class = "skip", href = "#main", "Skip to the content" },
    h.header {
      h.a { class = "brand", href = "/", "SipEat" },
      navigation(o.path),
    },
    h.main { id = "main", tabindex = "-1", h.h1 { o.title }, o.content },
    h.footer { h.p { "SipEat vending machines · ", h.a { href = "/api", "API" } } },
  }
  return access.page(html.document("en", head(o.title), body), {
    status = o.status, headers = headers,
  })
end

--- A page that says one thing, and where to go on.
function M.notice(o)
  return M.page {
    title = o.title, path = o.path, status = o.status, headers = o.headers,
    content = {
      h.p { class = "lead", o.text },
      o.link and h.p { h.a { class = "button", href = o.link, o.link_text } },
    },
  }
end

--- The page for when something that it needs does not answer.
function M.unavailable(path)
  return M.notice {
    title = "Please try again", path = path, status = 503, headers = { ["retry-after"] = "10" },
    text = "Something that this page needs does not answer at the moment.",
    link = path, link_text = "Try again",
  }
end

--- The page for what is not there.
function M.missing(text, link, link_text)
  return M.notice {
    title = "Not found", status = 404, text = text, link = link, link_text = link_text,
  }
end

return M
