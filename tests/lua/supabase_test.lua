--- sipeat.supabase against a server in this process that answers as it is told and keeps what it
--- got. What PostgREST makes of it is tested by tests/e2e/store_test.py.
local http = require "sipeat.http"
local json = require "sipeat.json"
local supabase = require "sipeat.supabase"
local t = require "sipeat.luatest"

local seen, answer

local function take(req)
  seen = {
    what = req.method .. " " .. req.path,
    query = req.query,
    body = req.body and req.body ~= "" and json.decode(req.body) or nil,
    headers = req.headers,
  }
  return {
    status = answer[1], headers = { ["content-type"] = "application/json" },
    body = answer[2] and json.encode(answer[2]) or "",
  }
end

for _, method in ipairs { "GET", "POST", "PATCH", "DELETE" } do
  http.route(method .. " /sb/rest/v1/:table", take)
end
http.route("POST /sb/rest/v1/rpc/:name", take)

local address = t.ok(http.listen "127.0.0.1:0").address
local client = t.ok(supabase.client { url = "http://" .. address .. "/sb/", key = "anon" })

t.test("select asks with filters, order and limit, and takes nulls away", function()
  answer = { 200, { { email = "a", phone = json.null } } }
  local rows = t.ok(client:select("contacts", {
    score = { "gte", 60 }, email = "a&b,c", slot = { "in", { 1, 'x"y' } },
  }, { order = "score.desc", limit = 5, columns = "email,phone" }))
  t.eq(rows, { { email = "a" } })
  t.eq(seen.what, "GET /sb/rest/v1/contacts")
  t.eq(seen.query, {
    select = "email,phone", score = "gte.60", email = "eq.a&b,c", slot = 'in.("1","x\\"y")',
    order = "score.desc", limit = "5",
  })
  t.eq({ seen.headers.apikey, seen.headers.authorization }, { "anon", "Bearer anon" })
end)

t.test("filters: several of one column, and their negations", function()
  answer = { 200, {} }
  t.ok(client:select("contacts", {
    name = { "not.is", "null" }, slot = { "not.in", { 1, 2 } }, tags = { "cs", "{a}" },
  }, { offset = 20 }))
  t.eq(seen.query, { select = "*", name = "not.is.null", slot = 'not.in.("1","2")',
    tags = "cs.{a}", offset = "20" })
  local request, url = http.request, nil
  function http.request(options) -- req.query has the last of equal names only
    url = options.url
    return request(options)
  end
  t.ok(client:select("contacts", { score = { { "gte", 60 }, { "lt", 80 } } }))
  http.request = request
  t.has(url, "score=gte.60&score=lt.80")
end)

t.test("insert sends rows with the same keys", function()
  answer = { 201 }
  t.eq(client:insert("contacts", { { a = 1 }, { b = false } }), true)
  t.eq({ seen.what, seen.headers.prefer }, { "POST /sb/rest/v1/contacts", "return=minimal" })
  t.eq(seen.body, { { a = 1, b = json.null }, { a = json.null, b = false } })
end)

t.test("upsert names its target and its resolution", function()
  answer = { 201, { { a = 1 } } }
  t.eq(client:upsert("t", { a = 1 }, { on_conflict = "a,b", returning = true }), { { a = 1 } })
  t.eq({ seen.query.on_conflict, seen.headers.prefer, seen.body },
    { "a,b", "return=representation,resolution=merge-duplicates", { { a = 1 } } })
  answer = { 201 }
  t.ok(client:upsert("t", { a = 1 }, { ignore = true }))
  t.eq(seen.headers.prefer, "return=minimal,resolution=ignore-duplicates")
end)

t.test("update and delete need a filter", function()
  answer = { 200, { { a = 2 } } }
  t.eq(client:update("t", { a = 1 }, { a = 2 }, { returning = true }), { { a = 2 } })
  t.eq({ seen.what, seen.query.a, seen.body }, { "PATCH /sb/rest/v1/t", "eq.1", { a = 2 } })
  answer = { 204 }
  t.eq(client:delete("t", { a = { "not.in", { 1 } } }), true)
  t.eq({ seen.what, seen.query.a }, { "DELETE /sb/rest/v1/t", 'not.in.("1")' })
  t.fails(function() client:update("t", {}, { a = 1 }) end, "every row")
  t.fails(function() client:delete("t") end, "every row")
  t.fails(function() client:select("t", { a = { "near", 1 } }) end, "operators, each also")
  t.fails(function() client:select("t", { a = { { "gte", 1 }, { "near", 1 } } }) end, "filter of a")
end)

t.test("a function of the database is called with its arguments", function()
  answer = { 200, { outcome = "held" } }
  t.eq(client:rpc("reserve", { id = 1 }), { outcome = "held" })
  t.eq({ seen.what, seen.body }, { "POST /sb/rest/v1/rpc/reserve", { id = 1 } })
end)

for _, case in ipairs {
  { 409, "23505", "SQL_UNIQUE", true }, { 409, "23503", "SQL_FOREIGN_KEY", true },
  { 400, "23502", "SQL_NOT_NULL", true }, { 400, "23514", "SQL_CHECK", true },
  { 400, "22P02", "SQL_CONSTRAINT", true }, { 401, "PGRST301", "UNAUTHORIZED", true },
  { 403, "42501", "UNAUTHORIZED", true }, { 404, "PGRST205", "NOT_FOUND", true },
  { 404, "42P01", "NOT_FOUND", true }, { 400, "PGRST100", "REJECTED", true },
  { 500, "XX000", "REJECTED", true }, { 500, "40P01", "SERIALIZATION", false },
  { 500, "57014", "SERIALIZATION", false }, { 503, "08006", "UNAVAILABLE", false },
  { 503, "53300", "UNAVAILABLE", false }, { 504, "PGRST003", "UNAVAILABLE", false },
  { 502, "", "UNAVAILABLE", false }, { 429, "", "UNAVAILABLE", false },
} do
  local status, state, code, permanent = table.unpack(case)
  t.test(("status %d with %q is %s"):format(status, state, code), function()
    answer = { status, { code = state, message = "says no", details = "here", hint = json.null } }
    local result, message, found = client:insert("t", { a = 1 })
    t.eq({ result, found, supabase.is_permanent(found) }, { nil, code, permanent })
    t.has(message, "supabase insert t: says no")
    t.has(message, "here")
    local _, why = supabase.fail(message, found)
    t.eq(why.kind == "permanent", permanent)
  end)
end

t.test("an answer that is no JSON is said to be so", function()
  http.route("GET /bad/rest/v1/t", function() return { status = 200, body = "<html>" } end)
  local bad = t.ok(supabase.client { url = "http://" .. address .. "/bad/rest/v1", key = "k" })
  t.eq(select(3, bad:select "t"), "BAD_ANSWER")
end)

t.test("a client needs an address and a key", function()
  local none, message, code = supabase.client { url = "http://x" }
  t.eq({ none, code }, { nil, "NOT_CONFIGURED" })
  t.has(message, "NEXT_PUBLIC_SUPABASE_ANON_KEY")
  t.eq(select(3, supabase.client { url = "x.supabase.co", key = "k" }), "NOT_CONFIGURED")
  t.fails(function() supabase.client { adress = "x" } end, "unknown option adress")
end)
