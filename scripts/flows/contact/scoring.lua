--- How promising a contact is: rules that add to a score from 0 to 100, each with its reason.
--
-- | rule            | points | when                                                             |
-- |-----------------|--------|------------------------------------------------------------------|
-- | enterprise      |    +30 | the contact's type is enterprise                                 |
-- | partnership     |    +20 | the contact's type is partnership                                |
-- | fleet           |    +20 | the message names ten or more machines, sites, offices, …        |
-- | company         |    +15 | a company is named                                               |
-- | business_email  |    +15 | the address is not at a free mail provider                       |
-- | buying_words    |    +15 | the message speaks of prices, offers, demos, orders, contracts   |
-- | phone           |    +10 | a telephone number is given                                      |
-- | urgent          |    +10 | the message says that it is urgent                               |
-- | detailed        |     +5 | the message has 200 characters or more                           |
-- | existing        |    -10 | the contact's type is support: a customer already                |
-- | short           |    -10 | the message has fewer than 15 characters                         |
-- | disposable      |    -30 | the address is a throw-away one                                  |
local M = {}

local FREE = {
  ["gmail.com"] = true, ["googlemail.com"] = true, ["outlook.com"] = true, ["hotmail.com"] = true,
  ["live.com"] = true, ["yahoo.com"] = true, ["icloud.com"] = true, ["gmx.de"] = true,
  ["gmx.net"] = true, ["web.de"] = true, ["libero.it"] = true, ["proton.me"] = true,
  ["protonmail.com"] = true, ["aol.com"] = true, ["mail.com"] = true,
}

local DISPOSABLE = {
  ["mailinator.com"] = true, ["guerrillamail.com"] = true, ["10minutemail.com"] = true,
  ["yopmail.com"] = true, ["trashmail.com"] = true, ["temp-mail.org"] = true,
}

local BUYING = {
  "price", "pricing", "quote", "offer", "demo", "buy", "order", "contract", "lease", "purchase",
}
local URGENT = { "urgent", "asap", "immediately", "as soon as possible", "this week" }
local PLACES = { "machine", "location", "site", "office", "branch", "store", "school", "station" }

local function domain(data)
  return data.email:match("@(.+)$"):lower()
end

local function kind(data)
  return (data.type or ""):lower()
end

-- Is one of the words (or a longer form of it, such as a plural) in the text?
local function speaks_of(text, words)
  local lower = " " .. text:lower():gsub("[%p%s]+", " ") .. " "
  for _, word in ipairs(words) do
    if lower:find(" " .. word, 1, true) then
      return true
    end
  end
  return false
end

-- "25 machines", "25 vending machines": a number of ten or more shortly before one of the words.
local function names_a_fleet(text)
  for number, rest in text:lower():gmatch("(%d+)%s+([%a%s]+)") do
    local near = rest:match("^%a+%s*%a*")
    if #number <= 6 and tonumber(number) >= 10 and speaks_of(near, PLACES) then
      return true
    end
  end
  return false
end

--- The rules in the order in which reasons are listed: name, points, reason, whether it applies.
M.rules = {
  { "enterprise", 30, "asks as an enterprise", function(data)
    return kind(data) == "enterprise"
  end },
  { "partnership", 20, "offers a partnership", function(data)
    return kind(data) == "partnership"
  end },
  { "fleet", 20, "speaks of ten or more machines or places", function(data)
    return names_a_fleet(data.message)
  end },
  { "company", 15, "names a company", function(data)
    return (data.companyName or ""):find("%S") ~= nil
  end },
  { "business_email", 15, "writes from a company's address", function(data)
    return not FREE[domain(data)] and not DISPOSABLE[domain(data)]
  end },
  { "buying_words", 15, "asks about buying", function(data)
    return speaks_of(data.message, BUYING)
  end },
  { "phone", 10, "gives a telephone number", function(data)
    local _, digits = (data.phone or ""):gsub("%d", "")
    return digits >= 6
  end },
  { "urgent", 10, "is in a hurry", function(data)
    return speaks_of(data.message, URGENT)
  end },
  { "detailed", 5, "writes in detail", function(data)
    return (utf8.len(data.message) or 0) >= 200
  end },
  { "existing", -10, "is a customer with a question", function(data)
    return kind(data) == "support"
  end },
  { "short", -10, "says next to nothing", function(data)
    return (utf8.len(data.message) or 0) < 15
  end },
  { "disposable", -30, "uses a throw-away address", function(data)
    return DISPOSABLE[domain(data)] == true
  end },
}

--- The score of a contact (0 to 100), the reasons ("+15 company: names a company") and the grade:
--- hot from 60, warm from 30, else cold.
function M.score(data)
  local sum, reasons = 0, {}
  for _, rule in ipairs(M.rules) do
    local name, points, reason, applies = table.unpack(rule)
    if applies(data) then
      sum = sum + points
      reasons[#reasons + 1] = ("%+d %s: %s"):format(points, name, reason)
    end
  end
  local score = math.max(0, math.min(100, sum))
  local grade = score >= 60 and "hot" or score >= 30 and "warm" or "cold"
  return score, reasons, grade
end

return M
