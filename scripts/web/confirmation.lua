--- The page behind the link that a customer gets when a machine cannot see whether the drink fell:
--- asks, and acts on the answer.
local html = require "sipeat.html"
local http = require "sipeat.http"
local sys = require "sipeat.core.sys"
local confirmation = require "flows.request.confirmation"
local forms = require "web.forms"
local layout = require "web.layout"
local store = require "flows.store"

local M = {}

local h = html.tags

local TITLE = "Did it fall?"
local ANSWERS = {
  confirmed = "Thank you. Enjoy your drink.",
  settled = "We are sorry. You get your money back.",
  denied = "We are sorry. Your money is on its way back.",
}

local function said(status, text)
  return layout.notice { title = TITLE, path = "", status = status, text = text }
end

-- The row that a request is about, or the answer to a request that names none.
local function row_of(req, token)
  local row, problem = store.first("confirmations", { event_id = req.params.id })
  if problem then
    return nil, said(503, "Please try again in a minute.")
  elseif not row or not sys.equal(row.token, token or "") then
    return nil, said(404, "There is no such question. Is the link complete?")
  end
  return row
end

local function show(req)
  local row, refusal = row_of(req, req.query.token)
  if not row then
    return refusal
  elseif row.state ~= "open" then
    return said(200, ANSWERS[row.state])
  end
  return layout.page {
    title = TITLE, path = "",
    content = {
      h.p { class = "lead", ("Hello %s, did your %s fall?"):format(row.customer, row.drink) },
      h.form {
        method = "post",
        forms.hidden("token", row.token),
        h.div {
          class = "actions",
          h.button { name = "fell", value = "yes", "Yes, I have it" },
          h.button { class = "plain", name = "fell", value = "no", "No, give me my money back" },
        },
      },
    },
  }
end

local function take(req)
  local sent = req:form() or {}
  local row, refusal = row_of(req, sent.token)
  if not row then
    return refusal
  elseif sent.fell ~= "yes" and sent.fell ~= "no" then
    return said(400, "Please answer with one of the two buttons.")
  end
  local state = confirmation.answer(row, sent.fell == "yes")
  if not state then
    return said(503, "Your answer is noted. Please try again in a minute.")
  end
  return said(200, ANSWERS[state])
end

function M.routes()
  http.route("GET /requests/:id/confirmation", show)
  http.route("POST /requests/:id/confirmation", take)
end

return M
