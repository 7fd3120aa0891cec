-- luacheck: the Lua of this project, everywhere the same rules.
std = "lua54"
max_line_length = 100
self = false
exclude_files = { "build*/**", "dist/**" }
files["stdlib/meta"] = { ignore = { "212", "241" } } -- stubs declare arguments and never use them
