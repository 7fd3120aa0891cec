--- /dashboard/invoices: the invoices, and forms that create, change and delete one. Each form has a
--- token of this browser (CSRF), which also makes one invoice of a form that is sent twice.
local access = require "sipeat.access"
local html = require "sipeat.html"
local http = require "sipeat.http"
local sql = require "sipeat.sql"
local dollars = require "app.money"
local form = require "app.form"
local layout = require "app.layout"
local store = require "app.store"

local M = {}

local h = html.tags

local HOME = "/dashboard/invoices"

local function unavailable()
  local page = layout.notice(503, "Please try again",
    "The database does not answer at the moment.")
  page.headers["retry-after"] = "5"
  return page
end

local function go_home()
  return { status = 303, headers = { location = HOME } }
end

local function missing()
  return layout.notice(404, "Not found", "There is no such invoice.")
end

-- --- the list ---

local function row_of(row, token)
  local edit = ("%s/%s/edit"):format(HOME, row.id)
  return h.tr {
    h.td { h.a { href = edit, row.id } }, h.td { row.name },
    h.td { class = "number", dollars(row.amount) }, h.td { row.status },
    h.td {
      h.form {
        method = "post", action = ("%s/%s/delete"):format(HOME, row.id),
        h.input { type = "hidden", name = "csrf", value = token },
        h.button { ["aria-label"] = "Delete invoice " .. row.id, "Delete" },
      },
    },
  }
end

local function list(req)
  local rows, totals, token = store.list(100), store.totals(), access.form(req)
  if not rows or not totals or not token then
    return unavailable()
  end
  local lines = {}
  for i, row in ipairs(rows) do
    lines[i] = row_of(row, token.token)
  end
  return layout.page {
    title = "Invoices", headers = { ["set-cookie"] = token.cookie },
    content = {
      h.p { ("Processed so far: %d, %s"):format(totals.invoices, dollars(totals.amount)) },
      #lines == 0 and h.p { "There is no invoice yet." } or h.div {
        class = "scroll", tabindex = "0", role = "region", ["aria-label"] = "Invoices",
        h.table {
          h.thead { h.tr {
            h.th { scope = "col", "Invoice" }, h.th { scope = "col", "Customer" },
            h.th { scope = "col", class = "number", "Amount" }, h.th { scope = "col", "Status" },
            h.th { scope = "col", "Change" },
          } },
          h.tbody { lines },
        },
      },
      h.p { h.a { href = HOME .. "/create", "New invoice" } },
    },
  }
end

-- --- forms ---

local TITLES = {
  create = { "New invoice", "Create invoice" }, edit = { "Change invoice", "Save changes" },
}

local function show(req, kind, sent, o)
  local customers, token = store.customers(), access.form(req)
  if not customers or not token then
    return unavailable()
  end
  local titles = TITLES[kind]
  o = o or {}
  return layout.page {
    title = titles[1], status = o.status, headers = { ["set-cookie"] = token.cookie },
    content = { form.show {
      sent = sent, errors = o.errors, trouble = o.trouble, token = token.token,
      customers = customers, button = titles[2],
    } },
  }
end

-- What was sent, and its key; or nil and the answer that refuses it. Without `kind` there is no
-- form to be shown again.
local function taken(req, kind)
  local sent = req:form()
  if not sent then
    return nil, layout.notice(400, "That did not arrive well", "The form could not be read.")
  end
  local key, message, code = access.check_form(req, sent)
  if not key and not kind then
    return nil, layout.notice(code == "CSRF" and 403 or 503, "Please try again", message)
  elseif not key then
    return nil, show(req, kind, sent, { status = code == "CSRF" and 403 or 503, trouble = message })
  end
  return sent, key
end

-- Takes a form, and does f(invoice, key), which gives a row, false, or nil, message, code.
local function take(req, kind, f)
  local sent, key = taken(req, kind)
  if not sent then
    return key
  end
  local invoice, errors = form.read(sent)
  if not invoice then
    return show(req, kind, sent, { status = 422, errors = errors })
  end
  local row, message, code = f(invoice, key)
  if row then
    return go_home()
  elseif row == false then
    return missing()
  elseif sql.is_constraint(code) then
    return show(req, kind, sent, {
      status = 422, errors = { customerId = "This customer is not there any more." },
    })
  end
  return show(req, kind, sent, {
    status = 503, trouble = "It could not be saved: please send it again in a moment. " .. message,
  })
end

local function create(req)
  return take(req, "create", function(invoice, key)
    return store.create(key, invoice)
  end)
end

local function edit(req)
  local row = store.find(req.params.id)
  if row == nil then
    return unavailable()
  elseif not row then
    return missing()
  end
  return show(req, "edit", {
    customerId = row.customer_id, amount = ("%.2f"):format(row.amount / 100), status = row.status,
  })
end

local function change(req)
  return take(req, "edit", function(invoice)
    return store.update(req.params.id, invoice)
  end)
end

local function delete(req)
  local sent, refusal = taken(req)
  if not sent then
    return refusal
  end
  local row = store.delete(req.params.id)
  if row == nil then
    return unavailable()
  end
  return go_home() -- also when it was gone before
end

function M.routes()
  layout.routes()
  http.route("GET /", go_home)
  http.route("GET /dashboard/invoices", list)
  http.route("GET /dashboard/invoices/create", function(req)
    return show(req, "create", { status = "pending" })
  end)
  http.route("POST /dashboard/invoices/create", create)
  http.route("GET /dashboard/invoices/:id/edit", edit)
  http.route("POST /dashboard/invoices/:id/edit", change)
  http.route("POST /dashboard/invoices/:id/delete", delete)
end

return M
