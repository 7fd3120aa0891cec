--- Every rule of the lead scoring: when it applies, and when it does not.
local scoring = require "flows.contact.scoring"
local t = require "sipeat.luatest"

local LONG = ("We have used machines of another maker for years. "):rep(5)

-- What no rule applies to.
local function contact(changes)
  local data = { name = "A", email = "a@gmail.com", message = "Hello, who are you people?" }
  for key, value in pairs(changes) do
    data[key] = value
  end
  return data
end

local function rules_of(data)
  local _, reasons = scoring.score(data)
  local names = {}
  for i, reason in ipairs(reasons) do
    names[i] = reason:match("^[+-]%d+ ([%w_]+): .+$")
  end
  return names
end

local CASES = {
  enterprise = { yes = { { type = "enterprise" }, { type = "Enterprise" } },
    no = { { type = "general" } } },
  partnership = { yes = { { type = "partnership" } }, no = { { type = "partner?" } } },
  fleet = {
    yes = {
      { message = "We need 25 vending machines here" },
      { message = "for our 120 offices in Italy" },
      { message = "about 10 locations, please" },
    },
    no = {
      { message = "We have 3 machines already" }, { message = "I waited for 15 minutes there" },
      { message = "room 101 has a machine" },
    },
  },
  company = { yes = { { companyName = "Acme" } }, no = { { companyName = "  " } } },
  business_email = {
    yes = { { email = "jo@acme.example" } },
    no = { { email = "jo@Gmail.com" }, { email = "jo@libero.it" } },
  },
  buying_words = {
    yes = { { message = "What are your prices for this?" }, { message = "Please send an offer!" } },
    no = { { message = "Beautiful weather today, right?" } },
  },
  phone = { yes = { { phone = "+39 02 1234567" } }, no = { { phone = "none" } } },
  urgent = { yes = { { message = "This is URGENT, I think so" } },
    no = { { message = "No hurry at all from my side" } } },
  detailed = { yes = { { message = LONG } }, no = { { message = LONG:sub(1, 150) } } },
  existing = { yes = { { type = "support" } }, no = { { type = "general" } } },
  short = { yes = { { message = "Hi" } }, no = { { message = "Hello to everybody there" } } },
  disposable = { yes = { { email = "x@mailinator.com" } }, no = { { email = "x@gmail.com" } } },
}

t.test("a contact without anything special scores nothing", function()
  local score, reasons, grade = scoring.score(contact {})
  t.eq({ score, reasons, grade }, { 0, {}, "cold" })
end)

t.test("there are at least six rules, and each has its cases", function()
  t.ok(#scoring.rules >= 6)
  for _, rule in ipairs(scoring.rules) do
    t.ok(CASES[rule[1]], "no cases for the rule " .. rule[1])
  end
end)

for _, rule in ipairs(scoring.rules) do
  local name, points = rule[1], rule[2]
  t.test(("rule %s applies where it should, with %+d points"):format(name, points), function()
    for i, changes in ipairs(CASES[name].yes) do
      local _, reasons = scoring.score(contact(changes))
      local found
      for _, reason in ipairs(reasons) do
        found = found or reason:find(("%+d %s: "):format(points, name), 1, true) == 1
      end
      t.ok(found, ("case %d: %s"):format(i, table.concat(reasons, "; ")))
    end
    for i, changes in ipairs(CASES[name].no) do
      for _, found in ipairs(rules_of(contact(changes))) do
        t.ok(found ~= name, ("case %d: %s applies"):format(i, name))
      end
    end
  end)
end

t.test("points add up, and stay within 0 and 100", function()
  local score, _, grade = scoring.score(contact {
    type = "enterprise", companyName = "Acme", email = "jo@acme.example", phone = "+123456789",
  })
  t.eq({ score, grade }, { 70, "hot" })
  score = scoring.score(contact {
    type = "enterprise", companyName = "Acme", email = "jo@acme.example", phone = "+123456789",
    message = "URGENT: a quote for 25 machines. " .. LONG,
  })
  t.eq(score, 100)
  t.eq(scoring.score(contact { email = "x@mailinator.com" }), 0)
  t.eq(select(3, scoring.score(contact { type = "partnership", phone = "0123456" })), "warm")
end)
