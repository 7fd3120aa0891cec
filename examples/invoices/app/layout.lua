--- What the pages have in common: head, navigation, style; plain HTML that needs no JavaScript.
local access = require "sipeat.access"
local html = require "sipeat.html"
local http = require "sipeat.http"

local M = {}

local h = html.tags

local STYLE = [[
:root { color-scheme: light dark; --line: #8a949e; --accent: #0b5cad; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --accent: #8cc4ff; --bad: #ff9d94; } }
* { box-sizing: border-box; }
body { font: 100%/1.5 system-ui, sans-serif; max-width: 48rem; margin: 0 auto; padding: 1rem; }
header { display: flex; flex-wrap: wrap; gap: .5rem 1.5rem; align-items: center; padding: 1rem 0; }
header strong { font-size: 1.2rem; }
a { color: var(--accent); }
.skip { position: absolute; left: -999rem; }
.skip:focus { position: static; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .5rem; border-bottom: 1px solid var(--line); }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
label { display: block; font-weight: 600; margin-top: 1rem; }
input, select, button { font: inherit; min-height: 2.75rem; padding: .5rem .75rem; width: 100%; }
button { width: auto; margin-top: 1.25rem; cursor: pointer; }
td form, td button { display: inline; margin: 0; }
.error { color: var(--bad); margin: .25rem 0 0; }
.banner { border: 2px solid var(--bad); border-radius: .5rem; padding: 0 1rem; }
]]

local function style()
  return {
    body = STYLE,
    headers = { ["content-type"] = "text/css; charset=utf-8", ["cache-control"] = "no-cache" },
  }
end

--- A page: { title, content, status?, headers? } as an answer.
function M.page(o)
  local head = html.join(
    h.meta { name = "viewport", content = "width=device-width, initial-scale=1" },
    h.title { o.title .. " – Invoices" },
    h.link { rel = "stylesheet", href = "/dashboard/style.css" }
  )
  local body = h.body {
    h.a { class = "skip", href = "#main", "Skip to the content" },
    h.header {
      h.strong { "Invoices" },
      h.nav { ["aria-label"] = "Main", h.a { href = "/dashboard/invoices", "All invoices" }, " · ",
        h.a { href = "/dashboard/invoices/create", "New invoice" } },
    },
    h.main { id = "main", tabindex = "-1", h.h1 { o.title }, o.content },
  }
  local headers = { ["cache-control"] = "no-store" }
  for name, value in pairs(o.headers or {}) do
    headers[name] = value
  end
  return access.page(html.document("en", head, body), { status = o.status, headers = headers })
end

--- A page that says one thing.
function M.notice(status, title, text)
  return M.page {
    title = title, status = status, content = { h.p { text } },
  }
end

function M.routes()
  http.route("GET /dashboard/style.css", style)
end

return M
