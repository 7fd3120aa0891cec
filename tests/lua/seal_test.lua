--- Sealed texts, keys that change, and fields of events that only some can read.
local core = require "sipeat.core.crypto"
local event = require "sipeat.event"
local failure = require "sipeat.failure"
local json = require "sipeat.json"
local record = require "sipeat.record"
local seal = require "sipeat.seal"
local sys = require "sipeat.core.sys"
local t = require "sipeat.luatest"

local function pair(id)
  local closing, opening = core.seal_keys()
  return ("%s seal %s\n"):format(id, sys.base64(closing)),
    ("%s open %s\n"):format(id, sys.base64(opening))
end

local old_seal, old_open = pair "2023"
local new_seal, new_open = pair "2024"

t.test("what is sealed is opened by its key only", function()
  seal.configure { keys = "# of last year\n\n" .. old_seal .. old_open }
  local sealed = t.ok(seal.close "4242 4242")
  t.has(sealed, "sealed:1:2023:")
  t.ok(not sealed:find("4242", 1, true))
  t.ok(sealed ~= seal.close "4242 4242", "the same text is sealed differently each time")
  t.eq(seal.open(sealed), "4242 4242")
  seal.configure { keys = old_seal }
  local text, message, code = seal.open(sealed)
  t.eq(text, nil)
  t.eq(code, "NO_KEY")
  t.has(message, "the key 2023, which opens it, is not here")
  t.ok(seal.close "x", "the key that seals is enough to seal")
end)

t.test("the newest key seals, and all of them open", function()
  seal.configure { keys = old_seal .. old_open }
  local before = seal.close "before"
  seal.configure { keys = old_open .. new_seal .. new_open }
  local after = seal.close "after"
  t.has(after, ":2024:")
  t.eq(seal.open(before), "before")
  t.eq(seal.open(after), "after")
  t.eq(seal.keys(), { newest = "2024", seals = { "2023", "2024" }, opens = { "2023", "2024" } })
end)

t.test("what was changed, cut or made up is bad data", function()
  seal.configure { keys = new_seal .. new_open }
  local sealed = seal.close "text"
  for _, bad in ipairs {
    "", "text", "sealed:1:2024:", "sealed:1:2024:AAAA", "sealed:2:2024:AAAA", sealed:sub(1, -6),
    sealed:gsub("(.)(.)=*$", "%2%1"), (sealed:gsub("2024:(.)", function(first)
      return "2024:" .. (first == "/" and "+" or "/")
    end)),
  } do
    local text, _, code = seal.open(bad)
    t.eq(text, nil, bad)
    t.eq(code, "BAD_DATA", bad)
  end
  t.fails(seal.close, "a text is needed", 5)
  t.fails(core.seal, "a key has 32 bytes", "short", "x")
end)

t.test("a wrong line of keys is named by its number and not shown", function()
  seal.configure { keys = new_seal .. "2024 open hunter2\n" }
  local sealed, message, code = seal.close "x"
  t.eq(sealed, nil)
  t.eq(code, "NO_KEY")
  t.has(message, "line 2 is no key")
  t.ok(not message:find("hunter2", 1, true))
  seal.configure { keys = "" }
  t.has(select(2, seal.close "x"), "there is no key that seals")
  seal.configure { file = "/no/such.keys" }
  t.has(select(2, seal.close "x"), "/no/such.keys")
end)

local Paid = event.define("order.paid", {
  order = "string", card = "string", holder = { name = "string" }, note = "string?",
}, { sealed = { "card", "holder" } })
local DATA = { order = "A1", card = "4242", holder = { name = "Ada" } }

local function written(definition, data)
  local made = t.ok(definition:new(data))
  local value, headers = record.encode(made)
  return { value = value, headers = headers }
end

