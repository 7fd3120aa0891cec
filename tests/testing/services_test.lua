--- The ready-made services of `sipeat test`, at their best and at their worst.
local discord_client = require "sipeat.discord"
local mail_client = require "sipeat.mail"
local money = require "sipeat.money"
local stripe = require "sipeat.stripe"
local t = require "sipeat.testing"

local function capture(key, card)
  return stripe.capture({
    amount = money.new(250, "EUR"), payment_method = card or "pm_card_visa",
  }, { key = key })
end

local function code_of(_, why)
  return type(why) == "table" and why.code or why
end

t.test("a payment is made once for its key", function()
  local payments = t.payments()
  local first = t.ok(capture "a")
  t.eq(t.ok(capture "a").id, first.id)
  t.eq({ payments.captured(), payments:keys().a }, { 1, 2 })
  t.ok(capture "b")
  t.eq(payments.captured(), 2)
  t.eq(t.ok(stripe.refund(nil, first, { key = "a:undo" })).status, "succeeded")
  t.eq(payments.refunded(), 1)
  t.eq(payments.entries()[1].amount_minor, 250)
end)

t.test("payments that go wrong: what has happened, and what the caller is told", function()
  local payments = t.payments()
  local CASES = { -- what next says, the caller's code, payments made
    { "no answer", "ETIMEDOUT", 0 }, { "late answer", "ETIMEDOUT", 1 },
    { "half an answer", "ECONNRESET", 1 }, { "connection refused", "ECONNREFUSED", 0 },
    { "error", "SERVER_ERROR", 0 }, { "conflict", "CONFLICT", 0 },
    { "declined", "CARD_DECLINED", 0 }, { "rate limited", "RATE_LIMITED", 0 },
  }
  for i, case in ipairs(CASES) do
    local before = payments.captured()
    payments:next(case[1])
    local found = { case[1], code_of(capture("key" .. i)), payments.captured() - before }
    t.eq(found, { case[1], case[2], case[3] })
  end
  payments:next "error after"
  t.ok(capture "found", "the client looks for what a 500 has left")
  t.raises(function()
    payments:next "nonsense"
  end, "is none of")
end)

t.test("a key that has expired makes a second payment", function()
  local payments = t.payments { key_lifetime = "24h" }
  t.ok(capture "k")
  t.advance "23h"
  t.ok(capture "k")
  t.eq(payments.captured(), 1)
  t.advance "2h"
  t.ok(capture "k")
  t.eq(payments.captured(), 2)
  payments:next "expired key"
  t.ok(capture "k")
  t.eq(payments.captured(), 3)
end)

t.test("a card that declines, and a key that is used for something else", function()
  t.payments()
  t.eq(code_of(capture("x", "pm_card_chargeDeclined")), "CARD_DECLINED")
  t.ok(capture "y")
  local _, why = stripe.capture({
    amount = money.new(300, "EUR"), payment_method = "pm_card_visa",
  }, { key = "y" })
  t.eq(why.code, "IDEMPOTENCY_MISMATCH")
end)

local function send(id)
  local sent, message, code = mail_client.send {
    from = "a@b.example", to = { "c@d.example" }, subject = "Hello", text = "World",
    message_id = id, timeout = "7s",
  }
  return sent and "sent" or code, message
end

t.test("mail is taken, and counted by its Message-ID", function()
  local mail = t.mail()
  t.eq(send "1@b.example", "sent")
  t.eq(send "1@b.example", "sent")
  t.eq(send "2@b.example", "sent")
  t.eq({ mail:count(), #mail.messages, mail.by_id["1@b.example"] }, { 2, 3, 2 })
  t.eq(mail.messages[1].to, { "c@d.example" })
  t.has(mail.messages[1].mime, "Subject: Hello")
end)

t.test("mail that goes wrong", function()
  local mail = t.mail()
  mail:next("refused", "temporary", "connection refused", "no answer", "late answer")
  local codes, began = {}, t.now_ms()
  for i = 1, 6 do
    codes[i] = (send(i .. "@b.example"))
  end
  t.eq(codes, {
    "SMTP_REFUSED", "SMTP_TEMPORARY", "ECONNREFUSED", "ETIMEDOUT", "ETIMEDOUT", "sent",
  })
  t.eq(mail:count(), 2, "the late one and the last one")
  t.eq(t.now_ms() - began, 14000)
end)

t.test("an address that is none is refused before anything is sent", function()
  local mail = t.mail()
  local sent, _, code = mail_client.send {
    from = "a@b.example", to = "nobody", subject = "x", text = "y",
  }
  t.eq({ sent, code, mail:count() }, { nil, "INVALID_ADDRESS", 0 })
end)

t.test("Discord takes a notice, after what holds it up", function()
  local discord = t.discord()
  discord:next("rate limited", "error")
  t.ok(discord_client.send { content = "hello" })
  t.eq(discord.messages()[1].content, "hello")
  t.eq(#discord.messages(), 1)
  local refused, _, code = discord_client.send { content = ("x"):rep(2001) }
  t.eq({ refused, code, #discord.messages() }, { nil, "INVALID_MESSAGE", 1 })
end)

t.test("a chain that dies at every step still pays once", function()
  local chain = require "sipeat.chain"
  local report = t.crash_at_every_step(function(run)
    local paid, payments = {}, 0
    local outcome = run(chain "sale" {
      { "pay", effect = "idempotent", args = function() return { amount = 1 } end,
        run = function(_, ctx)
          payments, paid[ctx.key] = payments + (paid[ctx.key] and 0 or 1), true
          return { id = ctx.key }
        end },
    })
    t.eq({ outcome.state, payments }, { "done", 1 })
  end)
  t.ok(report.points > 3, report)
end)
