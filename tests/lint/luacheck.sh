#!/bin/sh
# luacheck.sh - the Lua sources have no warnings. Run from the root.
luacheck -q --config .luacheckrc stdlib scripts examples tests/lua tests/testing \
  tests/fuzz tests/bench tests/lint tests/support
