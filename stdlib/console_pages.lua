--- The pages of the console: one page for every address below /console that is nothing else, and
--- the two files that it names (console/build.mjs makes the three).
local access = require "sipeat.access"
local problem = require("sipeat.http_server").problem
local sys = require "sipeat.core.sys"

local M = {}

local FILES = { "console.js", "console.css" }

-- The page, with the names under which the files are kept for ever.
local function page_of(http, builtin)
  local page = sys.asset "console.html"
  for _, name in ipairs(FILES) do
    local path = "/console/assets/" .. name
    local first, last = page:find(path, 1, true)
    page = page:sub(1, first - 1) .. http.asset(path, name, builtin) .. page:sub(last + 1)
  end
  return page
end

--- Adds the routes.
---@param http {route: function, asset: function}
function M.add(http)
  local builtin = { builtin = true }
  local page = page_of(http, builtin)
  local show = access.guard("viewer", function(req)
    local area = req.params["*"] or ""
    if area:find "^api/" or area:find "^assets/" then
      return problem(404, "there is no " .. req.path, { code = "NOT_FOUND" })
    end
    return access.page(page)
  end)
  http.route("GET /console", show, builtin)
  http.route("GET /console/*", show, builtin)
end

return M
