--- The stylesheet, the script and the icon of the pages, under addresses that change with their
--- content, so that browsers may keep them.
local http = require "sipeat.http"
local sys = require "sipeat.core.sys"

local M = {}

local FILES = {
  ["web.css"] = { "text/css; charset=utf-8", require "web.style" },
  ["web.js"] = { "text/javascript; charset=utf-8", require "web.client" },
  ["icon.svg"] = { "image/svg+xml", require "web.icon" },
}

local function version(text)
  return sys.sha256(text):sub(1, 12)
end

--- The address of a file.
function M.url(name)
  return ("/web/%s/%s"):format(version(FILES[name][2]), name)
end

local function file(req)
  local found = FILES[req.params.name]
  if not found then
    return http.problem(404)
  end
  -- A page of the version before may still ask for its own: it gets the one that there is.
  local current = req.params.version == version(found[2])
  return {
    body = found[2],
    headers = {
      ["content-type"] = found[1],
      ["cache-control"] = current and "public, max-age=31536000, immutable" or "no-cache",
    },
  }
end

function M.routes()
  http.route("GET /web/:version/:name", file)
end

return M
