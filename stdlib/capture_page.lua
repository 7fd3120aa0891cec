--- The capture page of `sipeat dev`: the page itself, its live stream, and one mail as a document
--- of its own. Nothing that an event carries can become code: the page builds its elements from
--- text, and a mail's HTML runs in a sandbox without scripts, forms or network.
local bytes = require "sipeat.bytes"
local capture = require "sipeat.capture"
local json = require "sipeat.json"
local sys = require "sipeat.core.sys"

local M = {}

local PING = "15s" -- shorter than what browsers and proxies take for dead
local MAX_STREAMS = 32
local BACKLOG = 300 -- entries that a new page is given

local PAGE_POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
  .. "img-src 'self' data:; frame-src 'self'; base-uri 'none'; form-action 'none'; "
  .. "frame-ancestors 'none'"
local MAIL_POLICY = "sandbox; default-src 'none'; style-src %s; img-src data:; "
  .. "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
local STYLES = 100 -- of a mail that are let in; a mail with more loses the others

local instance = sys.uuid():sub(1, 8) -- numbers begin at 1 in each process; a page may outlive it
local streams = 0

local function headers(kind, policy)
  return {
    ["content-type"] = kind,
    ["content-security-policy"] = policy or "default-src 'none'",
    ["referrer-policy"] = "no-referrer",
    ["cache-control"] = "no-store",
  }
end

local function asset(name, kind, policy)
  return function()
    local text = sys.asset(name)
    if not text then
      return { status = 404, headers = headers "text/plain", body = name .. " is not compiled in" }
    end
    return { status = 200, headers = headers(kind, policy), body = text }
  end
end

local function as_json(status, value)
  return { status = status, headers = headers "application/json", body = json.encode(value) }
end

--- What the page needs besides the entries, as JSON; and how often everything was cleared.
local function summary()
  local _, last, clears, counts = capture.state()
  return json.encode {
    instance = instance,
    last = last,
    clears = clears,
    counts = next(counts) and counts or nil,
    version = sys.version,
  }, clears
end

local function entries()
  local first, last = capture.state()
  local texts = {}
  for number = last, first, -1 do
    texts[#texts + 1] = capture.text(number)
  end
  local list = table.concat(texts, ",")
  return {
    status = 200,
    headers = headers "application/json",
    body = ('{"state":%s,"entries":[%s]}'):format((summary()), list),
  }
end

--- Everything after `after` as server-sent events, and the number of the last one.
local function chunk(after)
  local first, last = capture.state()
  local parts = {}
  for number = math.max(first, after + 1), last do
    parts[#parts + 1] = ("id: %s-%d\ndata: %s\n\n"):format(instance, number, capture.text(number))
  end
  return table.concat(parts), last
end

local function state_event()
  local text, clears = summary()
  return ("event: state\ndata: %s\n\n"):format(text), clears
end

--- The number of the last entry that the page has had from this process.
local function last_seen(req)
  local from, number = (req.headers["last-event-id"] or ""):match("^(%x+)%-(%d+)$")
  return from == instance and math.tointeger(tonumber(number)) or 0
end

--- Writes what there is, then what comes, until the page is closed.
local function follow(write, after)
  local _, last = capture.state()
  local told, seen = state_event()
  local at = math.max(after, last - BACKLOG)
  local ok = write("retry: 1000\n\n" .. told)
  while ok do
    local text, code
    local before = at
    text, at = chunk(at)
    if at == before and text == "" then
      ok, _, code = capture.wait(PING)
      if not ok and code ~= "ETIMEDOUT" then
        return
      end
      text = ok and "" or ": still here\n\n"
    end
    local _, _, clears = capture.state()
    if clears ~= seen then
      told, seen = state_event()
      text = told .. text
    end
    ok = text == "" or write(text)
  end
end

local function events(req)
  if streams >= MAX_STREAMS then
    return as_json(503, { error = "too many pages are open" })
  end
  local after = last_seen(req)
  local response = { status = 200, headers = headers "text/event-stream" }
  function response.stream(write)
    streams = streams + 1
    local guard <close> = setmetatable({}, {
      __close = function()
        streams = streams - 1
      end,
    })
    follow(write, after)
    return guard ~= nil
  end
  return response
end

local ENTITIES = { amp = "&", quot = '"', lt = "<", gt = ">", ["#39"] = "'", apos = "'" }

-- A style as Content-Security-Policy names it.
local function hash_of(text)
  return ("'sha256-%s'"):format(sys.base64(bytes.unhex(sys.sha256(text))))
end

--- The source list that lets in the styles which a mail has when it is shown, each by its hash, and
--- none that something in it would make.
local function styles_of(html)
  local list, known = { "'unsafe-hashes'" }, {}
  local function add(text)
    local hash = hash_of(text)
    if not known[hash] and #list <= STYLES then
      known[hash] = true
      list[#list + 1] = hash
    end
  end
  for text in html:gmatch "<[sS][tT][yY][lL][eE][^>]*>(.-)</[sS][tT][yY][lL][eE]" do
    add(text)
  end
  for tag in html:gmatch "<%a[^>]*>" do
    for _, pattern in ipairs { '%s[sS][tT][yY][lL][eE]%s*=%s*"([^"]*)"',
      "%s[sS][tT][yY][lL][eE]%s*=%s*'([^']*)'" } do
      for text in tag:gmatch(pattern) do
        add((text:gsub("&(#?%w+);", ENTITIES)))
      end
    end
  end
  return #list > 1 and table.concat(list, " ") or "'none'"
end

local function mail(req)
  local text = capture.text(math.tointeger(tonumber(req.params.number)))
  local one = text and json.decode(text)
  local html = one and one.kind == "mail" and one.entry.html
  if type(html) ~= "string" then
    local body = "this mail is no longer kept, or has no HTML"
    return { status = 404, headers = headers "text/plain; charset=utf-8", body = body }
  end
  local policy = MAIL_POLICY:format(styles_of(html))
  return { status = 200, headers = headers("text/html; charset=utf-8", policy), body = html }
end

local function clear(req)
  if req.headers["x-sipeat"] ~= "capture" then -- a header that another site's page cannot send
    return as_json(403, { error = "send the header X-Sipeat: capture" })
  end
  capture.clear()
  return as_json(200, { ok = true })
end

--- Registers the page with the HTTP server.
---@param http {route: function}
function M.routes(http)
  local builtin = { builtin = true }
  local page = asset("capture.html", "text/html; charset=utf-8", PAGE_POLICY)
  http.route("GET /", page, builtin) -- unless the script has a page there
  http.route("GET /capture", page, builtin)
  http.route("GET /capture/capture.css", asset("capture.css", "text/css; charset=utf-8"), builtin)
  http.route("GET /capture/capture.js", asset("capture.js", "text/javascript; charset=utf-8"),
    builtin)
  http.route("GET /capture/entries.json", entries, builtin)
  http.route("GET /capture/events", events, builtin)
  http.route("GET /capture/mail/:number", mail, builtin)
  http.route("POST /capture/clear", clear, builtin)
end

return M
