--- `sipeat chains list|show|retry|skip|undo|complete|abandon|export|versions|vacuum`.
local json = require "sipeat.json"
local moment = require "sipeat.moment"
local opts = require "sipeat.opts"
local output = require "sipeat.command_output"
local show = require "sipeat.command_chains_show"
local sources = require "sipeat.chain_source"
local sys = require "sipeat.core.sys"
local terminal = require "sipeat.core.terminal"

local M = {}

local OK, FAILED, USAGE, JOURNAL = 0, 1, 2, 7
local STATES = {
  "parked", "held", "waiting", "sleeping", "active", "done", "dead", "abandoned", "completed",
}
local WHY_COLUMNS = 80

local actions = {}

local function complain(options, message)
  terminal.note(("sipeat chains %s: %s"):format(options.action, output.printable(message)))
end

local function filter_of(options)
  local o = { max = options.max }
  for _, name in ipairs { "flow", "type", "key", "event" } do
    o[name] = options[name]
  end
  for name, text in pairs { since_ms = options.since, before_ms = options.older } do
    o[name] = moment.past_ms(text)
    if not o[name] then
      return nil, ("--%s is %s; got %s"):format(
        name == "since_ms" and "since" or "older", moment.KINDS, text)
    end
  end
  if options.state and options.state ~= "all" then
    local near = opts.nearest(options.state, STATES)
    local known = false
    for _, name in ipairs(STATES) do
      known = known or name == options.state
    end
    if not known then
      return nil, ("--state %s: there is no such state%s (there are: all, %s)"):format(
        options.state, near and (" (did you mean %s?)"):format(near) or "",
        table.concat(STATES, ", "))
    end
  end
  o.state = options.state
  return o
end

local function counted(counts)
  local parts = {}
  for _, name in ipairs(STATES) do
    if counts[name] then
      parts[#parts + 1] = ("%d %s"):format(counts[name], name)
    end
  end
  return #parts > 0 and table.concat(parts, ", ") or "none that is open"
end

local function key_of(run)
  return run.key or run.key_base64 or ""
end

local HEADING = { "ID", "STATE", "BEGAN", "FLOW", "TYPE", "KEY", "EVENT", "WHY" }

local function row(run)
  local why = run.why or ""
  if run.due and why == "" then
    why = "due " .. run.due
  end
  return {
    run.id, run.state, run.began, show.short(run.flow, 30), show.short(run.type, 30),
    show.short(key_of(run), 30), show.short(run.event_id, 36), show.short(why, WHY_COLUMNS),
  }
end

function actions.list(options, source)
  local o, problem = filter_of(options)
  if not o then
    return nil, problem, "USAGE"
  end
  local found, message, code = source:list(o)
  if not found then
    return nil, message, code
  end
  local rows = {}
  for i, run in ipairs(found.runs) do
    if options.json then
      output.json(run)
    end
    rows[i] = row(run)
  end
  if #rows > 0 and not options.json then
    output.table(HEADING, rows)
  end
  if not options.json then
    terminal.note(("%s%s"):format(counted(found.counts),
      found.more and "; there are more than are shown (--max)" or ""))
  end
  return OK
end

function actions.show(options, source)
  local run, message, code = source:show(options.id)
  if not run then
    return nil, message, code
  elseif options.json then
    output.json(run)
  else
    show.print(run, terminal.is_terminal "stdout" and not sys.getenv "NO_COLOR")
  end
  return OK
end

local function act(options, source)
  if options.result and not json.decode(options.result) then
    return nil, "--result is JSON, such as '{\"slot\":3}'", "USAGE"
  end
  local answer, message, code = source:act(options.id, {
    verb = options.action, who = options.who, why = options.why, step = options.step,
    result = options.result, not_done = options.not_done or nil,
    dry_run = options.dry_run or nil,
  })
  if not answer then
    return nil, message, code
  elseif options.json then
    output.json(answer)
    return OK
  end
  for _, text in ipairs(answer.changes) do
    terminal.write(("%s %s\n"):format(options.dry_run and "would write:" or "wrote:",
      output.printable(text)))
  end
  local now = answer.goes_on and (options.dry_run and "would go on" or "goes on")
    or (options.dry_run and "would be " or "is now ") .. answer.state
  terminal.write(("run %s was %s and %s\n"):format(answer.id, answer.before, now))
  return OK
end

for _, verb in ipairs { "retry", "skip", "undo", "complete", "abandon" } do
  actions[verb] = act
end

function actions.versions(options, source)
  local list, message, code = source:versions()
  if not list then
    return nil, message, code
  end
  local rows = {}
  for i, one in ipairs(list) do
    if options.json then
      output.json(one)
    end
    rows[i] = { one.script, one.since, one.open }
  end
  if #rows == 0 then
    complain(options, "the journal keeps no version of a script")
  elseif not options.json then
    output.table({ "SCRIPT", "SINCE", "OPEN" }, rows)
  end
  return OK
end

function actions.export(options, source)
  local lines, message, code = source:export(options.id)
  if not lines then
    return nil, message, code
  end
  local text = table.concat(lines, "\n") .. "\n"
  if options.output == "-" then
    return terminal.write(text) and OK or FAILED
  end
  local head = json.decode(lines[1])
  local path = options.output or ("chain-%s.jsonl"):format(head.run.id)
  local ok
  ok, message, code = sys.write_file(path, text)
  if not ok then
    return nil, message, code
  elseif options.json then
    output.json { file = path, lines = #lines, bytes = #text }
  else
    terminal.write(("%s: %d lines, %d bytes\n"):format(output.printable(path), #lines, #text))
  end
  return OK
end

function actions.vacuum(options, source)
  return require("sipeat.command_chains_vacuum")(options, source)
end

--- Returns the exit code.
function M.run(options)
  local source, message, code = sources.open(options)
  local result
  if source then
    result, message, code = actions[options.action](options, source)
  end
  if result then
    return result
  end
  complain(options, message)
  if code == "USAGE" then
    return USAGE
  end
  return source and (code == "NOT_FOUND" or code == "BUSY" or code == "REFUSED") and FAILED
    or (code and code:find "JOURNAL" and JOURNAL or FAILED)
end

return M
