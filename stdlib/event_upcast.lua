--- Older versions of a type's data: lifted step by step to the one that a definition has today.
--
-- A version is "major.minor". What was written under an older one needs the upcaster of that very
-- version; a newer minor one of the same major is taken as it is (it only adds fields), and a newer
-- major one is refused. All refusals are permanent: NO_UPCASTER, NEWER_VERSION, UPCAST_FAILED.
local opts = require "sipeat.opts"
local plain = require "sipeat.plain"

local M = {}

-- "1.10" as { 1, 10 }; nil for what is no version.
local function parse(text)
  local major, minor = tostring(text):match "^(%d+)%.?(%d*)$"
  major = major and math.tointeger(tonumber(major))
  minor = math.tointeger(tonumber(minor ~= "" and minor or "0"))
  return major and minor and { major, minor }
end

local function is_before(a, b)
  return a[1] < b[1] or a[1] == b[1] and a[2] < b[2]
end

local function steps_of(name, version, upcast)
  local current = parse(version)
  if not current then
    error(("event.define %s: version %q: with upcast it is as in \"2.0\""):format(name, version), 0)
  end
  local steps = {}
  for from, lift in pairs(upcast) do
    local parsed = parse(from)
    if type(from) ~= "string" or not parsed then
      error(("event.define %s: upcast: %s is no version such as \"1.0\""):format(name,
        opts.show(from)), 0)
    elseif type(lift) ~= "function" then
      error(("event.define %s: upcast %s: a function is needed, got %s"):format(name, from,
        opts.show(lift)), 0)
    elseif not is_before(parsed, current) then
      error(("event.define %s: upcast %s: the version of today is %s"):format(name, from, version),
        0)
    end
    steps[#steps + 1] = { version = from, parsed = parsed, lift = lift }
  end
  table.sort(steps, function(a, b)
    return is_before(a.parsed, b.parsed)
  end)
  for i = 2, #steps do
    if not is_before(steps[i - 1].parsed, steps[i].parsed) then
      error(("event.define %s: upcast: %s and %s are the same version"):format(name,
        steps[i - 1].version, steps[i].version), 0)
    end
  end
  return steps, current
end

--- What lift needs, of the table `upcast` of a definition; raises a message without a place.
function M.compile(name, version, upcast)
  local steps, current = steps_of(name, version, upcast)
  local known = {}
  for i, step in ipairs(steps) do
    known[i] = step.version
  end
  known[#known + 1] = version
  return { name = name, version = version, current = current, steps = steps, known = known }
end

-- The place of the first step for a version; 0: none is needed. nil, message, code.
local function first_step(plan, version)
  local parsed = parse(version)
  if parsed and not is_before(parsed, plan.current) then
    if parsed[1] > plan.current[1] then
      local why = "%s of version %s: newer than %s, which this program reads (update it)"
      return nil, why:format(plan.name, version, plan.version), "NEWER_VERSION"
    end
    return 0
  end
  for i, step in ipairs(plan.steps) do
    if parsed and not is_before(step.parsed, parsed) and not is_before(parsed, step.parsed) then
      return i
    end
  end
  local why = "%s of version %s: there is no upcaster for it (known: %s; add one to its definition)"
  return nil, why:format(plan.name, opts.show(version), table.concat(plan.known, ", ")),
    "NO_UPCASTER"
end

-- One step; what raises or gives no table back has failed.
local function lift_once(plan, step, data, event)
  local ok, lifted, why = pcall(step.lift, data, event)
  if ok and type(lifted) == "table" then
    return lifted
  end
  why = not ok and lifted or why or ("it gave %s"):format(opts.show(lifted))
  return nil, ("%s: the upcaster of version %s failed: %s"):format(plan.name, step.version,
    tostring(why)), "UPCAST_FAILED"
end

--- Data of that version as it would have been written today; the upcasters work on a copy. nil,
--- message, code.
function M.lift(plan, version, data, event)
  local at, message, code = first_step(plan, version)
  if not at then
    return nil, message, code
  elseif at == 0 or type(data) ~= "table" then
    return data
  end
  data = plain.unpack(plain.pack(data)) -- a copy: what came stays as it is
  for i = at, #plan.steps do
    data, message, code = lift_once(plan, plan.steps[i], data, event)
    if not data then
      return nil, message, code
    end
  end
  return data
end

return M
