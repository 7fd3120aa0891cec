--- Command: operations in order, each with its undo; a failure undoes the earlier ones in reverse.
---
--- commands "name" { { "step", run = …, undo = …, effect = …, … }, … } gives a handler.
return require "sipeat.step_spec".maker "commands"
