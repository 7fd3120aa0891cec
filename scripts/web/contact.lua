--- The contact form at /, and the page that thanks.
local access = require "sipeat.access"
local html = require "sipeat.html"
local http = require "sipeat.http"
local events = require "flows.events"
local forms = require "web.forms"
local layout = require "web.layout"
local submissions = require "flows.submissions"
local submit = require "web.submit"

local M = {}

local h = html.tags

local KINDS = {
  { "general", "A question or a remark" },
  { "enterprise", "A machine for our company" },
  { "support", "Trouble with a machine" },
  { "partnership", "A partnership" },
}

local FIELDS = {
  { name = "name", label = "Your name", required = true, autocomplete = "name", max = 200 },
  { name = "email", label = "E-mail", kind = "email", required = true, autocomplete = "email",
    max = 254 },
  { name = "phone", label = "Phone", kind = "tel", autocomplete = "tel", max = 50 },
  { name = "companyName", label = "Company", autocomplete = "organization", max = 200 },
  { name = "type", label = "What is it about?", kind = "select", options = KINDS, required = true },
  { name = "message", label = "Your message", kind = "textarea", required = true, max = 10000 },
}

local ANSWERS = {
  { name = "preferences.email", label = "By e-mail", kind = "checkbox", default = "yes" },
  { name = "preferences.sms", label = "By text message", kind = "checkbox" },
  { name = "preferences.phone", label = "By a call", kind = "checkbox" },
}

local ALL = table.move(ANSWERS, 1, #ANSWERS, #FIELDS + 1, table.move(FIELDS, 1, #FIELDS, 1, {}))

-- The form's page; `state` has what was sent, what is wrong and the form's token.
local function page(state)
  return layout.page {
    title = "Contact", path = "/", status = state.status, kept = true,
    headers = { ["set-cookie"] = state.cookie },
    content = {
      h.p { class = "lead", "Questions, praise, or a machine that misbehaves: write to us." },
      forms.trouble(state.trouble),
      forms.summary(ALL, state.errors),
      h.form {
        method = "post", action = "/", novalidate = true,
        forms.hidden("csrf", state.token),
        forms.fields(FIELDS, state.sent, state.errors),
        h.fieldset {
          h.legend { "How may we answer?" },
          forms.fields(ANSWERS, state.sent, state.errors),
        },
        h.div { class = "actions",
          h.button { type = "submit", ["data-busy"] = "Sending…", "Send" } },
      },
    },
  }
end

local function show(req)
  local form = access.form(req)
  if not form then
    return layout.unavailable "/"
  end
  return page { sent = {}, errors = {}, token = form.token, cookie = form.cookie }
end

-- The page again with what was entered. A form whose token was refused gets a new one.
local function again(req, sent, state)
  state.sent, state.errors, state.token = sent, state.errors or {}, sent.csrf
  if state.fresh then
    local form = access.form(req)
    if not form then
      return layout.unavailable "/"
    end
    state.token, state.cookie = form.token, form.cookie
  end
  for _, field in ipairs(ANSWERS) do
    sent[field.name] = sent[field.name] or "no" -- a box that is not ticked is not sent
  end
  return page(state)
end

local SORRY = "Your message could not be sent just now. Everything you wrote is still here: please "
  .. "try again in a minute."

local function take(req)
  local sent, key = forms.received(req, "/", again)
  if not sent then
    return key
  end
  local data = forms.read(events.ContactCreated, ALL, sent)
  local ok, errors = forms.check(events.ContactCreated, data)
  if not ok then
    return again(req, sent, { status = 422, errors = errors })
  end
  local row, _, code = submit.take {
    id = key, definition = events.ContactCreated, data = data, wait = true,
  }
  if row then
    return { status = 303, headers = { location = "/contact/" .. row.event_id } }
  elseif code == "KEY_REUSED" then -- the page was changed after it had been sent: a new message
    local text = "This form was sent before with another text. Send it again if it is a new one."
    return again(req, sent, { status = 409, fresh = true, trouble = text })
  end
  return again(req, sent, { status = 503, trouble = SORRY })
end

local TEXTS = {
  dead = "Your message arrived, but something went wrong on our side. Our team has been told.",
  done = "Thank you. Your message is with our team.",
}

local function thanks(req)
  local row, problem = submissions.find(req.params.id)
  if problem then
    return layout.unavailable("/contact/" .. http.encode(req.params.id))
  elseif not row or row.kind ~= events.ContactCreated.type then
    return layout.missing("There is no such message.", "/", "Write to us")
  end
  return layout.page {
    title = "Thank you", path = "/",
    content = {
      h.div { class = "banner good",
        h.p { TEXTS[row.state] or "We have your message, and pass it on to our team." },
        h.p { "Your reference: ", h.code { row.event_id } } },
      h.p { h.a { href = "/", "Write another message" } },
    },
  }
end

function M.routes()
  http.route("GET /", show)
  http.route("POST /", take)
  http.route("GET /contact/:id", thanks)
end

return M
