--- Chain of Responsibility: steps in order, each may end the chain; undone in reverse on failure.
---
--- chain "name" { { "step", run = …, effect = …, … }, … } gives a handler.
return require "sipeat.step_spec".maker "chain"
