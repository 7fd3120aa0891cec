--- JUnit XML of what `sipeat test` and `sipeat bench` found.
local sys = require "sipeat.core.sys"

local M = {}

local ESCAPES = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;" }

--- Text for XML and HTML: escaped, without control bytes and broken UTF-8.
function M.escape(text)
  text = sys.utf8_clean(text):gsub("[%z\1-\8\11\12\14-\31]", "?")
  return (text:gsub('[&<>"]', ESCAPES))
end

local xml = M.escape

local function case(one)
  local head = ('    <testcase name="%s" classname="%s" file="%s" line="%d" time="%.3f"'):format(
    xml(one.name), xml(one.class), xml(one.file), one.line or 0, one.ms / 1000)
  if one.status == "passed" then
    return head .. "/>"
  end
  local inner
  if one.status == "skipped" then
    inner = ('      <skipped message="%s"/>'):format(xml(one.message))
  else
    inner = ('      <failure message="%s">%s</failure>'):format(
      xml(one.message:match "^[^\n]*"), xml(one.message .. "\n" .. (one.traceback or "")))
    if (one.output or "") ~= "" then
      inner = inner .. ("\n      <system-out>%s</system-out>"):format(xml(one.output))
    end
  end
  return head .. ">\n" .. inner .. "\n    </testcase>"
end

local function suite(name, cases)
  local failed, skipped, lines = 0, 0, {}
  for i, one in ipairs(cases) do
    failed = failed + (one.status == "failed" and 1 or 0)
    skipped = skipped + (one.status == "skipped" and 1 or 0)
    lines[i] = case(one)
  end
  table.insert(lines, 1,
    ('  <testsuite name="%s" tests="%d" failures="%d" skipped="%d">'):format(
      xml(name), #cases, failed, skipped))
  lines[#lines + 1] = "  </testsuite>"
  return table.concat(lines, "\n")
end

--- The document of suites { name =, { name, class, file, line?, ms, status, message?, … }, … }.
function M.document(suites)
  local parts = { '<?xml version="1.0" encoding="UTF-8"?>', "<testsuites>" }
  for _, one in ipairs(suites) do
    parts[#parts + 1] = suite(one.name, one)
  end
  parts[#parts + 1] = "</testsuites>\n"
  return table.concat(parts, "\n")
end

return M
