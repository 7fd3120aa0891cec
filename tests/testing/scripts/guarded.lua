--- A script that says what it needs, for permissions_test.lua.
local env = require "sipeat.env"
local files = require "sipeat.core.sys"
local http = require "sipeat.http"
local kafka = require "sipeat.kafka"
local mail = require "sipeat.mail"
local sipeat = require "sipeat"
local sql = require "sipeat.sql"

sipeat.permissions {
  hosts = { "shop.example", "mail.test" }, topics = { "guarded", "allowed" },
  groups = { "guarded" }, env = { "SMTP_URL", "GUARDED" },
}

local ways = {
  request = function(data)
    return assert(http.get(data.to)).status
  end,
  publish = function(data)
    assert(sipeat.publish("tick", {}, { topic = data.to }))
  end,
  emit = function(data, ctx)
    ctx:emit(data.to, "k", "v")
  end,
  read = function(data)
    kafka.reader { topic = data.to }:close()
  end,
  describe = function(data)
    return kafka.admin():describe_topic(data.to) ~= nil
  end,
  mail = function(data)
    assert(mail.send {
      url = data.to, from = "a@b.example", to = "c@d.example", subject = "x", text = "x",
    })
  end,
  env = function(data)
    return env.get(data.to)
  end,
  file = function(data)
    return assert(files.read_file(data.to))
  end,
  database = function(data)
    assert(sql.open(data.to)):close()
  end,
  listen = function(data)
    assert(http.listen(data.to, {}))
  end,
}

sipeat.flow {
  topic = "guarded", group = "guarded", dead_letter = true, retry = { attempts = 1 },
  on = { ["try"] = function(event, ctx)
    return { got = ways[event.data.way](event.data, ctx) }
  end },
}
