-- tea.lua - the second tutorial's script: a chain that goes on after kill -9.
-- Run it: sipeat dev examples/tea.lua --journal tea-journal.db
local http = require "sipeat.http"
local sipeat = require "sipeat"
local sql = require "sipeat.sql"

local Order = sipeat.event.define("tea.ordered", {
  customer = "string", tea = "string",
}, { topic = "tea.orders", key = "customer" })

-- The world outside, which a kill does not touch: a till, and a machine that counts what it pours.
local world = assert(sql.open "tea-world.db")
assert(world:script [[
  CREATE TABLE IF NOT EXISTS charged (key TEXT PRIMARY KEY, cents INTEGER);
  CREATE TABLE IF NOT EXISTS poured (key TEXT);
]])

-- The till takes each key once, as payment services do.
local function charge(args, ctx)
  local ok, message, code = world:exec(
    "INSERT INTO charged VALUES (?, ?) ON CONFLICT DO NOTHING", ctx.key, args.cents)
  if not ok then
    return nil, message, code
  end
  ctx.log:info(("charged %d cents, then slowly: the water boils"):format(args.cents))
  ctx:sleep "4s"
  return { cents = args.cents }
end

local function give_back(_, _, ctx)
  return world:exec("DELETE FROM charged WHERE key = ?", (ctx.key:gsub(":undo$", "")))
end

-- The machine pours whenever it is told to: two commands are two cups.
local function pour(args, ctx)
  local ok, message, code = world:exec("INSERT INTO poured VALUES (?)", ctx.key)
  if not ok then
    return nil, message, code
  end
  ctx.log:info("the machine pours " .. args.tea)
  ctx:sleep "3s"
  return { cups = 1 }
end

local function ask_the_machine(_, ctx)
  local rows, message, code = world:query("SELECT 1 FROM poured WHERE key = ?", ctx.key)
  if not rows then
    return nil, message, code
  end
  ctx.log:info("asked the machine: it poured " .. #rows .. " cup(s)")
  return #rows > 0 and "done" or "not_done", { cups = #rows }
end

local function serve(args, ctx)
  ctx.log:info(("served %s to %s"):format(args.tea, args.customer))
  return true
end

sipeat.flow {
  topic = "tea.orders", group = "tea-room", key = "data.customer",
  on = { [Order] = sipeat.chain "make-tea" {
    { "pay", args = function() return { cents = 250 } end, run = charge, undo = give_back,
      effect = "idempotent" },
    { "pour", run = pour, reconcile = ask_the_machine, effect = "at_most_once" },
    { "serve", run = serve, effect = "repeatable" },
  } },
}

http.route("GET /world", function()
  local rows, message = world:query [[
    SELECT (SELECT count(*) FROM charged) AS charged, (SELECT count(*) FROM poured) AS poured
  ]]
  if not rows then
    return http.problem(503, message)
  end
  return ("charged %d, poured %d"):format(rows[1].charged, rows[1].poured)
end)
