#!/bin/sh
# lua_api.sh - the page of all Lua functions is the one that the stubs give.
exec python3 docs/lua_api.py --check
