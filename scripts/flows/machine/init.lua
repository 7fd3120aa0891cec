--- machine.created: commands with undo, in a set that a factory chooses by the machine's type.
local sipeat = require "sipeat"
local factory = require "flows.machine.factory"

return { handler = sipeat.factory(factory.make) }
