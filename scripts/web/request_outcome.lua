--- What a customer reads about a request: what is going on, and, in the end, whether the drink is
--- out or what became of the money.
local html = require "sipeat.html"
local money = require "sipeat.money"
local progress = require "web.progress"

local M = {}

local h = html.tags

local LABELS = {
  inventory = "Your drink is set aside", payment = "Payment", dispense = "The machine dispenses",
  confirmation = "We ask whether it fell", customer = "Receipt by e-mail",
}

local REASONS = {
  CARD_DECLINED = "Your card was declined.",
  SOLD_OUT = "The drink was sold out a moment before.",
  UNKNOWN_DRINK = "The machine has no such drink.",
  JAMMED = "The machine could not turn out your drink.",
}

local function step(view, name)
  for _, one in ipairs(view.steps) do
    if one.name == name then
      return one
    end
  end
end

local function price_of(about)
  return money.format(money.new(about.price_minor, about.currency))
end

-- What became of the money of a request that failed.
local function about_money(view)
  local paid = step(view, "payment")
  local price = price_of(view.row.about)
  if not paid then
    return "There was nothing to pay."
  elseif paid.state == "undone" then
    return ("You get your money back: %s."):format(price)
  elseif paid.state == "stuck" then
    return "Your payment could not be given back by itself. Our team has been told, and does it."
  elseif paid.state == "undoing" or paid.state == "done" then
    return ("Your payment of %s is being given back."):format(price)
  end
  return "You have not been charged."
end

local function failed_text(view)
  local reason = REASONS[view.why or ""]
    or view.failed == "dispense" and "The machine could not turn out your drink."
    or view.failed == "payment" and "The payment did not work."
    or "Your request could not be served."
  return reason .. " " .. about_money(view)
end

local function done_text(view)
  if step(view, "confirmation") then
    return "The motor has turned. This machine cannot see whether your drink fell: if it did not, "
      .. "tell us with the link that we send, and you get your money back."
  end
  return ("Your %s is out. Enjoy it!"):format(view.row.about.drink)
end

-- state -> class, heading, text
local STATES = {
  sending = { "busy", "Just a moment", "Your order is on its way." },
  waiting = { "busy", "Just a moment", "Your order is in, and begins in a moment." },
  working = { "busy", "Just a moment", "We are on it." },
  undoing = { "warn", "That did not work", "Everything is being taken back." },
  unknown = {
    "warn", "We are looking into it",
    "Nobody can tell yet whether your drink fell. Our team has been told, and settles it: you pay "
      .. "for what you got, and for nothing else.",
  },
  lost = { "bad", "Not ordered", "Your order could not be passed on; nothing was charged." },
  done = { "good", "Your drink is out", done_text },
  failed = { "bad", "No drink this time", failed_text },
}

local function state_of(view)
  return STATES[view.undoing and not view.ended and "undoing" or view.state] or STATES.working
end

--- The title of its page.
function M.title(view)
  return "Your " .. tostring(view.row.about.drink or "drink")
end

--- The part of the page that changes.
function M.content(view)
  local about, state = view.row.about, state_of(view)
  local text = state[3]
  return html.join(
    h.div {
      class = "banner " .. state[1],
      h.h2 { state[2] },
      h.p { type(text) == "function" and text(view) or text },
    },
    h.div {
      class = "card",
      progress.steps(view, LABELS),
      h.dl {
        class = "facts",
        h.dt { "Machine" }, h.dd { about.machine },
        h.dt { "Price" }, h.dd { about.price_minor == 0 and "free" or price_of(about) },
        h.dt { "Reference" }, h.dd { h.code { view.id } },
      },
    }
  )
end

return M
