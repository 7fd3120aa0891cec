--- Serial ports: boards by their protocol, or bytes and frames; on a thread of its own, in C.
local core = require "sipeat.core.serial"
local line = require "sipeat.serial_line"
local opts = require "sipeat.opts"

local M = {}

local opened = setmetatable({}, { __mode = "k" }) -- line -> port
local kept = {} -- port -> { line, spelled }: those that outlive the version of the script

local OPEN = opts.spec("sipeat.serial.open", {
  port = { "string", required = true },
  protocol = { "string" },
  settings = { "table" },
  framing = { "string|table" },
  echo = { "boolean", default = false },
  baud = { "integer", min = 50, max = 4000000 },
  bits = { "integer", min = 5, max = 8 },
  parity = { "string", enum = { "none", "even", "odd", "mark", "space" } },
  stop = { "integer", min = 1, max = 2 },
  dtr = { "boolean" },
  rts = { "boolean" },
  rs485 = { "boolean", default = false },
  flow = { "string", default = "none", enum = { "none", "hard", "soft" } },
  settle = { "duration", default = "0ms" },
  reopen = { "boolean", default = true },
  patient = { "boolean", default = false },
  keep = { "boolean", default = false },
})

local SIMULATE = opts.spec("sipeat.serial.simulate", {
  protocol = { "string" },
  settings = { "table" },
  framing = { "string|table" },
  link = { "string" },
})

local KINDS = { "line", "delimiter", "length", "fixed", "gap" }

local FRAMING = opts.spec("sipeat.serial.framing", {
  kind = { "string", required = true, enum = KINDS },
  delimiter = { "string" },
  start = { "string" },
  at = { "integer" },
  width = { "integer" },
  little = { "boolean" },
  extra = { "integer" },
  size = { "integer" },
  gap = { "duration" },
  max = { "integer" },
  check = { "string" },
})

local function check_protocol(name, what)
  local names = {}
  for i, protocol in ipairs(core.protocols()) do
    if protocol.name == name then
      return
    end
    names[i] = protocol.name
  end
  local near = opts.nearest(name, names)
  local known = near and ("did you mean %q?"):format(near) or "known: " .. table.concat(names, ", ")
  error(("serial.%s: there is no protocol %s (%s)"):format(what, opts.show(name), known), 3)
end

-- The settings of the party, with those of the framing for a line without protocol.
local function settings_of(o, what)
  if o.protocol then
    check_protocol(o.protocol, what)
    if o.framing or o.echo then
      error(("serial.%s: a protocol has its own framing and settings"):format(what), 3)
    end
    return o.settings
  elseif o.settings then
    error(("serial.%s: settings are a protocol's"):format(what), 3)
  elseif not o.framing then
    return { echo = o.echo or nil }
  end
  local given = type(o.framing) == "string" and { kind = o.framing } or o.framing
  local framing = FRAMING(given, 3)
  framing.framing, framing.kind = framing.kind, nil
  framing.gap_ms, framing.gap = framing.gap, nil
  framing.echo = o.echo or nil
  return framing
end

-- Everything in a table, as text: the same for the same content.
local function spelled(value)
  if type(value) ~= "table" then
    return opts.show(value)
  end
  local names, parts = opts.names(value), {}
  for i, name in ipairs(names) do
    parts[i] = name .. "=" .. spelled(value[name])
  end
  return "{" .. table.concat(parts, ",") .. "}"
end

local function open(request, o)
  local handle, message, code = core.open(request)
  if not handle then
    return nil, message, code
  end
  return line.new(handle, o.port or o.link, o.protocol, o.framing ~= nil)
end

--- Opens a port and puts the protocol's engine on it, or nothing: then bytes are written and read.
---@param options sipeat.serial.OpenOptions
function M.open(options)
  local o = OPEN(options)
  local settings = settings_of(o, "open")
  local found = o.keep and kept[o.port]
  if found and not found.line:state().closed then
    if found.spelled == spelled(o) then
      return found.line
    end
    found.line:close()
  end
  local self, message, code = open({
    port = o.port,
    protocol = o.protocol,
    settings = settings,
    baud = o.baud,
    bits = o.bits,
    parity = o.parity,
    stop = o.stop,
    dtr = o.dtr,
    rts = o.rts,
    rs485 = o.rs485,
    flow = o.flow,
    settle_ms = o.settle,
    reopen = o.reopen,
    patient = o.patient,
  }, o)
  if self then
    opened[self] = o.port
  end
  if self and o.keep then
    kept[o.port] = { line = self, spelled = spelled(o) }
  end
  return self, message, code
end

--- A pseudo-terminal with the protocol's simulator behind it, or a script: the board's end.
---@param options sipeat.serial.SimulateOptions?
function M.simulate(options)
  local o = SIMULATE(options)
  local settings = settings_of(o, "simulate")
  local self, message, code = open({
    port = o.link,
    protocol = o.protocol,
    settings = settings,
    simulate = true,
  }, o)
  if not self then
    return nil, message, code
  end
  self.path = o.link or self:state().path
  return self
end

--- The lines that are open, by port: { port, up }.
function M.open_lines()
  local list = {}
  for one, port in pairs(opened) do
    local state = one:state()
    if not state.closed then
      list[#list + 1] = { port = port, up = state.up }
    end
  end
  table.sort(list, function(a, b)
    return a.port < b.port
  end)
  return list
end

--- The machine's ports, in the order of their paths.
function M.list()
  return core.list()
end

--- What boards this program knows: name, title, proof, settings, commands, and how ports are set up
--- for them.
function M.protocols()
  return core.protocols()
end

--- The first frame of some bytes in words, and how many bytes it took; 0 when more are needed.
function M.describe(protocol, bytes, from_host)
  check_protocol(protocol, "describe")
  local taken, text = core.describe(protocol, bytes, from_host)
  return text, taken
end

--- The check that belongs behind some bytes: "xor8", "sum8", "neg_sum8", "crc16_modbus",
--- "crc16_arc" or "crc16_ccitt".
M.checksum = core.checksum

return M
