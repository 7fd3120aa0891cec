#!/bin/sh
# stubs.sh - what the modules in the binary export has a stub in stdlib/meta, and what a stub names
# exists, with the same option keys and defaults. Run from the root.
exec "${SIPEAT_BUILD:-build}/tests/luatest" tests/lint/stubs.lua
