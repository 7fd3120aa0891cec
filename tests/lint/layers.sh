#!/bin/sh
# tests/lint/layers.sh - fail when a file includes what its layer may not. Run from the root.
bad=0
forbid() { # forbid WHY PATTERN FIND-ARGUMENTS...
  why=$1 pattern="^[[:space:]]*#[[:space:]]*include[[:space:]]*[<\"]($2)"
  shift 2
  hits=$(find "$@" -type f -exec grep -nHE "$pattern" {} +)
  if [ -n "$hits" ]; then
    printf '%s\nlayers: %s\n' "$hits" "$why" >&2
    bad=1
  fi
}
lua='lua\.h|lauxlib\.h|lualib\.h'
libs='librdkafka/|curl/|microhttpd|libserialport|sqlite3|libpq'
forbid 'includes start at a source root, not at ..' '\.\./' runtime drivers -name '*.[ch]'
forbid 'core knows libuv and libc only' "$lua|$libs|(vm|flow|journal|bind|cli)/" runtime/core -name '*.[ch]'
forbid 'vm knows core only' "$libs|(flow|journal|bind|cli)/" runtime/vm -name '*.[ch]'
forbid 'flow and journal reach drivers through port.h' "$libs|(bind|cli)/" runtime/flow runtime/journal -name '*.[ch]'
forbid 'an engine has no Lua in it' "$lua|(vm|bind|cli)/" drivers -name '*.[ch]' ! -name '*_lua.[ch]'
for dir in drivers/*/; do
  others=$(ls drivers | grep -vxF "$(basename "$dir")" | paste -sd'|' -)
  forbid 'drivers do not know each other' "($others)/" "$dir" -name '*.[ch]'
  forbid 'runtime below cli does not name a driver' "$(basename "$dir")/" \
    runtime/core runtime/vm runtime/flow runtime/journal runtime/bind -name '*.[ch]'
done
exit $bad
