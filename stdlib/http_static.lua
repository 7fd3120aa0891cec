--- Files that are compiled into the program, as routes: with a strong tag, compressed once, and
--- kept for ever by clients that ask for them by a name with their hash.
local httpd = require "sipeat.core.httpd"
local opts = require "sipeat.opts"
local routes = require "sipeat.http_routes"
local sys = require "sipeat.core.sys"

local M = {}

local ASSET = opts.spec("sipeat.http.asset", {
  builtin = { "boolean", default = false },
  headers = { "table" },
  type = { "string" },
})

local HASH_CHARS = 12
local FOR_EVER = "public, max-age=31536000, immutable"
local TYPES = {
  css = "text/css; charset=utf-8",
  html = "text/html; charset=utf-8",
  ico = "image/x-icon",
  js = "text/javascript; charset=utf-8",
  json = "application/json",
  map = "application/json",
  png = "image/png",
  svg = "image/svg+xml",
  txt = "text/plain; charset=utf-8",
  woff2 = "font/woff2",
}

local loaded = {} -- name -> { plain, packed (when that is smaller), hash, type }

local function load(name)
  local file = loaded[name]
  if file then
    return file
  end
  local plain = sys.asset(name)
  if not plain then
    return nil
  end
  local packed = httpd.gzip(plain)
  file = {
    plain = plain,
    packed = #packed < #plain * 0.9 and packed or nil,
    hash = sys.sha256(plain):sub(1, HASH_CHARS),
    type = TYPES[name:match "%.(%w+)$"] or "application/octet-stream",
  }
  loaded[name] = file
  return file
end

local function handler(file, options, cache)
  local function headers_of(packed)
    local headers = {}
    for name, value in pairs(options.headers or {}) do
      headers[name:lower()] = value
    end
    headers["content-type"] = options.type or file.type
    headers["cache-control"] = headers["cache-control"] or cache
    headers.vary = file.packed and "accept-encoding" or nil
    headers.etag = ('"%s%s"'):format(file.hash, packed and "-gz" or "")
    headers["content-encoding"] = packed and "gzip" or nil
    return headers
  end
  local plain = { headers = headers_of(false), body = file.plain }
  local packed = file.packed and { headers = headers_of(true), body = file.packed }
  return function(req)
    return packed and req.exchange:takes_gzip() and packed or plain
  end
end

--- Serves a compiled-in file at `path`, where clients ask each time whether it changed, and at the
--- path that is returned, which has its hash in it and is kept for ever: for links in pages.
---@param path string "/console/app.js"
---@param name string of the file
---@param options sipeat.http.AssetOptions?
---@return string path "/console/app.0a1b2c3d4e5f.js"
function M.asset(path, name, options)
  local o = ASSET(options)
  local file = load(name)
  if not file then
    error(("http.asset: no file %s is compiled in"):format(opts.show(name)), 2)
  end
  local stem, ending = path:match "^(.*/[^/]-)(%.?[^./]*)$"
  local hashed = ("%s.%s%s"):format(stem or path, file.hash, ending or "")
  local route = { builtin = o.builtin }
  for where, cache in pairs { [path] = "no-cache", [hashed] = FOR_EVER } do
    local ok, message = routes.add("GET " .. where, handler(file, o, cache), route)
    if not ok then
      error("http.asset: " .. message, 2)
    end
  end
  return hashed
end

return M
