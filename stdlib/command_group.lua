--- `sipeat group list|show|reset`.
local http = require "sipeat.http"
local kafka = require "sipeat.kafka"
local output = require "sipeat.command_output"
local terminal = require "sipeat.core.terminal"

local M = {}

local OK, FAILED, USAGE, BROKER = 0, 1, 2, 4

local actions = {}

local function complain(options, message)
  terminal.note(("sipeat group %s: %s"):format(options.action, message))
end

-- The groups of the process that runs the embedded broker.
local function embedded_groups(options)
  local url = ("http://%s/admin/groups"):format(options.embedded_http)
  local answer, message, code = http.get(url)
  if not answer then
    return nil, message, code
  elseif not answer:ok() then
    local why = "%s answered with status %d"
    return nil, why:format(options.embedded_http, answer.status), "FAILED"
  end
  return answer:json()
end

-- An embedded broker cannot list groups; the process that runs it knows its own.
local function groups_of(options)
  local groups, message, code = kafka.admin():groups()
  if code ~= "_UNSUPPORTED_FEATURE" or not options.embedded_http then
    return groups, message, code
  end
  groups, message, code = embedded_groups(options)
  if groups then
    complain(options, "an embedded broker lists only the groups of its own process")
  end
  return groups, message, code
end

-- The group as the process that runs the embedded broker has it: { state, members }; or nil.
local function embedded_group(options)
  for _, group in ipairs(options.embedded_http and embedded_groups(options) or {}) do
    if group.name == options.name then
      return group
    end
  end
end

function actions.list(options)
  local groups, message, code = groups_of(options)
  if not groups then
    return nil, message, code
  end
  local rows = {}
  for i, group in ipairs(groups) do
    if options.json then
      output.json(group)
    end
    rows[i] = { output.printable(group.name), group.state, group.members }
  end
  if #rows == 0 then
    complain(options, "there are no groups")
  elseif not options.json then
    output.table({ "GROUP", "STATE", "MEMBERS" }, rows)
  end
  return OK
end

local function print_offsets(offsets)
  local rows = {}
  for i, at in ipairs(offsets) do
    rows[i] = {
      output.printable(at.topic), at.partition, at.committed or "none", at.low, at.high, at.lag,
    }
  end
  return output.table({ "TOPIC", "PARTITION", "COMMITTED", "FIRST", "NEXT", "LAG" }, rows)
end

function actions.show(options)
  local group, message, code = kafka.admin():describe_group(options.name)
  if not group then
    return nil, message, code
  end
  local known = embedded_group(options)
  if known then
    group.state, group.members = known.state, known.members
  end
  if options.json then
    output.json(group)
    return OK
  end
  local members = group.members == 1 and "1 member" or group.members .. " members"
  terminal.write(("%s: %s, %s\n"):format(output.printable(group.name), group.state, members))
  if #group.offsets == 0 then
    complain(options, "it has committed nothing")
  else
    print_offsets(group.offsets)
  end
  return OK
end

local function destination(to)
  local known = to == "beginning" or to == "end" or to:find "^offset:%d+$" or kafka.time_ms(to)
  return known ~= nil and known ~= false
end

function actions.reset(options)
  if not destination(options.to) then
    complain(options, ("--to is beginning, end, offset:N or a time such as 2026-01-31T12:00:00Z, "
      .. "got %s"):format(output.printable(options.to)))
    return USAGE
  end
  local what = ("the offsets of group %s in %s, to %s"):format(
    output.printable(options.name), output.printable(options.topic), options.to
  )
  if not options.yes and not output.confirm(what, options.name) then
    complain(options, "nothing was changed")
    return FAILED
  end
  if embedded_group(options) then -- its broker would let us join, and take partitions from it
    complain(options, ("group %s has running members; stop them first"):format(options.name))
    return BROKER
  end
  local group, message, code = kafka.admin():reset_group {
    group = options.name, topic = options.topic, to = options.to,
  }
  if not group then
    return nil, message, code
  end
  print_offsets(group.offsets)
  return OK
end

--- Returns the exit code.
function M.run(options)
  local result, message, code = actions[options.action](options)
  if result then
    return result
  end
  complain(options, message)
  return (code == "ECANCELED" or code == "EBUSY") and FAILED or BROKER
end

return M
