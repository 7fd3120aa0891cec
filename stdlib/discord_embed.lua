--- Embeds: an event and how it ended, as Discord shows it, always within Discord's limits.
local limits = require "sipeat.discord_limits"
local sys = require "sipeat.core.sys"
local text = require "sipeat.discord_text"
local value = require "sipeat.discord_value"

local M = {}

M.GREEN, M.RED, M.BLUE, M.GREY = 0x2ECC71, 0xE74C3C, 0x3498DB, 0x95A5A6

local INLINE_LENGTH = 30 -- values up to this length stand side by side
local LIST_LIMIT = 1024
local SHORTEST_VALUE = 80 -- what fields are shortened to before whole fields are left out
local OTHER = { icon = "📦" }

--- How the three events of SipEat are shown. discord.configure{events = …} adds to it.
M.EVENTS = {
  ["contact.created"] = {
    icon = "📝",
    description = "New Contact Form Submission",
    order = { "name", "email", "phone", "companyName", "type", "message", "preferences" },
  },
  ["request.created"] = {
    icon = "🥤",
    description = "New Drink Request",
    order = { "customerName", "email", "drinkName", "machineId", "machineName", "slot", "amount" },
  },
  ["machine.created"] = {
    icon = "🏭",
    description = "New Vending Machine",
    order = { "machineId", "machineName", "location", "slots", "network", "maintenance" },
  },
}

---@return {name: string, value: string, inline: boolean}
local function field(name, content, inline)
  local shown = text.fit(content, limits.VALUE)
  if inline == nil then
    inline = utf8.len(shown) <= INLINE_LENGTH and not shown:find("\n", 1, true)
  end
  return { name = text.fit(name, limits.NAME), value = shown, inline = inline }
end

