# Completion of sipeat in bash: verbs and options come from the program itself, files from the shell.
_sipeat() {
  local words word
  COMPREPLY=()
  if [ "${COMP_WORDS[0]##*/}" = sipeat-run ]; then
    words=(run "${COMP_WORDS[@]:1:COMP_CWORD}")
  else
    words=("${COMP_WORDS[@]:1:COMP_CWORD}")
  fi
  while IFS=$'\t' read -r word _; do
    [[ $word == "${COMP_WORDS[COMP_CWORD]}"* ]] && COMPREPLY+=("$word")
  done < <(sipeat complete "${words[@]}" 2>/dev/null)
}
complete -o default -F _sipeat sipeat sipeat-run
