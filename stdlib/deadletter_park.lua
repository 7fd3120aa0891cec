--- Files beside the dead letters: bodies that are too large for their topic, and whole letters that
--- could not be written. Every file is named by a checksum and written durably, so that writing it
--- again changes nothing.
local sys = require "sipeat.core.sys"

local M = {}

local NULL = 0xffffffff
local MAGIC = "sipeat-letter 1\n"
local SUFFIX, REPLAYED = ".letter", ".replayed"
local SUM_BYTES = 64 -- SHA-256 as hexadecimal digits

--- Where the files are.
function M.directory()
  return sys.getenv "SIPEAT_PARK_DIR" or "sipeat-parked"
end

--- Writes bytes to a file that is named by them. Its path and checksum, or nil, message, code.
function M.body(bytes, suffix)
  local sum = sys.sha256(bytes)
  local path = ("%s/%s%s"):format(M.directory(), sum, suffix)
  local ok, message, code = sys.write_file(path, bytes)
  if not ok then
    return nil, message, code
  end
  return path, sum
end

--- The bytes of such a file; or nil, message, "BAD_DATA" when they are not those of its name.
function M.read_body(path)
  local bytes, message, code = sys.read_file(path)
  if not bytes then
    return nil, message, code
  end
  local sum = path:match "(%x+)%.%a+$"
  if sys.sha256(bytes) ~= sum then
    return nil, path .. ": its checksum is not that of its name: it was changed", "BAD_DATA"
  end
  return bytes
end

local function pack(value)
  return value and (">s4"):pack(value) or (">I4"):pack(NULL)
end

local function unpack(bytes, at)
  local length = (">I4"):unpack(bytes, at)
  if length == NULL then
    return nil, at + 4
  end
  return (">s4"):unpack(bytes, at)
end

--- Headers as bytes: name and value in turn, each as a 4-byte big-endian length and its bytes; the
--- length of a null value is 0xffffffff.
function M.pack_headers(headers)
  local out = {}
  for i, header in ipairs(headers) do
    out[i] = (">s4"):pack(header[1]) .. pack(header[2])
  end
  return table.concat(out)
end

--- The other way round; raises when the bytes are something else.
function M.unpack_headers(bytes)
  local headers, at = {}, 1
  while at <= #bytes do
    local name, value
    name, at = (">s4"):unpack(bytes, at)
    value, at = unpack(bytes, at)
    headers[#headers + 1] = { name, value }
  end
  return headers
end

--- Writes a whole letter, { topic, partition, timestamp, key, value, headers }, under the name that
--- `place` gives it. Its path, or nil, message, code.
function M.letter(message, place)
  local rest = pack(message.topic)
    .. (">i4i8"):pack(message.partition or -1, message.timestamp or -1)
    .. pack(message.key) .. pack(message.value) .. M.pack_headers(message.headers)
  local path = ("%s/%s%s"):format(M.directory(), sys.sha256(place), SUFFIX)
  local ok, why, code = sys.write_file(path, MAGIC .. sys.sha256(rest) .. rest)
  if not ok then
    return nil, why, code
  end
  return path
end

local function parse(text)
  local record = { offset = 0 }
  local at
  record.topic, at = unpack(text, #MAGIC + SUM_BYTES + 1)
  record.partition, record.timestamp, at = (">i4i8"):unpack(text, at)
  record.key, at = unpack(text, at)
  record.value, at = unpack(text, at)
  record.headers = M.unpack_headers(text:sub(at))
  return record
end

--- Reads a letter back as a record of its dead-letter topic. nil, message, code.
function M.read_letter(name, directory)
  local path = ("%s/%s"):format(directory or M.directory(), name)
  local text, message, code = sys.read_file(path)
  if not text then
    return nil, message, code
  end
  local sum, rest = text:sub(#MAGIC + 1, #MAGIC + SUM_BYTES), text:sub(#MAGIC + SUM_BYTES + 1)
  if text:sub(1, #MAGIC) ~= MAGIC or sys.sha256(rest) ~= sum then
    return nil, ("%s: it is no parked letter, or it was changed"):format(path), "BAD_DATA"
  end
  local record = parse(text)
  record.parked = name:sub(1, -#SUFFIX - 1)
  return record
end

--- Takes note that a parked letter was replayed, beside it.
function M.mark(record, directory)
  local path = ("%s/%s%s"):format(directory or M.directory(), record.parked, REPLAYED)
  return sys.write_file(path, sys.iso_time() .. "\n")
end

--- The names of the letters in the directory, sorted, and a set of those that were replayed. nil,
--- message, code; a directory that is not there has none.
function M.letters(directory)
  local names, message, code = sys.list_files(directory or M.directory())
  if not names then
    if code == "ENOENT" then
      return {}, {}
    end
    return nil, message, code
  end
  local letters, replayed = {}, {}
  for _, name in ipairs(names) do
    letters[#letters + 1] = name:sub(-#SUFFIX) == SUFFIX and name or nil
    if name:sub(-#REPLAYED) == REPLAYED then
      replayed[name:sub(1, -#REPLAYED - 1) .. SUFFIX] = true
    end
  end
  table.sort(letters)
  return letters, replayed
end

return M
