--- What an event looks like at Discord, and that it is within every limit whatever is in the event.
local embed = require "sipeat.discord_embed"
local env = require "sipeat.env"
local json = require "sipeat.json"
local limits = require "sipeat.discord_limits"
local money = require "sipeat.money"
local text = require "sipeat.discord_text"
local value = require "sipeat.discord_value"
local task = require "sipeat.task"
local t = require "sipeat.luatest"

local function field(made, name)
  for _, one in ipairs(made.fields or {}) do
    if one.name == name then
      return one.value
    end
  end
end

local function accepted(made)
  local ok, errors = limits.check { embeds = { made } }
  t.ok(ok, not ok and ("%s: %s"):format(errors[1].path, errors[1].message))
  t.ok(limits.embed_size(made) <= limits.SUM, "counts " .. limits.embed_size(made))
  local body = json.encode(made)
  t.ok(body and utf8.len(body))
  return made
end

t.test("a processed contact looks as the seed shows it", function()
  local made = accepted(embed.build {
    type = "contact.created",
    ok = true,
    time = "2023-07-15T14:30:45Z",
    data = {
      message = "I'd like to inquire about your services", companyName = "Acme Inc",
      phone = "+1234567890", email = "john@example.com", name = "John Doe",
    },
  })
  t.eq(made, {
    title = "📝 contact.created event processed",
    description = "📝 New Contact Form Submission",
    color = embed.GREEN,
    fields = {
      { name = "Name", value = "John Doe", inline = true },
      { name = "Email", value = "john@example.com", inline = true },
      { name = "Phone", value = "+1234567890", inline = true },
      { name = "Company Name", value = "Acme Inc", inline = true },
      { name = "Message", value = "I'd like to inquire about your services", inline = false },
    },
    footer = { text = "✅ Successfully processed" },
    timestamp = "2023-07-15T14:30:45Z",
  })
end)

t.test("a failed request is red, with its error after its fields", function()
  local made = accepted(embed.build {
    type = "request.created",
    ok = false,
    error = "Payment processing failed",
    event_id = "e-1",
    attempts = 3,
    data = {
      customerName = "Jane Smith", drinkName = "Coca-Cola", machineId = "M12345",
      machineName = "Office Lobby",
    },
  })
  t.eq(made.title, "🥤 request.created event failed")
  t.eq(made.color, embed.RED)
  t.eq(made.footer.text, "❌ Processing failed")
  local names = {}
  for i, one in ipairs(made.fields) do
    names[i] = one.name
  end
  t.eq(names, {
    "Customer Name", "Drink Name", "Machine ID", "Machine Name", "Error", "Event ID", "Attempts",
  })
  t.eq(field(made, "Error"), "Payment processing failed")
  t.eq(field(made, "Attempts"), "3")
  t.ok(made.timestamp:find("^%d%d%d%d%-%d%d%-%d%dT"))
end)

t.test("unknown types and notices of one's own are shown too", function()
  t.eq(embed.build({ type = "order.paid", ok = true }).title, "📦 order.paid event processed")
  t.eq(embed.build({ type = "order.paid", ok = true }).description, "📦 Order Paid")
  local own = accepted(embed.build {
    title = "Stock is low", description = "Two left",
    fields = { { "Slot", 4 }, { name = "Machine", value = "M1" } },
  })
  t.eq(own.title, "Stock is low")
  t.eq(own.description, "Two left")
  t.eq(own.color, embed.BLUE)
  t.eq(own.footer, nil)
  t.eq(own.fields[1], { name = "Slot", value = "4", inline = true })
  local look = { ["order.paid"] = { icon = "💶", description = "Money!", names = { a = "The A" } } }
  local made = embed.build({ type = "order.paid", ok = true, data = { a = 1 } }, look)
  t.eq(made.title, "💶 order.paid event processed")
  t.eq(made.description, "💶 Money!")
  t.eq(made.fields[1].name, "The A")
end)

for key, name in pairs {
  customerName = "Customer Name", machine_id = "Machine ID", id = "ID", ["e-mail"] = "E Mail",
  URL = "URL", HTTPServer = "HTTP Server", companyName = "Company Name", ["größe"] = "Größe",
  userIDs = "User IDs",
} do
  t.test("the field " .. key .. " is called " .. name, function()
    t.eq(value.name(key), name)
  end)
end