--- Puts what does not fit into the place of the last one that does.
local function summarised(fields, room)
  if #fields <= room then
    return fields
  end
  local kept = table.move(fields, 1, room - 1, 1, {})
  local names = {}
  for i = room, math.min(#fields, room + LIST_LIMIT) do
    names[#names + 1] = fields[i].name
  end
  kept[room] = {
    name = ("… and %d more"):format(#fields - room + 1),
    value = text.cut(table.concat(names, ", "), limits.VALUE),
    inline = false,
  }
  return kept
end

--- The longest value that can be shortened, and its length.
local function longest(fields)
  local found, length = nil, SHORTEST_VALUE
  for _, part in ipairs(fields) do
    local n = utf8.len(part.value)
    if n > length then
      found, length = part, n
    end
  end
  return found, length
end

--- Makes the embed count at most 6,000: shortens its longest values, then leaves out whole fields.
---@param embed table with fields
---@param keep integer how many of the last fields stay in any case
local function shrink(embed, keep)
  local over = limits.embed_size(embed) - limits.SUM
  if over > 0 and embed.description then
    local n = utf8.len(embed.description)
    embed.description = text.cut(embed.description, math.max(SHORTEST_VALUE, n - over))
    over = limits.embed_size(embed) - limits.SUM
  end
  while over > 0 do
    local part, length = longest(embed.fields)
    if part then
      part.value = text.cut(part.value, math.max(SHORTEST_VALUE, length - over, length * 3 // 4))
      over = over - length + utf8.len(part.value)
    else
      local count = #embed.fields - keep
      local others = summarised(table.move(embed.fields, 1, count, 1, {}), count - 1)
      embed.fields = table.move(embed.fields, count + 1, count + keep, #others + 1, others)
      over = limits.embed_size(embed) - limits.SUM
    end
  end
  return embed
end

local function data_fields(notice, look)
  local fields = {}
  if type(notice.data) == "table" then
    for _, key in ipairs(value.keys(notice.data, look.order)) do
      local label = (look.names or {})[key] or value.name(tostring(key))
      fields[#fields + 1] = field(label, value.readable(notice.data[key]))
    end
  elseif notice.data ~= nil then
    fields[1] = field("Data", value.readable(notice.data), false)
  end
  for _, extra in ipairs(notice.fields or {}) do
    fields[#fields + 1] = field(tostring(extra.name or extra[1] or ""),
      value.readable(extra.value == nil and extra[2] or extra.value), extra.inline)
  end
  return fields
end

--- What stays whatever else is left out: the error, and what finds the event again.
local function last_fields(notice)
  local fields = {}
  local function add(name, content, inline)
    if content ~= nil and content ~= "" then
      fields[#fields + 1] = field(name, tostring(content), inline)
    end
  end
  add("Error", notice.error, false)
  add("Topic", notice.topic)
  add("Partition", notice.partition)
  add("Offset", notice.offset)
  add("Event ID", notice.event_id)
  if (notice.attempts or 1) > 1 then
    add("Attempts", notice.attempts)
  end
  return fields
end

local function title_of(notice, icon)
  if notice.title then
    return text.fit(notice.title, limits.TITLE)
  end
  local ends = notice.ok == nil and " event" or notice.ok and " event processed" or " event failed"
  local room = limits.TITLE - utf8.len(icon) - 1 - #ends
  return icon .. " " .. text.fit(notice.type or "unknown", room) .. ends
end

local function description_of(notice, look, icon)
  if notice.description then
    return text.fit(notice.description, limits.DESCRIPTION)
  end
  local known = look.description
  if not known and not notice.title and notice.type then
    known = value.name(notice.type)
  end
  return known and icon .. " " .. text.fit(known, limits.DESCRIPTION - utf8.len(icon) - 1)
end

local function status_of(ok)
  if ok == nil then
    return M.BLUE, nil
  elseif ok then
    return M.GREEN, "✅ Successfully processed"
  end
  return M.RED, "❌ Processing failed"
end

--- The embed of a notice: {type, ok (nil: neither), error, data, fields, title, description,
--- footer, color, time, event_id, attempts, topic, partition, offset}. Whatever is in it, the
--- result is within every limit.
---@param notice table
---@param events table<string, table>? how events are shown, by type
---@return table embed
function M.build(notice, events)
  local look = (events or M.EVENTS)[notice.type] or OTHER
  local icon = look.icon or OTHER.icon
  local color, footer = status_of(notice.ok)
  footer = notice.footer or footer
  local kept = last_fields(notice)
  local fields = summarised(data_fields(notice, look), limits.FIELDS - #kept)
  local embed = {
    title = title_of(notice, icon),
    description = description_of(notice, look, icon),
    color = notice.color or color,
    fields = table.move(kept, 1, #kept, #fields + 1, fields),
    footer = footer and { text = text.fit(footer, limits.FOOTER, true) },
    timestamp = notice.time or sys.iso_time(),
  }
  shrink(embed, #kept)
  if #embed.fields == 0 then
    embed.fields = nil
  end
  return embed
end

local MARKS = { done = "✅ %d processed", dead = "❌ %d failed", info = "💬 %d notices" }

--- Says what was left out.
---@param omitted {total: integer, types: table<string, table<string, integer>>}
---@return table embed
function M.digest(omitted)
  local fields = {}
  for _, name in ipairs(value.keys(omitted.types)) do
    local parts = {}
    for _, outcome in ipairs { "done", "dead", "info" } do
      local count = omitted.types[name][outcome]
      parts[#parts + 1] = count and MARKS[outcome]:format(count)
    end
    fields[#fields + 1] = field(name, table.concat(parts, ", "), true)
  end
  return shrink({
    title = ("📋 %d notices left out"):format(omitted.total),
    description = "More came than could be delivered here. The events themselves are not affected.",
    color = M.GREY,
    fields = summarised(fields, limits.FIELDS),
    footer = { text = "Counted by event type and outcome" },
    timestamp = sys.iso_time(),
  }, 0)
end

return M
