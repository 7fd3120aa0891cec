#!/bin/sh
# words.sh - words that only some files may use. Run from the root.
bad=0
word='(^|[^_[:alnum:]])'
sources() { # C sources of the product, without comments and texts, as file:line:code
  find runtime drivers -name '*.[ch]' -exec awk '
    FNR == 1 { inside = 0 }
    { line = $0
      gsub(/"([^"\\]|\\.)*"/, "\"\"", line)
      gsub(/\/\*.*\*\//, "", line)
      if (inside) { if (match(line, /\*\//)) { line = substr(line, RSTART + 2); inside = 0 } else { next } }
      if (match(line, /\/\*/)) { line = substr(line, 1, RSTART - 1); inside = 1 }
      print FILENAME ":" FNR ":" line }' {} +
}
forbid() { # forbid WHY PATTERN ALLOWED-FILES-PATTERN
  hits=$(sources | grep -E "^[^:]*:[0-9]*:.*($2)" | grep -vE "^($3)")
  if [ -n "$hits" ]; then
    printf '%s\nwords: %s\n' "$hits" "$1" >&2
    bad=1
  fi
}
forbid 'nothing prints or ends the process on behalf of a script' \
  "$word"'(exit|_exit|_Exit|abort|quick_exit|printf|puts|putchar|perror|sleep|usleep)[[:space:]]*\(' \
  'runtime/main\.c|runtime/cli/|runtime/core/log\.c|runtime/vm/budget\.c'
forbid 'only the watchdog, which is a thread of its own, sleeps' "$word"'nanosleep[[:space:]]*\(' 'runtime/vm/budget\.c'
forbid 'unbounded string functions' \
  "$word"'(strcpy|strcat|sprintf|vsprintf|gets|strtok|atoi|atol|alloca)[[:space:]]*\(' 'none:'
forbid 'symbols that begin with sp_ belong to libserialport' "$word"'sp_[a-z_]+[[:space:]]*\(' 'drivers/serial/'
forbid 'one word per idea (CONTRIBUTING.md)' \
  '(^|[^[:alnum:]])(deadletter|dlq|idempotence_key|back_off|cfg|mgr)(_|[^[:alnum:]])' 'runtime/cli/'
resumes=$(sources | grep -cE '(^|[^_[:alnum:]])lua_resume[[:space:]]*\(')
if [ "$resumes" -ne 1 ]; then
  echo "words: lua_resume occurs $resumes times; the scheduler's drain is the only place for it" >&2
  bad=1
fi
left=$(grep -rnE '\b(TO''DO|FIX''ME|X''XX)\b' runtime drivers stdlib scripts examples tests deploy docs \
  --include='*.[ch]' --include='*.lua' --include='*.py' --include='*.sh' --include='*.md')
if [ -n "$left" ]; then
  printf '%s\nwords: left open\n' "$left" >&2
  bad=1
fi
exit $bad
