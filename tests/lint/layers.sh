#!/bin/sh
# layers.sh - fail when a file includes what its layer may not. Run from the root.
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
middle=$(ls -d runtime/flow runtime/journal 2>/dev/null)
forbid 'includes start at a source root, not at ..' '\.\./' runtime drivers tests -name '*.[ch]'
forbid 'core knows libuv and libc only' "$lua|$libs|(vm|flow|journal|bind|cli)/" runtime/core -name '*.[ch]'
forbid 'vm knows core only' "$libs|(flow|journal|bind|cli)/" runtime/vm -name '*.[ch]'
# shellcheck disable=SC2086 # a list of folders
forbid 'flow and journal reach drivers through port.h' "$libs|(bind|cli)/" $middle -name '*.[ch]'
forbid 'bind does not know cli' "$libs|cli/" runtime/bind -name '*.[ch]'
forbid 'an engine has no Lua in it' "$lua|(vm|bind|cli)/" drivers -name '*.[ch]' ! -name '*_lua.[ch]'
forbid 'a driver does not know cli' "cli/" drivers -name '*.[ch]'
for dir in drivers/*/; do
  own=$(basename "$dir")
  others=$(ls drivers | grep -vxF "$own" | paste -sd'|' -)
  forbid 'drivers do not know each other' "($others)/" "$dir" -name '*.[ch]'
  # shellcheck disable=SC2086
  forbid 'runtime below cli does not name a driver' "$own/" runtime/core runtime/vm runtime/bind $middle -name '*.[ch]'
done
exit $bad