local READABLE = {
  { "nothing", nil, "—" },
  { "JSON null", json.null, "—" },
  { "empty text", "", "—" },
  { "blanks", " \n\t ", "—" },
  { "yes", true, "Yes" },
  { "no", false, "No" },
  { "an integral float", 24.0, "24" },
  { "a fraction", 0.1, "0.1" },
  { "a large integer", math.maxinteger, "9223372036854775807" },
  { "money", money.new(250, "EUR"), "2.50 EUR" },
  { "money without metatable", { amount_minor = 250, currency = "EUR" }, "2.50 EUR" },
  { "a secret", env.conceal "hunter2", "***" },
  { "a list", { "a", 2, true }, "a, 2, Yes" },
  { "an empty list", json.array {}, "—" },
  { "an object", { city = "Berlin", street = { name = "A", no = 1 } },
    "City: Berlin\nStreet: Name: A, No: 1" },
  { "a list of objects", { { slot = 1, drink = "Tea" }, { slot = 2 } },
    "1. Drink: Tea, Slot: 1\n2. Slot: 2" },
  { "a function", print, "function" },
  { "not a number", 0 / 0, tostring(0 / 0) },
}
for _, case in ipairs(READABLE) do
  t.test("readable: " .. case[1], function()
    t.eq(value.readable(case[2]):gsub("^%-?nan$", "nan"), (case[3]:gsub("^%-?nan$", "nan")))
  end)
end

t.test("deep, circular and long values end", function()
  local circle = {}
  circle.me = circle
  t.eq(value.readable(circle), "Me: Me: Me: …")
  local long = {}
  for i = 1, 100000 do
    long[i] = i
  end
  t.has(value.readable(long), "… and 99960 more")
end)

local HARMLESS = {
  { "*bold* _it_ ~~x~~ ||spoiler|| `code`",
    "\\*bold\\* \\_it\\_ \\~\\~x\\~\\~ \\|\\|spoiler\\|\\| \\`code\\`" },
  { "[text](https://evil.example)", "\\[text](https://evil.example)" },
  { "# head\n> quote\n- item\n-# small", "\\# head\n\\> quote\n\\- item\n\\-# small" },
  { "555-1234 > 3 # ok", "555-1234 > 3 # ok" },
  { "@everyone and @here", "@\u{200B}everyone and @\u{200B}here" },
  { "<@123> <#1> <:a:1> <t:1:R> </x:1>",
    "<\u{200B}@123> <\u{200B}#1> <\u{200B}:a:1> <\u{200B}t:1:R> <\u{200B}/x:1>" },
  { "a < 5", "a < 5" },
  { "back\\slash", "back\\\\slash" },
}
for _, case in ipairs(HARMLESS) do
  t.test("shown as typed: " .. case[1]:gsub("\n", " "), function()
    t.eq(text.escape(case[1]), case[2])
  end)
end

local CUT = {
  { "fits", "abc", 3, "abc" },
  { "one too long", "abcd", 3, "ab…" },
  { "emoji count as one", ("😀"):rep(4), 3, "😀😀…" },
  { "emoji that fit", ("😀"):rep(3), 3, "😀😀😀" },
  { "no half of a joined emoji's joiner", "ab👩\u{200D}🚀cd", 5, "ab👩…" },
  { "no half escape", "ab\\*cd", 4, "ab…" },
  { "no blank before the ellipsis", "ab cdef", 4, "ab…" },
}
for _, case in ipairs(CUT) do
  t.test("cut: " .. case[1], function()
    t.eq(text.cut(case[2], case[3]), case[4])
  end)
end

local BYTES = {
  { "broken UTF-8", "a\xFFb", "a\u{FFFD}b" },
  { "control characters", "a\0b\27[31mc", "ab\\[31mc" },
  { "line ends", "a\r\nb\rc", "a\nb\nc" },
  { "direction overrides", "a\u{202E}b\u{2066}c", "abc" },
  { "only blanks that Discord trims", "\u{A0}\u{3000} \n", "—" },
  { "only control characters", "\1\2", "—" },
  { "nothing", "", "—" },
}
for _, case in ipairs(BYTES) do
  t.test("text of any bytes: " .. case[1], function()
    t.eq(text.fit(case[2], 100), case[3])
  end)
end

t.test("a value of 10,000 characters is cut to 1,024 and marked", function()
  for _, char in ipairs { "x", "ä", "😀", "*", "\xFF" } do
    local made = accepted(embed.build { type = "a.b", ok = true, data = { v = char:rep(10000) } })
    t.ok(utf8.len(made.fields[1].value) <= 1024)
    t.ok(utf8.len(made.fields[1].value) >= 1023)
    t.eq(made.fields[1].value:sub(-3), "…")
  end
end)

t.test("a megabyte of text costs little", function()
  local before = require("sipeat.core.sys").monotonic_ms()
  local big = ("\u{202E}é*\n"):rep(200000)
  for _ = 1, 20 do
    embed.build { type = "a.b", ok = false, data = { a = big, b = big }, error = big }
  end
  t.ok(require("sipeat.core.sys").monotonic_ms() - before < 5000)
end)

