--- What a script has of Lua's own library: nothing that leaves the machine, reads a file, runs a
--- program, loads bytecode or reaches into others. Each name is here, so a new one is noticed.
local t = require "sipeat.luatest"

local ALLOWED = {
  _G = [[_G _VERSION assert collectgarbage coroutine debug error getmetatable ipairs load math next
    os pairs pcall print rawequal rawget rawlen rawset require select setmetatable string table
    tonumber tostring type utf8 warn xpcall]],
  coroutine = "close create isyieldable resume running status wrap yield",
  debug = "getinfo traceback",
  os = "clock date difftime getenv time",
  string = [[byte char find format gmatch gsub len lower match pack packsize rep reverse sub unpack
    upper]],
  table = "concat insert move pack remove sort unpack",
}
local GLOBALS = getmetatable(_G) and getmetatable(_G).__index or _G

t.test("each library has what is listed, and no more", function()
  for library, names in pairs(ALLOWED) do
    local wanted = {}
    for name in names:gmatch "%S+" do
      wanted[name] = true
    end
    local has = library == "_G" and GLOBALS or GLOBALS[library]
    for name in pairs(has) do
      t.ok(wanted[name], ("%s has %s"):format(library, name))
    end
    for name in pairs(wanted) do
      t.ok(has[name] ~= nil, ("%s lacks %s"):format(library, name))
    end
  end
end)

t.test("what is dangerous in Lua's own library is not there", function()
  for _, path in ipairs {
    "io", "package", "dofile", "loadfile", "loadstring", "module", "os.execute", "os.exit",
    "os.remove", "os.rename", "os.tmpname", "os.setlocale", "string.dump", "debug.getregistry",
    "debug.getupvalue", "debug.setupvalue", "debug.upvalueid", "debug.upvaluejoin",
    "debug.getlocal", "debug.setlocal", "debug.sethook", "debug.gethook", "debug.setmetatable",
    "debug.getmetatable", "debug.getuservalue", "debug.setuservalue", "debug.setcstacklimit",
    "debug.debug",
  } do
    local value = GLOBALS
    for name in path:gmatch "[^.]+" do
      value = type(value) == "table" and rawget(value, name) or nil
    end
    t.eq(value, nil, path)
  end
  for _, module in ipairs { "io", "package", "ffi", "jit" } do
    t.fails(require, module, module)
  end
end)

t.test("bytecode is not loaded, in whatever way it comes", function()
  local code = "\27Lua\x54\0\x19\x93\r\n\x1a\n"
  for _, mode in ipairs { "b", "bt", "t" } do
    local chunk, message = load(code, "=x", mode)
    t.eq(chunk, nil)
    t.has(message, "binary chunk")
  end
  local parts = { "\27", "Lua" }
  local chunk, message = load(function()
    return table.remove(parts, 1)
  end, "=x", "b")
  t.eq(chunk, nil)
  t.has(message, "binary chunk")
  t.eq(load("return 1", "=x", "b")(), 1) -- the mode is not the script's to choose
end)

t.test("no chunk passes for one of the program's own", function()
  t.fails(load, "a name of the program's own files", "return 1", "@stdlib/console.lua")
  t.ok(load("return 1", "@stdlib.lua"))
end)

t.test("finalizers, and the metatable of texts, are out of reach", function()
  t.fails(setmetatable, "__gc", {}, { __gc = print })
  t.eq(type(getmetatable("").__index), "table")
  t.eq(pcall(setmetatable, "", {}), false)
end)
