#!/bin/sh
# size.sh - files to 800 lines, lines to 100 columns (120 in Python, shell, JavaScript and CSS), functions to 60
# lines. Run from the root.
find runtime drivers stdlib scripts examples console tests deploy -type f \
  \( -name '*.[ch]' -o -name '*.lua' -o -name '*.py' -o -name '*.sh' \
  -o -name '*.mjs' -o -path 'console/src/*.js*' -o -path 'console/src/*.css' \) -print0 | LC_ALL=C xargs -0 awk '
  function report(line, text) {
    printf "%s:%d: %s\n", FILENAME, line, text
    bad = 1
  }
  function close_function() {
    if (start && FNR - start - 1 > 60) {
      report(start, "a function of " (FNR - start - 1) " lines")
    }
    start = 0
  }
  FNR == 1 {
    start = 0
    script = FILENAME ~ /\.(py|sh|mjs|js|jsx|css)$/
    c = FILENAME ~ /\.[ch]$/
    lua = FILENAME ~ /\.lua$/
  }
  FNR == 801 { report(FNR, "more than 800 lines in a file") }
  {
    line = $0
    gsub(/[\200-\277]/, "", line) # the rest of a UTF-8 character
    if (length(line) > (script ? 120 : 100)) { report(FNR, length(line) " columns") }
  }
  # A C function begins with "{" and ends with "}" in the first column; a Lua one with "function" and "end".
  c && /^\{/ { start = FNR }
  c && /^\}/ { close_function() }
  lua && /^(local )?function / { start = FNR }
  lua && /^end/ { close_function() }
  END { exit bad }' >&2