local function headers_of(rec)
  local list = {}
  for name, value in pairs(rec.headers) do
    list[#list + 1] = { name, value }
  end
  return list
end

local function accepted(definition, rec)
  local read = t.ok(record.from_record {
    topic = "t", partition = 0, offset = 0, value = rec.value, headers = headers_of(rec),
  })
  local ok, message, code = definition:accept(read)
  return ok and read or nil, message, code
end

t.test("fields are sealed on the wire and open in the handler", function()
  seal.configure { keys = new_seal .. new_open }
  local rec = written(Paid, DATA)
  t.ok(not rec.value:find("4242", 1, true) and not rec.value:find("Ada", 1, true))
  local wire = json.decode(rec.value)
  t.eq(wire.order, "A1")
  t.ok(seal.is(wire.card) and seal.is(wire.holder))
  local read = t.ok(accepted(Paid, rec))
  t.eq(read.data.card, "4242")
  t.eq(read.data.holder.name, "Ada")
  t.eq(read.data.note, nil)
  t.ok(not tostring(read.value):find("4242", 1, true), "what dead letters carry stays sealed")
end)

t.test("a field does not pass for another one, and its type is checked", function()
  seal.configure { keys = new_seal .. new_open }
  local rec = written(Paid, DATA)
  local wire = json.decode(rec.value)
  wire.card = wire.holder
  rec.value = json.encode(wire)
  local read, message, code = accepted(Paid, rec)
  t.eq(read, nil)
  t.eq(code, "BAD_DATA")
  t.has(message, "order.paid: field card: seal: it was sealed for another field")
  wire.card = seal.close(json.encode { at = "order.paid.card", value = 5 })
  rec.value = json.encode(wire)
  t.has(select(2, accepted(Paid, rec)), "card: expected string, got 5")
end)

t.test("without the key: a permanent failure, a wait, or the sealed text, as declared", function()
  seal.configure { keys = new_seal .. new_open }
  local rec = written(Paid, DATA)
  seal.configure { keys = new_seal }
  local read, message, code = accepted(Paid, rec)
  t.eq(read, nil)
  t.eq(code, "NO_KEY")
  t.has(message, "order.paid: field card: seal: the key 2024, which opens it, is not here")
  local waits = event.define("order.paid", Paid.fields, {
    sealed = { "card", "holder" }, without_key = "wait",
  })
  local _, why = accepted(waits, rec)
  t.ok(failure.is(why))
  t.eq(why.kind, "transient")
  local leaves = event.define("order.paid", Paid.fields, {
    sealed = { "card", "holder" }, without_key = "leave",
  })
  read = t.ok(accepted(leaves, rec))
  t.ok(seal.is(read.data.card) and seal.is(read.data.holder))
  t.eq(read.data.order, "A1")
  seal.configure { keys = "" }
  local made = Paid:new(DATA)
  local _, raised = failure.catch(record.encode, made)
  t.eq(raised.kind, "permanent")
  t.has(raised.message, "order.paid: field card: seal: there is no key that seals")
end)

local Order = event.define("order.deep", {
  order = "string",
  customer = { name = "string", card = { number = "string", month = "integer?" } },
  payments = event.list { card = "string", amount = "integer" },
  notes = "string[]?",
  ["extra?"] = "object",
}, { sealed = { "customer.card.number", "payments[].card", "notes[]", "extra.secret" } })

local DEEP = {
  order = "A2", customer = { name = "Ada", card = { number = "4242", month = 7 } },
  payments = { { card = "4242", amount = 5 }, { card = "5555", amount = 6 } },
  notes = { "call her", "twice" }, extra = { secret = { pin = 1234 }, open = true },
}

t.test("paths lead into fields, and into every item of a list", function()
  seal.configure { keys = new_seal .. new_open }
  local rec = written(Order, DEEP)
  for _, hidden in ipairs { "4242", "5555", "call her", "twice", "1234" } do
    t.ok(not rec.value:find(hidden, 1, true), hidden)
  end
  local wire = json.decode(rec.value)
  t.eq({ wire.customer.name, wire.customer.card.month, wire.payments[2].amount, wire.extra.open },
    { "Ada", 7, 6, true })
  t.ok(seal.is(wire.customer.card.number) and seal.is(wire.payments[1].card))
  t.ok(seal.is(wire.notes[2]) and seal.is(wire.extra.secret))
  t.eq(DEEP.customer.card.number, "4242", "the script's own table stays")
  t.eq(t.ok(accepted(Order, rec)).data, DEEP)
  local few = { order = "A3", customer = DEEP.customer, payments = {} }
  rec = written(Order, few)
  t.has(rec.value, '"payments":[]')
  t.eq(t.ok(accepted(Order, rec)).data, few)
  wire.customer.card.number = wire.payments[1].card
  rec.value = json.encode(wire)
  t.has(select(2, accepted(Order, rec)), "field customer.card.number: seal: it was sealed for")
  wire.payments, wire.customer.card.number = { card = "x" }, "4242"
  rec.value = json.encode(wire)
  t.has(select(2, accepted(Order, rec)), "payments: expected an array")
end)

t.test("what is deep and has no key stays closed, and what is beside it is checked", function()
  seal.configure { keys = new_seal }
  local leaves = event.define("order.deep", Order.fields, {
    sealed = Order.sealed, without_key = "leave",
  })
  local rec = written(leaves, DEEP)
  local read = t.ok(accepted(leaves, rec))
  t.ok(seal.is(read.data.customer.card.number) and seal.is(read.data.notes[1]))
  t.eq(read.data.payments[2].amount, 6)
  local wire = json.decode(rec.value)
  wire.payments[2].amount = "much"
  rec.value = json.encode(wire)
  t.has(select(2, accepted(leaves, rec)), "payments[2].amount: expected integer")
  local again = leaves:to_wire(read.data)
  t.eq(again.payments[1].card, read.data.payments[1].card, "and is passed on as it is")
end)

t.test("a path that leads nowhere is a mistake of the definition", function()
  for wrong, why in pairs {
    ["customer.crad"] = "it has no field", ["customer[]"] = "it has no field",
    ["payments.card"] = "it has no field", ["order.x"] = "it has no field",
    ["customer..name"] = "is no path", ["payments[1].card"] = "is no path", [""] = "is no path",
  } do
    t.fails(event.define, why, "x", Order.fields, { sealed = { wrong } })
  end
  t.fails(event.define, "customer.card and customer are within one another", "x", Order.fields,
    { sealed = { "customer.card", "customer" } })
end)

t.test("what is sealed already is passed on as it is", function()
  seal.configure { keys = new_seal }
  local leaves = event.define("order.paid", Paid.fields, {
    sealed = { "card", "holder" }, without_key = "leave",
  })
  local sealed = seal.close "x"
  local wire = leaves:to_wire { order = "A1", card = sealed }
  t.eq(wire.card, sealed)
  t.fails(event.define, "it has no field \"crad\"", "x", { card = "string" },
    { sealed = { "crad" } })
end)
