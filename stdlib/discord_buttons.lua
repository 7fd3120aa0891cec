--- The buttons under a notice of a parked chain, and what pressing one does: the same as
--- `sipeat chains retry|undo`, in the name of whoever pressed it.
--
-- They are there when DISCORD_PUBLIC_KEY is set (the webhook must belong to that application, else
-- Discord leaves them out). Only people and roles in DISCORD_OPERATORS may press them.
local access = require "sipeat.access"
local chains = require "sipeat.chains"
local env = require "sipeat.env"
local json = require "sipeat.json"
local sys = require "sipeat.core.sys"

local M = {}

local COMPONENT, BUTTON, ROW = 3, 2, 1 -- kinds of interactions and components
local PRIMARY, DANGER = 1, 4 -- styles of buttons
local REPLY, UPDATE, ONLY_FOR_YOU = 4, 7, 64
local TEXT = 1800 -- of an answer, below Discord's 2,000

local VERBS = {
  { verb = "retry", label = "Retry", style = PRIMARY },
  { verb = "undo", label = "Undo", style = DANGER },
}

-- Tells the run that was meant from another one of that number, as after a lost journal.
local function mark_of(event_id)
  return sys.sha256(tostring(event_id)):sub(1, 16)
end

--- The components of a message about the run, or nil where nobody could press them.
---@param run string|integer its number in the journal
function M.of(run, event_id)
  if not env.get "DISCORD_PUBLIC_KEY" then
    return nil
  end
  local buttons = {}
  for i, one in ipairs(VERBS) do
    buttons[i] = {
      type = BUTTON, style = one.style, label = one.label,
      custom_id = ("sipeat:%s:%s:%s"):format(one.verb, run, mark_of(event_id)),
    }
  end
  return json.array { { type = ROW, components = json.array(buttons) } }
end

-- verb, run, mark of a press; nil when it is none of ours.
local function parts_of(event)
  local data = event.type == COMPONENT and type(event.data) == "table" and event.data
  local id = data and type(data.custom_id) == "string" and data.custom_id or ""
  local verb, run, mark = id:match "^sipeat:(%l+):(%d+):(%x+)$"
  return verb, run, mark
end

--- Whether an interaction is about one of these buttons.
function M.is_ours(event)
  return parts_of(event) ~= nil
end

-- Who pressed it: name and id; nil when Discord does not say.
local function presser(event)
  local member = type(event.member) == "table" and event.member or event
  local user = type(member.user) == "table" and member.user or {}
  if type(user.id) ~= "string" or not user.id:find "^%d+$" then
    return nil
  end
  return { id = user.id, name = tostring(user.username or user.id):sub(1, 64),
    roles = type(member.roles) == "table" and member.roles or {} }
end

local function may(person)
  local listed = {}
  for id in env.get("DISCORD_OPERATORS", ""):gmatch "%d+" do
    listed[id] = true
  end
  for _, role in ipairs(person.roles) do
    if listed[role] then
      return true
    end
  end
  return listed[person.id] == true
end

local function say(kind, text, more)
  local data = { content = text:sub(1, TEXT), allowed_mentions = { parse = json.array {} } }
  for key, value in pairs(more) do
    data[key] = value
  end
  return { json = { type = kind, data = data } }
end

local function refuse(text)
  return say(REPLY, text, { flags = ONLY_FOR_YOU })
end

-- Only when the run is the one that the notice was about.
local function act(person, verb, run, mark)
  local found, message = chains.show(run)
  if not found then
    return nil, message
  elseif mark_of(found.event_id) ~= mark then
    return nil, "the run is not the one of this notice"
  end
  local who = ("discord:%s (%s)"):format(person.name, person.id)
  local noted
  noted, message = access.audit({ name = who, role = "operator", via = "discord" },
    "chain." .. verb, { run = run, event_id = found.event_id })
  if not noted then
    return nil, message
  end
  return chains.act(run, { verb = verb, who = who, why = "a button in Discord" })
end

--- A handler of sipeat.webhook: acts, and answers with what became of it.
function M.press(event)
  local verb, run, mark = parts_of(event)
  local person = presser(event)
  if not person or not may(person) then
    return refuse "You may not do this: ask for your id or role to be put into DISCORD_OPERATORS."
  elseif verb ~= "retry" and verb ~= "undo" then
    return refuse "There is no such button any more."
  elseif not chains.is_open() then
    return refuse "This process has no journal."
  end
  local answer, message = act(person, verb, run, mark)
  if not answer then
    return refuse(("Not done: %s"):format(message))
  end
  local now = answer.goes_on and "goes on" or "is now " .. answer.state
  return say(UPDATE, ("%s by <@%s>: run %s %s"):format(verb, person.id, answer.id, now),
    { components = json.array {} })
end

return M
