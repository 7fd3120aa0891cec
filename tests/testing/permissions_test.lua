--- What a script declares that it needs binds it in `sipeat test`, too; the test itself is free.
local env = require "sipeat.env"
local http = require "sipeat.http"
local sipeat = require "sipeat"
local t = require "sipeat.testing"

t.before(function()
  t.env { GUARDED = "yes", HIDDEN = "no" }
  t.http.on("*", "/any", { status = 204 })
  t.mail {}
  t.load "scripts/guarded.lua"
end)

local function try(way, to)
  return t.deliver("guarded", "k", { type = "try", data = { way = way, to = to } })
end

local REFUSED = {
  { "request", "https://evil.example/any", 'the host evil.example:443 .* hosts = { "evil' },
  { "publish", "other", "the topic other " },
  { "emit", "other", "the topic other " },
  { "read", "other", "the topic other " },
  { "describe", "other", "the topic other " },
  { "mail", "smtp://evil.example", "the host evil.example:25 " },
  { "env", "HIDDEN", "the variable HIDDEN " },
  { "file", "/etc/hostname", "reading /etc/hostname " },
  { "database", "/tmp/guarded.db", "writing /tmp/guarded.db " },
  { "listen", "127.0.0.1:8081", "the port 127.0.0.1:8081 " },
}

t.test("what was not declared is refused, by file and line", function()
  for _, case in ipairs(REFUSED) do
    local outcome = try(case[1], case[2])
    t.eq(outcome.status, "dead", case[1])
    local message = outcome.failure.message
    t.ok(message:find("scripts/guarded%.lua:%d+: " .. case[3]), message)
    t.ok(message:find("is not permitted", 1, true), message)
  end
  t.eq(t.http.calls(), {})
end)

t.test("what was declared goes on", function()
  t.eq(try("request", "https://shop.example/any").result, { got = 204 })
  t.eq(try("publish", "allowed").status, "done")
  t.eq(try("emit", "allowed").status, "done")
  t.eq(try("read", "allowed").status, "done")
  t.eq(try("mail", "smtp://mail.test").status, "done")
  t.eq(try("env", "GUARDED").result, { got = "yes" })
end)

t.test("the test may what it wants", function()
  t.eq(t.ok(http.get "https://evil.example/any").status, 204)
  t.ok(sipeat.publish("tick", {}, { topic = "other" }))
  t.eq(env.get "HIDDEN", "no")
end)
