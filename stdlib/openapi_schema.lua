--- JSON schemas of typed fields, for sipeat.openapi.
local fields = require "sipeat.fields"
local json = require "sipeat.json"
local opts = require "sipeat.opts"

local M = {}

-- An address as sipeat.fields takes it, of ASCII letters.
local EMAIL = [[^[A-Za-z0-9_+-]+(\.[A-Za-z0-9_+-]+)*@[A-Za-z0-9]+(\.[A-Za-z0-9]+)+$]]

local SCALARS = {
  string = { type = "string" },
  text = { type = "string", minLength = 1, pattern = [[\S]] },
  email = { type = "string", format = "email", pattern = EMAIL, maxLength = 254 },
  boolean = { type = "boolean" },
  integer = { type = "integer" },
  number = { type = "number" },
  time = { type = "string", format = "date-time" },
  object = { type = "object" },
  array = { type = "array" },
  any = { type = { "string", "number", "boolean", "object", "array" } },
  money = { type = "number", description = "an amount such as 25.50" },
  ["money:minor"] = { type = "integer", description = "an amount in minor units" },
}

local function copy(t)
  local out = {}
  for key, value in pairs(t) do
    out[key] = value
  end
  return out
end

local function object(node)
  local out = { type = "object", properties = {}, required = json.array {} }
  for _, name in ipairs(opts.names(node.children)) do
    local child = node.children[name]
    local one = M.of_node(child.node)
    if not child.optional then
      table.insert(out.required, name)
    elseif one.type then
      local types = type(one.type) == "table" and copy(one.type) or { one.type }
      types[#types + 1] = "null"
      one.type = json.array(types)
    elseif one.enum then
      one.enum[#one.enum + 1] = json.null
    end
    out.properties[name] = one
  end
  if next(out.properties) == nil then
    out.properties = nil
  end
  if #out.required == 0 then
    out.required = nil
  end
  if node.closed then
    out.additionalProperties = false
  end
  return out
end

--- The schema of a node of sipeat.fields.
function M.of_node(node)
  if node.kind == "fields" then
    return object(node)
  elseif node.kind == "list" then
    return { type = "array", items = M.of_node(node.item) }
  elseif node.kind == "enum" then
    return { enum = json.array(copy(node.values)) }
  end
  local out = copy(SCALARS[node.kind])
  out.maxLength = node.max or out.maxLength
  return out
end

--- The schema of a table of fields, as a body or an answer gives it.
function M.of_fields(declared, where)
  if declared.kind then
    return M.of_node(declared)
  end
  return M.of_node(fields.node(declared, where))
end

--- The schema of one type, as in "integer?"; whether it is optional; and what it means, when it is
--- given as { type, text = "…", pattern = "…" }.
function M.of_type(declared, where)
  local text, pattern
  if type(declared) == "table" and (declared.text or declared.pattern) then
    text, pattern = declared.text, declared.pattern
    declared = declared[1]
  end
  local node, optional = fields.node(declared, where)
  local schema = M.of_node(node)
  schema.pattern = pattern or schema.pattern
  return schema, optional, text
end

M.PROBLEM = {
  type = "object",
  description = "What went wrong (RFC 9457)",
  required = json.array { "type", "title", "status" },
  properties = {
    type = { type = "string" },
    title = { type = "string" },
    status = { type = "integer" },
    detail = { type = "string" },
    code = { type = "string" },
    request_id = { type = "string" },
    errors = {
      type = "array",
      items = {
        type = "object",
        required = json.array { "field", "message", "code" },
        properties = {
          field = { type = "string" }, message = { type = "string" }, code = { type = "string" },
        },
      },
    },
  },
}

return M
