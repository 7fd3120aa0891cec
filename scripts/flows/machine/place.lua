--- Where a machine stands: a text, or { address, city?, country?, latitude?, longitude? }.
local M = {}

local function is_number(value, limit)
  return type(value) == "number" and value >= -limit and value <= limit
end

-- What is wrong with a table's texts, or nil.
local function text_problem(location)
  for _, field in ipairs { "address", "city", "country" } do
    local value = location[field]
    if value ~= nil and type(value) ~= "string" then
      return field .. " is a text"
    elseif value and #value > 200 then
      return field .. " is longer than 200 bytes"
    end
  end
  local _, letters = (location.address or ""):gsub("[^%s%p]", "")
  if letters < 3 then
    return "an address is needed"
  end
end

--- The columns of a location, or nil and what is wrong with it.
function M.check(location)
  if type(location) == "string" then
    location = { address = location }
  elseif type(location) ~= "table" then
    return nil, "a location is a text or { address, city, country, latitude, longitude }"
  end
  local problem = text_problem(location)
  if problem then
    return nil, problem
  end
  local latitude, longitude = location.latitude, location.longitude
  if (latitude == nil) ~= (longitude == nil) then
    return nil, "latitude and longitude come together"
  elseif latitude ~= nil and not (is_number(latitude, 90) and is_number(longitude, 180)) then
    return nil, "latitude is -90 to 90 and longitude -180 to 180"
  end
  return {
    address = location.address, city = location.city, country = location.country,
    latitude = latitude, longitude = longitude,
  }
end

return M
