# Completion of sipeat in fish: verbs and options come from the program itself, files from the shell.
function __sipeat_words
    set -l typed (commandline -opc)[2..-1] (commandline -ct)
    sipeat complete $typed 2>/dev/null
end
function __sipeat_run_words
    set -l typed (commandline -opc)[2..-1] (commandline -ct)
    sipeat complete run $typed 2>/dev/null
end
complete -c sipeat -a '(__sipeat_words)'
complete -c sipeat-run -a '(__sipeat_run_words)'
