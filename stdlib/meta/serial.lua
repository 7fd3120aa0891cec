---@meta sipeat.serial
error("type stubs: require \"sipeat.serial\" in a script instead")

---@class sipeat.serial
local M = {}

---@class sipeat.serial.OpenOptions
---@field port string "/dev/…", "tcp://host:port" or "rfc2217://host:port"
---@field protocol? string a name of protocols(); without one, bytes are written and read
---@field settings? table<string, string|integer|boolean> of the protocol
---@field framing? string|sipeat.serial.FramingOptions without a protocol: bytes come as frames
---@field echo? boolean what is sent comes back, and is taken out; default false
---@field baud? integer these four as the protocol has them; without one 9600 8N1
---@field bits? integer 5 to 8
---@field parity? "none"|"even"|"odd"|"mark"|"space"
---@field stop? integer 1 or 2
---@field dtr? boolean as it is set after the opening; left alone when absent
---@field rts? boolean
---@field rs485? boolean the driver turns the direction with RTS; default false
---@field flow? "none"|"hard"|"soft" RTS and CTS, or XON and XOFF; default "none"
---@field settle? string what a board says for so long after the opening is dropped; default "0ms"
---@field reopen? boolean a port that is lost is opened again; default true
---@field keep? boolean opened again with the same options, it is the same line; default false
---@field patient? boolean a port that is not there is waited for, not a failure; default false

---@class sipeat.serial.SimulateOptions
---@field protocol? string whose simulator; without one, the script is the board
---@field settings? table<string, string|integer|boolean> of the simulator
---@field framing? string|sipeat.serial.FramingOptions without a protocol
---@field link? string a link of this name leads to the pseudo-terminal

---@class sipeat.serial.FramingOptions
---@field kind "line"|"delimiter"|"length"|"fixed"|"gap"
---@field delimiter? string ends a frame, and is cut off
---@field start? string length, fixed: frames begin with it
---@field at? integer length: where in the frame it stands, from 0
---@field width? integer length: its bytes, 1 or 2
---@field little? boolean length: its low byte comes first
---@field extra? integer length: what is added to it for the whole frame
---@field size? integer fixed: bytes of a frame
---@field gap? string silence that ends a frame, or a broken one
---@field max? integer bytes of the largest frame; what is longer is noise
---@field check? string as of checksum(), at the end of a frame: a wrong one is noise; it is cut off

---@class sipeat.serial.CommandOptions
---@field timeout? string default "30s"

---@class sipeat.serial.Note something that happened: the fields are those of its name
---@field name string "link", "data", "frame", "noise", or one of the protocol
---@field ticket? integer

---@class sipeat.serial.State
---@field up boolean
---@field closed boolean
---@field path string what was opened last
---@field opened integer
---@field lost integer
---@field bytes_in integer
---@field bytes_out integer
---@field dropped integer notes that nobody took in time
---@field realtime boolean the serial thread has real-time priority
---@field message? string why it is not up
---@field code? string

---@class sipeat.serial.Line
---@field path? string of a simulator: what the other end opens
local Line = {}

---@param name string
---@param fields? table<string, string|integer|boolean>
---@param options? sipeat.serial.CommandOptions
---@return table? result
---@return string? message
---@return string? code
function Line:command(name, fields, options) end

---@param timeout? string for ever when absent
---@return sipeat.serial.Note? note
---@return string? message
---@return string? code
function Line:next(timeout) end

---@return sipeat.serial.State
function Line:state() end

--- The bytes that passed last, oldest first; at most 64 pieces of at most 64 bytes.
---@return {at_ms: integer, out: boolean, bytes: string}[]
function Line:traffic() end

function Line:close() end

---@param set? { dtr?: boolean, rts?: boolean }
---@return table<"dtr"|"rts"|"cts"|"dsr"|"dcd"|"ri", boolean>? lines
---@return string? message
---@return string? code
function Line:lines(set) end

---@param duration? string "250ms" when absent
---@return true? ok
---@return string? message
---@return string? code
function Line:send_break(duration) end

---@param bytes string
---@return true? ok
---@return string? message
---@return string? code
function Line:write(bytes) end

---@param n? integer
---@param deadline? string "10s" when absent
---@return string? bytes
---@return string? message
---@return string? code
function Line:read(n, deadline) end

---@param pattern string
---@param deadline? string "10s" when absent
---@return string? match or its captures
---@return string? ... the other captures, or message and code
function Line:expect(pattern, deadline) end

---@param deadline? string "10s" when absent
---@return string? frame
---@return integer|string at_us or the message
---@return string? code
function Line:frame(deadline) end

---@param bytes string
---@param deadline? string "1s" when absent
---@return string? frame
---@return string? message
---@return string? code
function Line:ask(bytes, deadline) end

---@param to string up to 16 bytes
---@param with? string up to 256 bytes
---@return true? ok
---@return string? message
---@return string? code
function Line:answer(to, with) end

---@param options sipeat.serial.OpenOptions
---@return sipeat.serial.Line? line
---@return string? message
---@return string? code
function M.open(options) end

---@param options? sipeat.serial.SimulateOptions
---@return sipeat.serial.Line? board
---@return string? message
---@return string? code
function M.simulate(options) end

---@class sipeat.serial.Port
---@field path string
---@field by_id? string a name that names the adapter
---@field by_path? string a name that names the socket
---@field vid? integer
---@field pid? integer
---@field serial? string
---@field driver? string
---@field holder? string who has it open
---@field description? string

---The lines that are open, by port, and whether the port is there now.
---@return { port: string, up: boolean }[]
function M.open_lines() end

---@return sipeat.serial.Port[]? ports
---@return string? message
---@return string? code
function M.list() end

---@class sipeat.serial.Protocol
---@field name string
---@field title string
---@field proof "sensor"|"counter"|"none" of a dispense, at its best
---@field settings string[]
---@field commands string[]
---@field baud integer
---@field bits integer
---@field stop integer
---@field parity "none"|"even"|"odd"

---@return sipeat.serial.Protocol[]
function M.protocols() end

---@param protocol string
---@param bytes string
---@param from_host? boolean
---@return string text
---@return integer count
function M.describe(protocol, bytes, from_host) end

---@param check "xor8"|"sum8"|"neg_sum8"|"crc16_modbus"|"crc16_arc"|"crc16_ccitt"
---@param bytes string
---@return string
function M.checksum(check, bytes) end

return M
