--- `sipeat user …`, `sipeat token …` and `sipeat audit`: on the file, also while a process has it.
local access = require "sipeat.access"
local json = require "sipeat.json"
local moment = require "sipeat.moment"
local opts = require "sipeat.opts"
local output = require "sipeat.command_output"
local store = require "sipeat.access_store"
local sys = require "sipeat.core.sys"
local terminal = require "sipeat.core.terminal"
local users = require "sipeat.access_users"

local M = {}

local OK, FAILED, USAGE = 0, 1, 2
local ROLES = { viewer = true, operator = true, admin = true }
local TOKEN_MS = 90 * 24 * 60 * 60 * 1000
local PASSWORD_BYTES = 64 * 1024 -- of a file whose first line is one

local actions = {}

local function who(options)
  return { name = options.login, via = "command line" }
end

local function role_of(options)
  local role = options.role or "viewer"
  if not ROLES[role] then
    local near = opts.nearest(role, opts.names(ROLES))
    return nil, ("--role %s: viewer, operator or admin%s"):format(
      role, near and (" (did you mean %s?)"):format(near) or ""), "USAGE"
  end
  return role
end

-- --- passwords ---

local function first_line(text)
  if #text > PASSWORD_BYTES then
    return nil, "--password-file: the file is larger than 64 KiB", "USAGE"
  end
  return (text:match "^[^\r\n]*")
end

local function from_stdin()
  local reader, message, code = terminal.open "-"
  if not reader then
    return nil, message, code
  end
  local line = true
  while line == true do
    line, message, code = reader:poll()
  end
  reader:close()
  return line or message == nil and "" or nil, message, code
end

local function password_of(options)
  if options.password_file == "-" then
    return from_stdin()
  elseif options.password_file then
    local text, message, code = sys.read_file(options.password_file)
    if not text then
      return nil, message, code
    end
    return first_line(text)
  end
  local once = terminal.ask_secret(("Password of %s: "):format(options.name))
  if not once then
    return nil, "no password was typed (without a terminal: --password-file FILE)", "USAGE"
  elseif once ~= terminal.ask_secret "The same again: " then
    return nil, "the two passwords differ", "USAGE"
  end
  return once
end

-- --- users ---

-- The end of an action that changes something: the text, or the object as JSON, once it is done.
local function answer(options, text, object, done, message, code)
  if not done then
    return nil, message, code
  elseif options.json then
    output.json(object)
  else
    terminal.write(output.printable(text) .. "\n")
  end
  return OK
end

function actions.user_add(options)
  local role, message, code = role_of(options)
  if not role then
    return nil, message, code
  end
  local password
  password, message, code = password_of(options)
  if not password then
    return nil, message, code
  end
  return answer(options, ("%s may sign in as %s"):format(options.name, role),
    { name = options.name, role = role },
    users.add(who(options), options.name, role, password))
end

function actions.user_role(options)
  if not options.role then
    return nil, "say which: --role viewer, operator or admin", "USAGE"
  end
  local role, message, code = role_of(options)
  if not role then
    return nil, message, code
  end
  return answer(options, ("%s is %s now, and must sign in again"):format(options.name, role),
    { name = options.name, role = role },
    users.change(who(options), options.name, role, nil))
end

function actions.user_password(options)
  local password, message, code = password_of(options)
  if not password then
    return nil, message, code
  end
  return answer(options, options.name .. " has another password, and must sign in again",
    { name = options.name }, users.change(who(options), options.name, nil, password))
end

function actions.user_remove(options)
  return answer(options, options.name .. " is removed", { name = options.name, removed = true },
    users.remove(who(options), options.name))
end

-- Rows as a table with these columns, or as JSON.
local function rows_out(options, rows, heading, columns)
  local cells = {}
  for i, row in ipairs(rows) do
    if options.json then
      output.json(row)
    end
    cells[i] = {}
    for j, name in ipairs(columns) do
      cells[i][j] = type(row[name]) == "number" and row[name]
        or output.printable(tostring(row[name] or ""))
    end
  end
  if not options.json and #rows > 0 then
    output.table(heading, cells)
  end
  return OK
end

function actions.user_list(options)
  local rows, message, code = users.list()
  if not rows then
    return nil, message, code
  elseif #rows == 0 then
    terminal.note(("there are no users in %s yet: sipeat user add NAME --role admin"):format(
      options.file))
  end
  return rows_out(options, rows, { "NAME", "ROLE", "CREATED", "CHANGED", "SESSIONS" },
    { "name", "role", "created", "changed", "sessions" })
end

-- --- tokens ---

function actions.token_add(options)
  local role, message, code = role_of(options)
  local text, about
  if role then
    text, about, code = users.add_token(who(options), options.name, role,
      options.expires_ms or TOKEN_MS)
    message = about
  end
  if not text then
    return nil, message, code
  elseif options.json then
    about.token = text
    output.json(about)
    return OK
  end
  terminal.note(("%s may act as %s until %s. The token is shown only now:"):format(
    options.name, role, about.expires))
  terminal.write(text .. "\n")
  return OK
end

function actions.token_list(options)
  local rows, message, code = users.list_tokens()
  if not rows then
    return nil, message, code
  end
  for _, row in ipairs(rows) do
    row.state = row.expired and "expired" or "valid"
  end
  return rows_out(options, rows, { "NAME", "ROLE", "STATE", "CREATED", "EXPIRES", "USED" },
    { "name", "role", "state", "created", "expires", "used" })
end

function actions.token_remove(options)
  return answer(options, ("the token %s is removed"):format(options.name),
    { name = options.name, removed = true }, users.remove_token(who(options), options.name))
end

-- --- audit ---

function actions.audit(options)
  local since = options.since and moment.past_ms(options.since)
  if options.since and not since then
    return nil, ("--since is %s; got %s"):format(moment.KINDS, options.since), "USAGE"
  end
  local rows, message, code = access.audited {
    max = options.max or 100, who = options.who, what = options.what,
    since_ms = since,
  }
  if not rows then
    return nil, message, code
  end
  if not options.json then
    for _, row in ipairs(rows) do
      row.fields = row.fields and json.encode(row.fields)
    end
  end
  return rows_out(options, rows, { "AT", "WHO", "VIA", "WHAT", "FIELDS" },
    { "at", "who", "via", "what", "fields" })
end

--- Returns the exit code.
function M.run(options)
  local result, message, code
  if options.file == ":memory:" then
    message, code = "nothing is kept with --state off: name a folder, or SIPEAT_ACCESS", "USAGE"
  else
    store.use(options.file)
    result, message, code = actions[options.action](options)
  end
  if result then
    return result
  end
  terminal.note(("sipeat %s: %s"):format((options.action:gsub("_", " ")),
    output.printable(message or "failed")))
  return code == "USAGE" and USAGE or FAILED
end

return M
