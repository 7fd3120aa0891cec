--- The form of an invoice: read, checked by the same definition as the API, and shown again with
--- what is wrong.
local html = require "sipeat.html"
local events = require "app.events"

local M = {}

local h = html.tags

local WORDS = {
  customerId = "Please choose a customer.",
  amount = "Please give an amount of more than 0, such as 150.00.",
  status = "Please choose one of these.",
}

--- What was sent as an invoice; or nil and what is wrong: field -> text.
function M.read(sent)
  local text = (sent.amount or ""):gsub("^[%s$]*", ""):gsub("%s+$", ""):gsub(",", ".")
  local typed, _, _, problems = events.Invoice:validate {
    customerId = sent.customerId,
    amount = text:find "^%d+%.?%d*$" and tonumber(text) or nil,
    status = sent.status,
  }
  local errors = {}
  for _, problem in ipairs(problems or {}) do
    errors[problem.field] = WORDS[problem.field]
  end
  if typed and typed.amount.amount_minor <= 0 then
    errors.amount = WORDS.amount
  end
  if next(errors) then
    return nil, errors
  end
  return typed
end

local function field(name, label, control, message)
  return h.div {
    h.label { ["for"] = name, label },
    control,
    message and h.p { class = "error", id = name .. "-error", message },
  }
end

local function attributes(name, message)
  return {
    id = name, name = name, required = true, ["aria-invalid"] = message and "true",
    ["aria-describedby"] = message and name .. "-error",
  }
end

local function select(name, options, chosen, message)
  local a = attributes(name, message)
  a[1] = {}
  for i, option in ipairs(options) do
    a[1][i] = h.option { value = option[1], selected = option[1] == chosen, option[2] }
  end
  return h.select(a)
end

local function summary(errors, trouble)
  local items = {}
  for _, name in ipairs { "customerId", "amount", "status" } do
    if errors[name] then
      items[#items + 1] = h.li { h.a { href = "#" .. name, errors[name] } }
    end
  end
  if #items == 0 and not trouble then
    return nil
  end
  return h.div {
    class = "banner", role = "alert",
    h.h2 { "Please look at this again" },
    trouble and h.p { trouble }, #items > 0 and h.ul { items },
  }
end

--- { sent, errors, token, customers, button, trouble? } as HTML.
function M.show(o)
  local customers, errors = { { "", "Choose a customer" } }, o.errors or {}
  for i, row in ipairs(o.customers) do
    customers[i + 1] = { row.id, row.name }
  end
  local amount = attributes("amount", errors.amount)
  amount.inputmode, amount.autocomplete, amount.value = "decimal", "off", o.sent.amount
  return html.join(summary(errors, o.trouble), h.form {
    method = "post",
    h.input { type = "hidden", name = "csrf", value = o.token },
    field("customerId", "Customer",
      select("customerId", customers, o.sent.customerId, errors.customerId), errors.customerId),
    field("amount", "Amount in $", h.input(amount), errors.amount),
    field("status", "Status", select("status", { { "pending", "Pending" }, { "paid", "Paid" } },
      o.sent.status, errors.status), errors.status),
    h.button { o.button },
  })
end

return M
