--- /metrics: what is counted in C, and what the program's modules tell when they are asked, as
--- OpenMetrics 1.0 or in the older text format of Prometheus, whichever the request prefers.
local core = require "sipeat.core.metrics"
local opts = require "sipeat.opts"
local program = require "sipeat.metrics_program"

local M = {}

local TYPES = {
  openmetrics = "application/openmetrics-text; version=1.0.0; charset=utf-8",
  prometheus = "text/plain; version=0.0.4; charset=utf-8",
}
-- OpenMetrics wants these three escaped in the value of a label.
local ESCAPES = { ["\\"] = "\\\\", ['"'] = '\\"', ["\n"] = "\\n" }

--- How much the header Accept wants each format; without a word of it, OpenMetrics.
function M.format_of(accept)
  local wanted = { openmetrics = 0, prometheus = 0 }
  for range in (accept or "*/*"):lower():gmatch "[^,]+" do
    local kind = range:match "^%s*([^;%s]+)"
    local q = tonumber(range:match ";%s*q%s*=%s*([%d.]+)") or 1
    if kind == "application/openmetrics-text" or kind == "*/*" or kind == "application/*" then
      wanted.openmetrics = math.max(wanted.openmetrics, q)
    elseif kind == "text/plain" or kind == "text/*" then
      wanted.prometheus = math.max(wanted.prometheus, q)
    end
  end
  return wanted.prometheus > wanted.openmetrics and "prometheus" or "openmetrics"
end

local function labels_of(labels)
  local names, out = opts.names(labels), {}
  for i, name in ipairs(names) do
    out[i] = ('%s="%s"'):format(name, (tostring(labels[name]):gsub('[\\"\n]', ESCAPES)))
  end
  return #out > 0 and "{" .. table.concat(out, ",") .. "}" or ""
end

local Page = {}
Page.__index = Page

--- An empty page, for families.
function M.new(format)
  return setmetatable({ format = format }, Page)
end

--- One family: `samples` is a number, or a list of {labels, number}; nothing without any.
function Page:family(name, kind, help, samples)
  if type(samples) == "number" then
    samples = { { {}, samples } }
  elseif samples == nil or #samples == 0 then
    return
  end
  local suffix = kind == "counter" and "_total" or ""
  local title = self.format == "prometheus" and name .. suffix or name
  self[#self + 1] = ("# TYPE %s %s"):format(title, kind)
  self[#self + 1] = ("# HELP %s %s"):format(title, help)
  for _, sample in ipairs(samples) do
    self[#self + 1] = ("%s%s%s %s"):format(name, suffix, labels_of(sample[1]), sample[2])
  end
end

--- All metrics of the program as text.
function M.text(format)
  local page = M.new(format)
  program.tell(page)
  page[#page + 1] = core.text(format) .. (format == "openmetrics" and "# EOF\n" or "")
  return table.concat(page, "\n")
end

--- The handler of GET /metrics.
function M.answer(req)
  local format = M.format_of(req.headers.accept)
  return {
    status = 200, headers = { ["content-type"] = TYPES[format] }, body = M.text(format),
  }
end

return M
