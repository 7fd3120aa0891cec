--- `sipeat chains vacuum`: deletes what has ended long ago, and gives its room back to the disk.
local command = require "sipeat.core.command"
local output = require "sipeat.command_output"
local retention = require "sipeat.journal_retention"
local sys = require "sipeat.core.sys"
local terminal = require "sipeat.core.terminal"

local function megabytes(bytes)
  return ("%.1f MB"):format(bytes / 1e6)
end

--- Returns the exit code; or nil, message, code.
return function(options, source)
  if source.is_remote then
    return nil, "a process works on this journal: it deletes what has ended long ago itself, and "
      .. "uses the room again; end it to give the room back to the disk", "BUSY"
  end
  local keep = options.keep or sys.getenv "SIPEAT_JOURNAL_KEEP"
  local ok, message = true, nil
  if keep then
    ok, message = retention.set_keep(keep)
  end
  if not ok then
    return nil, message, "USAGE"
  end
  local runs, code
  runs, message, code = retention.purge_all(function(total)
    terminal.status(("deleting … %d chains"):format(total))
  end)
  terminal.status ""
  if not runs then
    return nil, message, code
  end
  terminal.status "writing the file anew …"
  local before, after
  before, after, code = command.shrink_journal()
  terminal.status ""
  if not before then
    return nil, after, code
  end
  if options.json then
    output.json { deleted = runs, bytes_before = before, bytes = after }
  else
    local room = before > 0 -- 0: a server, which does that by itself
      and ("; %s, before %s"):format(megabytes(after), megabytes(before)) or ""
    terminal.write(("%d chains deleted%s\n"):format(runs, room))
  end
  return 0
end
