local capture = require "sipeat.capture"
local env = require "sipeat.env"
local mail = require "sipeat.mail"
local t = require "sipeat.luatest"
local task = require "sipeat.task"

local port = t.server "fake_smtp.py"
local url = "smtp://127.0.0.1:" .. port

local function letter(changes)
  local out = {
    from = "SipEat <no-reply@sipeat.test>",
    to = "ada@example.com",
    subject = "Hello",
    text = "Hi.",
    url = url,
  }
  for key, value in pairs(changes or {}) do
    out[key] = value
  end
  return out
end

t.test("a mail is taken by the server, and its id is told", function()
  local sent = assert(mail.send(letter { message_id = "orders.7@sipeat.test", html = "<p>Hi</p>" }))
  t.eq(sent, { message_id = "orders.7@sipeat.test", refused = {} })
  local everybody = letter {
    to = { "Ada <ada@example.com>", "bob@example.com" },
    cc = "carol@example.com",
    bcc = { "dan@example.com" },
  }
  t.eq(assert(mail.send(everybody)).refused, {})
end)

t.test("a message id is what was given, or made of it, always the same", function()
  t.eq(assert(mail.send(letter { message_id = "<a.b@sipeat>" })).message_id, "a.b@sipeat")
  local one = assert(mail.send(letter { message_id = "topic:0:17" })).message_id
  t.ok(one:find "^%x+@sipeat%.test$", one)
  t.eq(assert(mail.send(letter { message_id = "topic:0:17" })).message_id, one)
  t.ok(assert(mail.send(letter { message_id = "topic:0:18" })).message_id ~= one)
  local free = assert(mail.send(letter())).message_id
  t.ok(free:find "^[%x-]+@sipeat%.test$" and free ~= assert(mail.send(letter())).message_id)
end)

t.test("refusals say whether trying again can help", function()
  local rows = {
    ["unknown@x.test"] = "SMTP_REFUSED", ["temp@x.test"] = "SMTP_TEMPORARY",
    ["reject-data@x.test"] = "SMTP_REFUSED", ["defer-data@x.test"] = "SMTP_TEMPORARY",
    ["drop@x.test"] = "ECONNRESET",
  }
  for to, expected in pairs(rows) do
    local sent, message, code = mail.send(letter { to = to })
    t.eq(sent, nil, to)
    t.eq(code, expected, to)
    t.has(message, "mail smtp://127.0.0.1:" .. port)
  end
  local sent = assert(mail.send(letter { to = { "unknown@x.test", "ada@x.test" } }))
  t.eq(sent.refused, {
    { address = "unknown@x.test", status = 550, text = "550 5.1.1 no such user" },
  })
end)

t.test("silence, and nobody there, are failures with codes", function()
  local sent, _, code = mail.send(letter { to = "hang@x.test", timeout = "300ms" })
  t.eq(sent, nil)
  t.eq(code, "ETIMEDOUT")
  sent, _, code = mail.send(letter { url = "smtp://127.0.0.1:1" })
  t.eq(sent, nil)
  t.eq(code, "ECONNREFUSED")
  sent, _, code = mail.send(letter { url = "http://127.0.0.1:1" })
  t.eq(sent, nil)
  t.eq(code, "INVALID_URL")
end)

t.test("what would change the envelope or the headers is refused", function()
  local rows = {
    { to = "ada@example.com\r\nRCPT TO:<eve@x.test>" }, { to = "ada" }, { to = "a@b, c@d" },
    { from = "x\n@y.test" }, { cc = { "ada@example.com", "nobody" } }, { reply_to = "x" },
  }
  for i, row in ipairs(rows) do
    local sent, message, code = mail.send(letter(row))
    t.eq(sent, nil, i)
    t.eq(code, "INVALID_ADDRESS", i)
    t.has(message, "mail: " .. (next(row)))
  end
  for _, row in ipairs {
    { subject = "a\r\nBcc: eve@x.test" }, { subject = "a\0b" }, { subject = "\xff" },
    { headers = { ["X-A"] = "a\r\nBcc: eve@x.test" } }, { headers = { Bcc = "eve@x.test" } },
    { headers = { ["Content-Type"] = "text/evil" } }, { text = "\xff" },
  } do
    local sent, _, code = mail.send(letter(row))
    t.eq(sent, nil)
    t.eq(code, "EINVAL")
  end
end)

t.test("the caller's mistakes throw at the caller's line", function()
  local function mistake(part, options)
    t.has(t.fails(function() mail.send(options) end, part), "mail_test.lua")
  end
  mistake("subject", letter { sbject = "x" })
  mistake("text or html", { to = "a@b", subject = "x" })
  mistake("nobody", letter { to = {} })
  mistake("headers are", letter { headers = { "x" } })
end)

t.test("without settings the failure says which one is missing", function()
  t.eq(env.get "SMTP_URL", nil)
  local bare = letter()
  bare.url = nil
  local sent, message, code = mail.send(bare)
  t.eq(sent, nil)
  t.eq(code, "NOT_CONFIGURED")
  t.has(message, "SMTP_URL")
  local none = letter()
  none.from = nil
  sent, message, code = mail.send(none)
  t.eq(sent, nil)
  t.eq(code, "NOT_CONFIGURED")
  t.has(message, "MAIL_FROM")
end)

