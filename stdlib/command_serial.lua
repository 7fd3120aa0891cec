--- `sipeat serial VERB`: what its verbs share; each is a module of its own, command_serial_<verb>.
local opts = require "sipeat.opts"
local output = require "sipeat.command_output"
local serial = require "sipeat.serial"
local sys = require "sipeat.core.sys"
local terminal = require "sipeat.core.terminal"

local M = { OK = 0, FAILED = 1, USAGE = 2 }

-- option -> the words that it takes
local WORDS = {
  parity = { "none", "even", "odd", "mark", "space" },
  flow = { "none", "hard", "soft" },
  dtr = { "on", "off" },
  rts = { "on", "off" },
  format = { "hex", "text", "raw", "json" },
  time = { "clock", "start", "delta", "iso", "off" },
  only = { "in", "out" },
  colour = { "auto", "always", "never" },
  eol = { "none", "lf", "cr", "crlf" },
  as = { "host", "board" },
}

M.EOL = { none = "", lf = "\n", cr = "\r", crlf = "\r\n" }

function M.complain(options, message)
  terminal.note(("sipeat serial %s: %s"):format(options.action, message))
end

-- What is wrong with an option that takes one of some words, or nil.
local function wrong_word(options)
  for name, words in pairs(WORDS) do
    local value, found = options[name], false
    for _, word in ipairs(words) do
      found = found or value == word
    end
    if value and not found then
      return ("--%s is one of %s, got %s"):format(
        name, table.concat(words, ", "), output.printable(value))
    end
  end
end

--- The protocol of that name; or nil and what is wrong. Without a name: nil.
function M.protocol(name)
  if not name then
    return nil
  end
  local names = {}
  for i, protocol in ipairs(serial.protocols()) do
    if protocol.name == name then
      return protocol
    end
    names[i] = protocol.name
  end
  local near = opts.nearest(name, names)
  return nil, ("unknown protocol %s (%s)"):format(output.printable(name),
    near and "did you mean " .. near .. "?" or "known: " .. table.concat(names, ", "))
end

-- A text that looks like a number, true or false is that.
local function typed(text)
  if text == "true" or text == "false" then
    return text == "true"
  end
  return text:find "^%-?%d+$" and math.tointeger(tonumber(text)) or text
end

--- "name=value" texts added to `into`; values are texts when `as_text`. Or nil and what is wrong.
function M.settings(list, into, as_text)
  for _, text in ipairs(list) do
    local name, value = text:match "^([%w_]+)=(.*)$"
    if not name then
      return nil, ("%s is no NAME=VALUE"):format(output.printable(text))
    end
    if as_text then
      into[name] = value
    else
      into[name] = typed(value)
    end
  end
  return into
end

--- Text with \r \n \t \0 \\ and \xNN in it, as bytes; or nil and what is wrong.
function M.unescape(text)
  local plain = { r = "\r", n = "\n", t = "\t", ["0"] = "\0", ["\\"] = "\\" }
  local out, at = {}, 1
  while at <= #text do
    local slash = text:find("\\", at, true)
    out[#out + 1] = text:sub(at, (slash or #text + 1) - 1)
    if not slash then
      break
    end
    local hex = text:match("^x(%x%x)", slash + 1)
    local char = plain[text:sub(slash + 1, slash + 1)]
    if not hex and not char then
      return nil, ("\\%s is none of \\r \\n \\t \\0 \\\\ \\xNN"):format(
        output.printable(text:sub(slash + 1, slash + 1)))
    end
    out[#out + 1] = hex and string.char(tonumber(hex, 16)) or char
    at = slash + (hex and 4 or 2)
  end
  return table.concat(out)
end

--- The name of a port as the driver wants it: a path from the root, or with its scheme.
function M.port_name(options, port)
  if port:find "^/" or port:find "^%w+://" or not options.directory then
    return port
  end
  return options.directory .. "/" .. port
end

--- How the line of these options is opened, with `more` on top.
function M.line_options(options, port, more)
  local line = M.protocol(options.protocol) or {}
  local out = {
    port = M.port_name(options, port),
    baud = options.baud or line.baud or 115200,
    bits = options.bits or line.bits,
    parity = options.parity or line.parity,
    stop = options.stop or line.stop,
    flow = options.flow,
    rs485 = options.rs485 or nil,
  }
  for _, name in ipairs { "dtr", "rts" } do
    if options[name] then
      out[name] = options[name] == "on"
    end
  end
  for name, value in pairs(more or {}) do
    out[name] = value
  end
  return out
end

--- What comes next on a raw line: { bytes, at_us }, or { link = what happened, down = boolean };
--- or nil, message, code.
function M.chunk(line, timeout)
  local note, message, code = line:next(timeout)
  if not note then
    return nil, message, code
  elseif note.name ~= "link" then
    return { bytes = note.bytes or "", at_us = note.at_us }
  elseif note.up then
    return { link = ("open: %s"):format(note.path or "") }
  end
  local why = note.message or note.code or "the port is gone"
  return { link = "lost: " .. why, down = true }
end

--- The bytes that come until enough(bytes) or for that many milliseconds; or nil, message, code
--- when the port is lost.
function M.hear(line, ms, enough)
  local ends_ms, got = sys.monotonic_ms() + ms, ""
  while not enough(got) do
    local left = math.floor(ends_ms - sys.monotonic_ms())
    if left <= 0 then
      break
    end
    local chunk, message, code = M.chunk(line, left .. "ms")
    if chunk and chunk.down then
      return nil, chunk.link, "LOST"
    elseif not chunk and code ~= "ETIMEDOUT" then
      return nil, message, code
    end
    got = got .. (chunk and chunk.bytes or "")
  end
  return got
end

--- Returns the exit code.
function M.run(options)
  local wrong = wrong_word(options)
  if not wrong and options.protocol then
    local _, message = M.protocol(options.protocol)
    wrong = message
  end
  if wrong then
    M.complain(options, wrong)
    return M.USAGE
  end
  return require("sipeat.command_serial_" .. options.action).run(options)
end

return M
