--- Lazy JSON: a table that is filled when it is touched is to a script what a plain one is.
local json = require "sipeat.json"
local log = require "sipeat.core.log"
local t = require "sipeat.luatest"

local TEXT = '{"id":"o-1","total":19.99,"count":3,"paid":true,"note":null,"tags":["a","b"],'
  .. '"empty":[],"none":{},"customer":{"name":"Ann","address":{"city":"Oslo"}},"a\\"b":"\\u00e9"}'

local function lazy(text)
  local value, message = json.lazy(text or TEXT)
  return value ~= nil and value or error(message, 2)
end

t.test("fields are read as from a plain table", function()
  local value = lazy()
  t.eq(type(value), "table")
  t.eq(value.id, "o-1")
  t.eq(value.total, 19.99)
  t.eq(math.type(value.count), "integer")
  t.eq(value.paid, true)
  t.ok(value.note == json.null)
  t.eq(value.missing, nil)
  t.eq(value[1], nil)
  t.eq(value[json.null], nil)
  t.eq(value['a"b'], "é")
  t.eq(value.customer.address.city, "Oslo")
  t.ok(value.customer == value.customer, "the same table at each look")
  t.eq(value.tags[2], "b")
  t.eq(#value.tags, 2)
  t.ok(json.is_array(value.tags) and json.is_array(value.empty))
  t.ok(not json.is_array(value.none) and not json.is_array(value.customer))
end)

t.test("a lazy value equals the decoded one, touched or not", function()
  t.eq(lazy(), json.decode(TEXT))
  for key in pairs(json.decode(TEXT)) do
    local value = lazy()
    local _ = value[key]
    t.eq(value, json.decode(TEXT))
  end
  for _, text in ipairs { "5", '"x"', "null", "true", "[]", "{}", '[1,[2,{}],{"a":[]}]', "1.5" } do
    t.eq(json.lazy(text), json.decode(text))
  end
end)

-- Fields that are read are kept in tables for a while after that was of use. Forgets that it was.
local function forget()
  for _ = 1, 1100 do
    lazy()
  end
end

-- Each of them does the same to a plain table and to a lazy one, and answers what it saw.
local SAME = {
  function(v) return next(v) ~= nil, next({}, nil) end,
  function(v) return rawget(v, "id"), rawget(v, "missing") end,
  function(v) return rawlen(v), rawlen(v.tags), #v end,
  function(v) return getmetatable(v) == nil, getmetatable(v.tags) == nil end,
  function(v) v.id = nil return v.id, v end,
  function(v) return v.id, v.id, v.id, v.total, v.total, v end,
  function(v) return v.note, v.note, v.paid, v.paid, rawget(v, "paid"), rawget(v, "note") end,
  function(v) v.count = v.count + 1 v.count = v.count + 1 return v.count, v end,
  function(v) local _ = v.id .. v.id v.id = nil return v.id, v end,
  function(v) v.missing = nil v.none = nil return v.missing, v.none, v end,
  function(v) v["a\"b"] = 1 v.added = v.id return v["a\"b"], v.added, v end,
  function(v) v.tags = v.tags[1] v.customer = v.customer.name return v end,
  function(v) v.id = v return v.id == v, v.id.id.total end,
  function(v) local id = v.id v.id = nil return id, v.id, rawget(v, "id"), v end,
  function(v) local _ = v.id v.id = "other" return v.id, v end,
  function(v) v.new = 1 v.total = nil return v.new, v.total, v end,
  function(v) v[1] = "x" return v[1], #v end,
  function(v) rawset(v, "count", 7) return v.count, v end,
  function(v) v.customer.name = nil return v.customer, v end,
  function(v) v.customer = nil return v.customer, v end,
  function(v) v.customer.address.city = "Bergen" return v end,
  function(v) table.insert(v.tags, "c") return #v.tags, v.tags end,
  function(v) return table.remove(v.tags), v.tags, table.remove(v.tags, 1), v.tags[1] end,
  function(v) return table.concat(v.tags, ","), table.unpack(v.tags) end,
  function(v) table.sort(v.tags, function(a, b) return a > b end) return v.tags end,
  function(v) return table.move(v.tags, 1, 2, 3) end,
  function(v)
    local seen = {}
    for i, tag in ipairs(v.tags) do seen[i] = tag end
    return seen
  end,
  function(v)
    local count = 0
    for key in pairs(v) do v[key] = true count = count + 1 end
    return count, v
  end,
  function(v)
    local seen = {}
    for key, item in next, v do seen[key] = item end
    return seen
  end,
  function(v)
    setmetatable(v, { __index = { fallback = 1 } })
    return v.fallback, v.id, getmetatable(v).__index.fallback
  end,
  function(v) return setmetatable({}, { __index = v }).id end,
  function(v) return ("$id $count"):gsub("%$(%w+)", v) end,
  function(v) return tostring(v):match "^table: 0x%x+$" ~= nil end,
  function(v) return ("%s"):format(v):match "^table: 0x" ~= nil end,
  function(v) return select(2, pcall(function() return v < v end)) end,
  function(v) return select(2, pcall(function() return v + 1 end)):match "on a table value" end,
  function(v) return select(2, pcall(function() return v() end)):match "a table value" end,
  function(v) return json.array(v.tags) == v.tags, json.is_array(json.array(v.none)) end,
}

t.test("whatever a script does to it, it does to a plain table", function()
  for i, act in ipairs(SAME) do
    local plain, filled = table.pack(act(json.decode(TEXT))), table.pack(act(lazy()))
    t.eq(filled, plain, "case " .. i)
    forget()
    t.eq(table.pack(act(lazy())), plain, "case " .. i .. ", as the first one")
  end
end)

t.test("whatever was read, the same is written", function()
  local plain = json.decode(TEXT)
  for key in pairs(plain) do
    for reads = 0, 3 do
      forget()
      local value = lazy()
      for _ = 1, reads do
        local _ = value[key]
      end
      t.eq(json.decode(json.encode(value)), plain)
    end
  end
end)

t.test("of equal keys the last one counts, also once it was taken out", function()
  local text = '{"a":1,"b":2,"a":{"x":3},"\\u0061":4}'
  t.eq(lazy(text), { a = 4, b = 2 })
  local value = lazy(text)
  t.eq(value.a, 4)
  value.a = nil
  t.eq(value.a, nil)
  t.eq(value, { b = 2 })
  forget()
  value = lazy(text)
  value.a = nil
  t.eq(value, { b = 2 })
  t.eq(value.a, nil)
end)

t.test("an object of many fields is as lazy as a small one is", function()
  local parts, want = {}, {}
  for i = 1, 1000 do
    parts[i] = ('"k%d":[%d]'):format(i, i)
    want["k" .. i] = { i }
  end
  local text = "{" .. table.concat(parts, ",") .. "}"
  local value = lazy(text)
  t.eq(value.k1000[1], 1000)
  value.k1000 = nil
  want.k1000 = nil
  t.eq(value.k1000, nil)
  t.eq(value, want)
end)

t.test("what was not touched is written as it came", function()
  local text = '{"big":12345678901234567890,"f":1.50,"s":"\\u00e9\\/"}'
  t.eq(json.encode(lazy(text)), text)
  t.eq(json.encode { lazy(text), lazy "[1.0]" }, "[" .. text .. ",[1.0]]")
  t.eq(json.encode(lazy(' { "a" : [ 1 , "x \\" y" , {\n} ] } ')), '{"a":[1,"x \\" y",{}]}')
  local outer = lazy('{"inner":' .. text .. ',"x":1}')
  t.eq(json.encode(outer.inner), text)
  t.eq(json.encode { from = outer.inner }, '{"from":' .. text .. "}")
  local spaced = lazy ' {"a": {"b": "c d"}} '
  t.eq(json.encode(spaced.a), '{"b":"c d"}')
end)

t.test("what was touched is written as it is now", function()
  local value = lazy '{"a":1,"b":{"c":[1,{"d":2}]}}'
  t.eq(value.b.c[2].d, 2)
  value.b.c[2].d = 3
  value.a = nil
  t.eq(json.encode(value), '{"b":{"c":[1,{"d":3}]}}')
  value = lazy '[{"a":1},2]'
  t.eq(value[1].a, 1)
  value[1].a = 5
  t.eq(json.encode(value), '[{"a":5},2]')
end)

t.test("a copied value counts towards the depth that is written", function()
  local deep = ("["):rep(100) .. ("]"):rep(100)
  local value = lazy("[" .. deep .. "]")
  for _ = 1, 27 do
    value = { value }
  end
  t.ok(json.encode(value))
  t.has(select(2, json.encode { value }), "nested deeper than 128")
end)

t.test("what is broken is refused at once, as by decode", function()
  local broken = { "{", '{"a":}', '{"a":"\255"}', '{"a":1e999}', '{"a":"\\ud800"}', "[1,]" }
  for _, text in ipairs(broken) do
    local value, message, code = json.lazy(text)
    local _, as_decode = json.decode(text)
    t.eq(value, nil)
    t.eq(message, as_decode)
    t.has(message, " at byte ")
    t.eq(code, "BAD_DATA")
  end
end)

t.test("it outlives its text, its parent and the collector", function()
  local city
  do
    local value = lazy(TEXT .. (" "):rep(100))
    city = value.customer.address
  end
  for _ = 1, 3 do
    collectgarbage()
    json.decode(("[1,%s]"):format(TEXT))
  end
  t.eq(city.city, "Oslo")
end)

t.test("cjson and the log see a plain table", function()
  local cjson = require "cjson"
  t.eq(json.decode(cjson.encode { lazy() }), { json.decode(TEXT) })
  t.eq(json.decode(cjson.new().encode(lazy())), json.decode(TEXT))
  local circle = {}
  circle[1], circle[2] = circle, circle
  t.fails(cjson.encode, "excessive depth", circle)
  log.write("debug", "test", "lazy fields", lazy())
  local value = lazy()
  log.write("warn", "test", "a table as fields", value)
  t.eq(value, json.decode(TEXT))
end)

t.test("random texts: every order of touches gives the decoded value", function()
  local seed = math.random(1 << 30)
  math.randomseed(seed)
  local function make(depth)
    local pick = math.random(depth > 3 and 3 or 5)
    if pick < 4 then
      return ({ math.random(1000), "s" .. math.random(9), json.null })[pick]
    end
    local out = pick == 4 and json.array() or {}
    for i = 1, math.random(0, 4) do
      out[pick == 4 and i or "k" .. i] = make(depth + 1)
    end
    return out
  end
  local function wander(value, plain)
    for _ = 1, math.random(0, 3) do
      local key = math.random(2) == 1 and math.random(4) or "k" .. math.random(4)
      if type(value) == "table" then
        local act = math.random(4)
        if act == 1 then
          value[key], plain[key] = nil, nil
        elseif act == 2 and plain[key] ~= nil then
          value[key], plain[key] = "new", "new"
        else
          wander(value[key], plain[key])
        end
      end
    end
  end
  for round = 1, 500 do
    local text = json.encode { k1 = make(0), k2 = make(0), k3 = make(1) }
    local value, plain = lazy(text), json.decode(text)
    wander(value, plain)
    local ok, why = pcall(t.eq, value, plain)
    t.ok(ok, ("seed %d, round %d: %s: %s"):format(seed, round, text, tostring(why)))
    t.eq(json.encode(value) == nil, json.encode(plain) == nil)
  end
end)