for _, count in ipairs { 24, 25, 26, 200, 2000 } do
  t.test(("%d fields become at most 25"):format(count), function()
    local data = {}
    for i = 1, count do
      data[("field%04d"):format(i)] = "v" .. i
    end
    local made = accepted(embed.build {
      type = "a.b", ok = false, data = data, error = "broken", event_id = "e9",
    })
    t.eq(#made.fields, math.min(count + 2, 25))
    t.eq(field(made, "Error"), "broken")
    t.eq(field(made, "Event ID"), "e9")
    if count + 2 > 25 then
      local summary = made.fields[23]
      t.eq(summary.name, ("… and %d more"):format(count - 22))
      t.has(summary.value, "Field0023")
    end
  end)
end

t.test("the sum of 6,000 holds, and the error stays", function()
  local data = {}
  for i = 1, 24 do
    data["field" .. i] = ("wörter "):rep(200)
  end
  local made = accepted(embed.build {
    type = "a.b", ok = false, data = data, error = ("e"):rep(900), event_id = "e9",
    description = ("d"):rep(5000),
  })
  t.ok(limits.embed_size(made) > 5000, "wastes room: " .. limits.embed_size(made))
  t.eq(field(made, "Event ID"), "e9")
  t.ok(utf8.len(field(made, "Error")) > 70)
end)

t.test("names of 256 characters leave fields out rather than break the sum", function()
  local data = {}
  for i = 1, 60 do
    data[("n"):rep(400) .. i] = ("v"):rep(2000)
  end
  accepted(embed.build {
    type = ("t"):rep(500), ok = false, data = data, error = ("e"):rep(5000), event_id = "x",
  })
end)

t.test("random events never leave the limits", function()
  local seed = os.time()
  math.randomseed(seed)
  local pieces = {
    "a", "ä", "😀", "\xFF", "\0", "*", "\\", "@everyone", "\n", " ", "\u{202E}", "<@1>", "\u{200D}",
  }
  local function noise(longest)
    local parts = {}
    for i = 1, math.random(0, longest) do
      parts[i] = pieces[math.random(#pieces)]
    end
    return table.concat(parts)
  end
  for _ = 1, 150 do
    local data = {}
    for _ = 1, math.random(0, 40) do
      data[noise(300)] = math.random() < 0.2 and { noise(50), { x = noise(2000) } } or noise(1500)
    end
    task.sleep("0ms") -- other tasks' turn: a script may not run on for ever
    local ok, err = pcall(function()
      accepted(embed.build {
        type = noise(400), ok = math.random() < 0.5, data = data, error = noise(3000),
        event_id = noise(400), title = math.random() < 0.3 and noise(600) or nil,
        description = math.random() < 0.3 and noise(6000) or nil,
      })
    end)
    t.ok(ok, ("seed %d: %s"):format(seed, tostring(err)))
  end
end)

t.test("a digest counts by type and outcome", function()
  local made = accepted(embed.digest {
    total = 17,
    types = {
      ["contact.created"] = { done = 12, dead = 3 },
      ["request.created"] = { dead = 1 },
      unknown = { info = 1 },
    },
  })
  t.eq(made.title, "📋 17 notices left out")
  t.eq(field(made, "contact.created"), "✅ 12 processed, ❌ 3 failed")
  t.eq(field(made, "request.created"), "❌ 1 failed")
  t.eq(field(made, "unknown"), "💬 1 notices")
  local types = {}
  for i = 1, 51 do
    types[("type%d"):format(i):rep(30)] = { done = i }
  end
  accepted(embed.digest { total = 51, types = types })
end)

local REFUSED = {
  { "title", { embeds = { { title = ("x"):rep(257) } } } },
  { "description", { embeds = { { description = ("x"):rep(4097) } } } },
  { "footer", { embeds = { { title = "a", footer = { text = ("x"):rep(2049) } } } } },
  { "author", { embeds = { { title = "a", author = { name = ("x"):rep(257) } } } } },
  { "fields.0.name", { embeds = { { fields = { { name = "", value = "v" } } } } } },
  { "fields.0.value", { embeds = { { fields = { { name = "n", value = " \u{3000}" } } } } } },
  { "color", { embeds = { { title = "a", color = 0x1000000 } } } },
  { "timestamp", { embeds = { { title = "a", timestamp = "yesterday" } } } },
  { "content", { content = ("x"):rep(2001) } },
  { "content", { content = "  " } },
  { "content", { content = "\xFF" } },
  { "username", { content = "x", username = "My Discord bot" } },
  { "username", { content = "x", username = "" } },
}
for i, case in ipairs(REFUSED) do
  t.test(("the check refuses %s (%d)"):format(case[1], i), function()
    local ok, errors = limits.check(case[2])
    t.eq(ok, nil)
    t.has(errors[1].path, case[1])
  end)
end

t.test("the check counts all embeds together, and at most ten", function()
  local big = { description = ("x"):rep(3001) }
  t.ok(limits.check { embeds = { big } })
  t.eq(select(2, limits.check { embeds = { big, big } })[1].code, "MAX_EMBED_SIZE_EXCEEDED")
  local many = {}
  for i = 1, 11 do
    many[i] = { title = "a" }
  end
  t.eq(select(2, limits.check { embeds = many })[1].path, "embeds")
end)
