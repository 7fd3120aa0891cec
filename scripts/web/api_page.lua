--- The API for people: a page at /api made from the same document as /openapi.json.
local html = require "sipeat.html"
local http = require "sipeat.http"
local openapi = require "sipeat.openapi"
local opts = require "sipeat.opts"
local api = require "web.api"
local layout = require "web.layout"

local M = {}

local h = html.tags

local ORDER = { "get", "post", "put", "patch", "delete" }

local function type_text(schema)
  if schema["$ref"] then
    return schema["$ref"]:match "[^/]+$"
  elseif schema.enum then
    local values = {}
    for i, value in ipairs(schema.enum) do
      values[i] = type(value) == "string" and value or opts.show(value)
    end
    return table.concat(values, " | ")
  elseif schema.type == "array" and schema.items then
    return type_text(schema.items) .. "[]"
  end
  local kind = schema.type
  if type(kind) == "table" then
    kind = #kind > 2 and "any" or kind[1]
  end
  return schema.format and ("%s (%s)"):format(kind, schema.format) or kind
end

local function rows_of(schema, rows, prefix)
  local required = {}
  for _, name in ipairs(schema.required or {}) do
    required[name] = true
  end
  for _, name in ipairs(opts.names(schema.properties or {})) do
    local one = schema.properties[name]
    rows[#rows + 1] = h.tr {
      h.td { h.code { prefix .. name } }, h.td { type_text(one) },
      h.td { required[name] and "yes" or "" },
    }
    local inner = one.items or one
    if inner.properties then
      rows_of(inner, rows, prefix .. name .. (one.items and "[]." or "."))
    end
  end
  return rows
end

local function fields_table(caption, rows, of)
  return h.div {
    class = "scroll", tabindex = "0", role = "region", ["aria-label"] = caption .. " of " .. of,
    h.table {
      h.caption { class = "hint", caption },
      h.thead { h.tr {
        h.th { scope = "col", "Field" }, h.th { scope = "col", "Type" },
        h.th { scope = "col", "Required" },
      } },
      h.tbody { rows },
    },
  }
end

local function resolve(document, schema)
  local name = schema["$ref"] and schema["$ref"]:match "[^/]+$"
  return name and document.components.schemas[name] or schema
end

local function parameters(operation, of)
  local rows = {}
  for i, one in ipairs(operation.parameters or {}) do
    rows[i] = h.tr {
      h.td { h.code { one.name }, " (" .. one["in"] .. ")" }, h.td { type_text(one.schema) },
      h.td { one.required and "yes" or "" },
    }
  end
  return #rows > 0 and fields_table("Parameters", rows, of)
end

local function body(document, operation, of)
  local content = operation.requestBody and operation.requestBody.content["application/json"]
  return content and fields_table("Body", rows_of(resolve(document, content.schema), {}, ""), of)
end

local function answers(operation)
  local items = {}
  for _, status in ipairs(opts.names(operation.responses)) do
    items[#items + 1] = h.dt { h.code { status } }
    items[#items + 1] = h.dd { operation.responses[status].description }
  end
  return h.dl { class = "facts", items }
end

local function section(document, method, path, operation)
  local role, of = operation["x-role"], method:upper() .. " " .. path
  return h.section {
    class = "card",
    h.h2 { operation.summary },
    h.p { h.code { of } },
    operation.description and h.p { operation.description },
    role and h.p { h.span { class = "tag", "needs the role " .. role } },
    parameters(operation, of),
    body(document, operation, of),
    answers(operation),
  }
end

local function show()
  local document, sections = openapi.document(api.INFO), {}
  for _, path in ipairs(opts.names(document.paths)) do
    for _, method in ipairs(ORDER) do
      local operation = document.paths[path][method]
      if operation then
        sections[#sections + 1] = section(document, method, path, operation)
      end
    end
  end
  return layout.page {
    title = "API", path = "/api",
    content = {
      h.p { class = "lead", document.info.description },
      h.p { "For programs: ", h.a { href = "/openapi.json", "openapi.json" }, " (OpenAPI ",
        document.openapi, ")" },
      sections,
    },
  }
end

function M.routes()
  http.route("GET /api", show)
end

return M
