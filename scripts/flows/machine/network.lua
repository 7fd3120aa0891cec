--- A machine's network settings: { mode = "dhcp" }, or
--- { mode = "static", address, gateway?, mask? }.
local M = {}

local DEFAULT_MASK = "255.255.255.0"

-- The 32 bits of "192.168.1.7", or nil.
local function bits(text)
  local parts = { tostring(text):match("^(%d%d?%d?)%.(%d%d?%d?)%.(%d%d?%d?)%.(%d%d?%d?)$") }
  local value = 0
  for _, part in ipairs(parts) do
    if tonumber(part) > 255 then
      return nil
    end
    value = value << 8 | math.tointeger(part)
  end
  return #parts == 4 and value or nil
end

-- Ones, then zeros.
local function is_mask(value)
  local inverted = ~value & 0xffffffff
  return inverted & inverted + 1 == 0
end

local function static(network)
  local mask_text = network.mask or DEFAULT_MASK
  local address, mask = bits(network.address), bits(mask_text)
  if not address then
    return nil, "a static network needs an address such as 192.168.1.7"
  elseif not mask or not is_mask(mask) then
    return nil, ("%s is no mask such as %s"):format(tostring(mask_text), DEFAULT_MASK)
  end
  local gateway = network.gateway and bits(network.gateway)
  if network.gateway and not gateway then
    return nil, ("%s is no address of a gateway"):format(tostring(network.gateway))
  elseif gateway and gateway & mask ~= address & mask then
    return nil, ("the gateway %s is not in the machine's network"):format(network.gateway)
  elseif gateway == address then
    return nil, "the machine is not its own gateway"
  end
  return {
    mode = "static", address = network.address, gateway = network.gateway, mask = mask_text,
  }
end

--- The columns of the settings, or nil and what is wrong with them.
function M.check(network)
  local mode = network.mode or (network.address and "static" or "dhcp")
  if mode == "static" then
    return static(network)
  elseif mode ~= "dhcp" then
    return nil, "mode is dhcp or static"
  elseif network.address then
    return nil, "with dhcp there is no address to set"
  end
  return { mode = "dhcp" }
end

return M
