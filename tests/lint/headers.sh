#!/bin/sh
# headers.sh - each header compiles alone, and holds no static data. Run from the root.
flags=$(pkg-config --cflags libuv lua5.4 rdkafka libcurl libmicrohttpd sqlite3 libpq libsodium)
bad=0
for header in $(find runtime drivers tests -name '*.h'); do
  # shellcheck disable=SC2086 # a list of flags
  cc -std=c11 -D_GNU_SOURCE -Wall -Wextra -Werror -fsyntax-only -Iruntime -Idrivers -Itests $flags \
    -x c -include "$header" /dev/null || bad=1
  if grep -nHE '^static [^(]*(=|;)' "$header" >&2; then
    echo "headers: $header holds static data" >&2
    bad=1
  fi
done
exit $bad
