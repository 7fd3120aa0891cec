#!/bin/sh
# tidy.sh - clang-tidy finds nothing in the product's C (.clang-tidy). Run from the root.
find runtime drivers -name '*.c' -print0 |
  xargs -0 -n 4 -P 2 clang-tidy --quiet -p "$SIPEAT_BUILD" --extra-arg=-Wno-unknown-warning-option \
    --extra-arg=-Wno-ignored-optimization-argument \
    --extra-arg=-include --extra-arg="$PWD/tests/lint/tidy_lua.h" --warnings-as-errors='*' 2>/dev/null
