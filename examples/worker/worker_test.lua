--- sipeat test examples/worker
local t = require "sipeat.testing"

t.before(function()
  t.load "main.lua"
end)

local function notices()
  local texts = {}
  for i, record in ipairs(t.published "notification") do
    texts[i] = record.json.data.text
  end
  return texts
end

t.test("an event goes through its topic to its consumer, and on as a notification", function()
  local answers = {
    t.request("POST", "/api/contact-created", {
      json = { name = "Ada", email = "ada@example.org", message = "hello" },
    }),
    t.request("POST", "/api/machine-created", {
      json = { machineId = "m-1", machineName = "Lobby", location = "Hamburg" },
    }),
    t.request("POST", "/api/request-created", {
      json = { customerName = "Bob", drinkName = "Cola", machineId = "m-1" },
    }),
  }
  for _, answer in ipairs(answers) do
    t.eq(answer.status, 202)
  end
  t.advance "1s"
  local texts = notices()
  table.sort(texts)
  t.eq(texts, {
    "Ada wants to be contacted at ada@example.org", "Bob would like Cola of m-1",
    "machine Lobby at Hamburg is new",
  })
  local sent = t.published("contact-created")[1].json
  t.eq({ sent.type, sent.data.name, sent.version }, { "contact.created", "Ada", "1.0" })
  t.eq(sent.id, answers[1].json.id)
end)

t.test("what is no such event is refused, by the API and by the consumer", function()
  t.eq(t.request("POST", "/api/contact-created", { json = { name = "Ada" } }).status, 400)
  t.eq(t.request("POST", "/api/nothing", { json = {} }).status, 404)
  local outcome = t.deliver("request-created", nil, { type = "request.created", data = {} })
  t.eq({ outcome.status, outcome.failure.code, outcome.attempts }, { "dead", "INVALID_EVENT", 1 })
  t.eq(notices(), {})
end)
