--- Settings and secrets: a secret's text is nowhere but behind env.reveal.
local env = require "sipeat.env"
local failure = require "sipeat.failure"
local t = require "sipeat.luatest"

t.test("a variable is read, an unset one gives the default", function()
  t.ok(env.get "PATH")
  t.eq(env.get "SIPEAT_SURELY_NOT_SET", nil)
  t.eq(env.get("SIPEAT_SURELY_NOT_SET", "x"), "x")
  t.eq(env.secret "SIPEAT_SURELY_NOT_SET", nil)
  t.eq(env.reveal(env.secret "PATH"), env.get "PATH")
end)

t.test("a name that is none is a mistake", function()
  t.fails(env.get, "expected the name of a variable", nil)
  t.fails(env.get, "expected the name of a variable", "A=B")
  t.fails(env.secret, "expected the name of a variable", 5)
end)

t.test("what is needed and not set is a permanent failure with a hint", function()
  t.eq(env.require "PATH", env.get "PATH")
  local _, why = failure.catch(env.require, "SIPEAT_SURELY_NOT_SET", "payments")
  t.eq(why.kind, "permanent")
  t.eq(why.code, "NOT_CONFIGURED")
  t.has(why.message, "SIPEAT_SURELY_NOT_SET is not set, needed for payments")
  t.has(why.message, ".env.local")
end)

t.test("a secret shows its text to nobody but reveal", function()
  local secret = env.conceal "hunter2"
  t.eq(tostring(secret), "***")
  t.eq(("%s"):format(secret), "***")
  t.eq(next(secret), nil)
  t.eq(secret.text, nil)
  t.eq(getmetatable(secret), "sipeat.secret")
  t.ok(env.is_secret(secret))
  t.ok(not env.is_secret "hunter2" and not env.is_secret(nil) and not env.is_secret {})
  t.eq(env.reveal(secret), "hunter2")
  t.eq(env.reveal "plain", "plain")
  t.fails(function()
    return "Bearer " .. secret
  end, "concatenate")
  t.fails(function()
    secret.text = "x"
  end, "has no fields")
  t.fails(setmetatable, "protected", secret, {})
  t.fails(env.reveal, "expected a secret", {})
  t.fails(env.conceal, "expected a string", 5)
end)