t.test("capture: shows the mail as it would be sent", function()
  capture.enable()
  local sent = assert(mail.send(letter {
    url = "capture:", subject = "Grüße", html = "<p>Hi</p>", headers = { ["X-Order"] = 7 },
    message_id = "m1@sipeat.test", reply_to = "help@sipeat.test",
  }))
  t.eq(sent.captured, true)
  local entry = capture.entries "mail"[1].entry
  t.eq(entry.subject, "Grüße")
  t.eq(entry.html, "<p>Hi</p>")
  t.eq(entry.to, { "ada@example.com" })
  t.has(entry.mime, "Subject: =?UTF-8?B?R3LDvMOfZQ==?=\r\n")
  t.has(entry.mime, "Message-ID: <m1@sipeat.test>\r\n")
  t.has(entry.mime, "X-Order: 7\r\nReply-To: help@sipeat.test\r\n")
  t.has(entry.mime, "\r\nAuto-Submitted: auto-generated\r\n")
  t.ok(entry.mime:find("text/plain", 1, true) < entry.mime:find("text/html", 1, true))
  local nothing, _, code = mail.send(letter { url = "capture:", to = "nobody" })
  t.eq(nothing, nil)
  t.eq(code, "INVALID_ADDRESS")
end)

t.test("attachments: shown as what they are, sent as they are", function()
  assert(mail.send(letter {
    url = "capture:", html = '<img src="cid:logo">', attachments = {
      { name = "Rechnung März.pdf", type = "application/pdf", data = "%PDF" },
      { name = "logo.png", type = "image/png", data = "\0\1", content_id = "logo" },
    },
  }))
  local entry = capture.entries "mail"[1].entry
  t.eq(entry.attachments, {
    { name = "Rechnung März.pdf", type = "application/pdf", bytes = 4 },
    { name = "logo.png", type = "image/png", bytes = 2, content_id = "logo" },
  })
  t.has(entry.mime, "filename*0*=UTF-8''Rechnung%20M%C3%A4rz.pdf\r\n\r\nJVBERg==\r\n")
  t.has(entry.mime, 'Content-Disposition: inline;\r\n filename="logo.png"\r\nContent-ID: <logo>')
  assert(mail.send(letter { attachments = {
    { name = "big.bin", data = ("\0\255"):rep(5 * 1024 * 1024) },
  } }))
  local sent, message, code = mail.send(letter { attachments = { { name = "a/b", data = "" } } })
  t.eq({ sent, code }, { nil, "EINVAL" })
  t.has(message, "without folders")
  sent, message, code = mail.send(letter { attachments = {
    { name = "x", data = ("x"):rep(26 * 1024 * 1024) },
  } })
  t.eq({ sent, code }, { nil, "TOO_BIG" })
  t.has(message, "larger than")
  t.fails(mail.send, "data is required", letter { attachments = { { name = "x" } } })
  t.fails(mail.send, "attachments are a list", letter { attachments = { name = "x" } })
end)

t.test("as a step, the step's key makes the Message-ID", function()
  local first = assert(mail.send(letter(), { key = "e1/customer" })).message_id
  t.eq(assert(mail.send(letter(), { key = "e1/customer" })).message_id, first)
  t.ok(assert(mail.send(letter(), { key = "e2/customer" })).message_id ~= first)
  t.eq(assert(mail.send(letter { message_id = "a@b.test" }, { key = "e1" })).message_id, "a@b.test")
end)

t.test("a template makes subject, text and HTML, each escaped as it needs", function()
  local ready = mail.template {
    subject = "{{ name }}: ready",
    text = "Hello {{ name }}, slot {{ slot }}.",
    html = '<p title="{{ name }}">Slot <b>{{ slot }}</b></p>',
  }
  local made = ready({ name = '<"A">\r\nBcc: eve@x.test', slot = 4 }, { to = "ada@example.com" })
  t.eq(made, {
    to = "ada@example.com", subject = '<"A"> Bcc: eve@x.test: ready',
    text = 'Hello <"A">\r\nBcc: eve@x.test, slot 4.',
    html = '<p title="&lt;&quot;A&quot;&gt;\r\nBcc: eve@x.test">Slot <b>4</b></p>',
  })
  assert(mail.send(letter(made)))
  t.has(t.fails(function() ready { name = "A" } end, "slot has no value"), "mail_test.lua")
  t.fails(mail.template, "mail.template: html: ", { subject = "a", html = "<p {{ a }}>" })
  t.fails(mail.template, "text or html", { subject = "a" })
end)

t.test("many mails are sent side by side, and the loop goes on meanwhile", function()
  local functions, ticks = {}, 0
  for i = 1, 8 do
    functions[i] = function() return mail.send(letter { to = "slow@x.test" }) end
  end
  local clock = task.spawn(function()
    while true do
      if not task.sleep "10ms" then
        return
      end
      ticks = ticks + 1
    end
  end)
  assert(task.gather(functions))
  clock:kill()
  t.ok(ticks > 20, "the loop stood still: " .. ticks)
end)

t.test("a task that is stopped while its mail is under way unwinds at once", function()
  local code
  local child = task.spawn(function()
    local _, _, why = mail.send(letter { to = "hang@x.test" })
    code = why
  end)
  task.sleep "50ms"
  child:kill()
  child:join()
  t.eq(code, "ECANCELED")
end)

-- Left running on purpose: the end of the program has to cope with mails under way and waiting.
for _ = 1, 6 do
  task.spawn(function() mail.send(letter { to = "hang@x.test" }) end)
end
task.sleep "50ms"
