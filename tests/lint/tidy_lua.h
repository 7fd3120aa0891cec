/* tidy_lua.h - tells clang-tidy which of Lua's functions raise; included ahead of every file. */
#if __has_include(<lauxlib.h>)
#include <lauxlib.h>
__attribute__((noreturn)) int(lua_error)(lua_State *L);
__attribute__((noreturn)) int(luaL_error)(lua_State *L, const char *format, ...);
__attribute__((noreturn)) int(luaL_argerror)(lua_State *L, int arg, const char *message);
__attribute__((noreturn)) int(luaL_typeerror)(lua_State *L, int arg, const char *name);
#endif
