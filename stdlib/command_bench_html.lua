--- The HTML report of `sipeat bench`: one file that opens without a network. Tables are HTML; the
--- plots are drawn by Chart.js (MIT), which is inside of the page with its notice.
local json = require "sipeat.json"
local junit = require "sipeat.command_junit"
local stats = require "sipeat.bench_stats"
local sys = require "sipeat.core.sys"

local M = {}

local html = junit.escape

local WORDS = { passed = "passed", failed = "failed", skipped = "skipped", stopped = "stopped" }

local function badge(outcome)
  return ('<span class="badge %s">%s</span>'):format(outcome, WORDS[outcome])
end

local function duration(ms)
  if ms < 1000 then
    return ("%.0f ms"):format(ms)
  elseif ms < 120000 then
    return ("%.1f s"):format(ms / 1000)
  end
  return ("%d min %02d s"):format(ms // 60000, ms % 60000 // 1000)
end

-- Where a value lies between its limits, as a bar; nothing without a range.
local function gauge(step)
  local low, high = step.min or 0, step.max
  if type(step.value) ~= "number" or not high or high <= low then
    return ""
  end
  local from, to = math.min(low, step.value), math.max(high, step.value)
  local margin = (to - from) * 0.05
  from, to = from - (step.min and margin or 0), to + margin
  local function percent(value)
    return (value - from) / (to - from) * 100
  end
  return ('<div class="gauge" aria-hidden="true"><i style="left:%.1f%%;width:%.1f%%"></i>'
    .. '<b class="%s" style="left:%.1f%%"></b></div>'):format(percent(low),
    percent(high) - percent(low), step.outcome, percent(step.value))
end

local function value_cell(step)
  if step.value == nil or step.value == true then
    return ""
  end
  return html(stats.text(step.value, step.unit)) .. gauge(step)
end

local function steps_table(phase)
  if #phase.steps == 0 then
    return ""
  end
  local rows = {}
  for i, step in ipairs(phase.steps) do
    local more = step.message and ('<div class="why">%s</div>'):format(html(step.message)) or ""
    local tries = step.attempts > 1 and (' <span class="dim">%d tries</span>'):format(step.attempts)
      or ""
    rows[i] = ('<tr><td>%s%s%s</td><td class="value">%s</td><td>%s</td><td>%s</td>'
      .. '<td class="time">%s</td></tr>'):format(html(step.name), tries, more, value_cell(step),
      html(step.limits or ""), badge(step.outcome), duration(step.ms))
  end
  return '<div class="scroll"><table class="steps"><thead><tr><th>Step</th><th>Value</th>'
    .. '<th>Limits</th><th>Result</th><th class="time">Time</th></tr></thead><tbody>'
    .. table.concat(rows) .. "</tbody></table></div>"
end

-- One of the numbers of a series; red when it is beyond its limit.
local function tile(series, name, label)
  local value = series.summary[name]
  local high, low = (series.at_most or {})[name], (series.at_least or {})[name]
  local bad = high and value > high or low and value < low
  local limit = high and "≤ " .. stats.text(high) or low and "≥ " .. stats.text(low) or ""
  return ('<div class="tile%s"><dt>%s</dt><dd>%s</dd><small>%s</small></div>'):format(
    bad and " bad" or "", label, html(stats.text(value)), html(limit))
end

local TILES = {
  { "count", "values" }, { "min", "least" }, { "mean", "mean" }, { "p50", "median" },
  { "p95", "95 %" }, { "p99", "99 %" }, { "max", "most" },
}

local function series_part(series, plots)
  local tiles = {}
  for i, one in ipairs(TILES) do
    tiles[i] = series.summary[one[1]] ~= nil and tile(series, one[1], one[2]) or ""
  end
  local plot = ""
  if series.summary.count > 0 then
    plots[#plots + 1] = {
      name = series.name, unit = series.unit, points = series.points,
      histogram = series.histogram, at_most = series.at_most, at_least = series.at_least,
    }
    plot = ('<div class="plots"><figure><figcaption>in the order of measuring</figcaption>'
      .. '<div class="plot"><canvas data-plot="%d" data-kind="values" role="img" '
      .. 'aria-label="values of %s"></canvas></div></figure><figure>'
      .. '<figcaption>how often</figcaption><div class="plot"><canvas data-plot="%d" '
      .. 'data-kind="histogram" role="img" aria-label="histogram of %s"></canvas></div></figure>'
      .. '</div>'):format(#plots - 1, html(series.name), #plots - 1, html(series.name))
  end
  local unit = series.unit and (' <span class="dim">in %s</span>'):format(html(series.unit)) or ""
  local why = series.message and ('<p class="why">%s</p>'):format(html(series.message)) or ""
  return ('<section class="series"><h4>%s%s %s</h4>%s<dl class="tiles">%s</dl>%s</section>')
    :format(html(series.name), unit, badge(series.outcome), why, table.concat(tiles), plot)
end

-- Whether a step or a series says already why the phase failed, or nothing is to be said.
local function is_told(phase)
  for _, list in ipairs { phase.steps, phase.series } do
    for _, one in ipairs(list) do
      if one.message and phase.message == ("%s: %s"):format(one.name, one.message) then
        return true
      end
    end
  end
  return not phase.message
end

local function phase_part(phase, plots)
  local parts = {}
  for i, series in ipairs(phase.series) do
    parts[i] = series_part(series, plots)
  end
  local notes = {}
  for i, note in ipairs(phase.notes) do
    notes[i] = "<li>" .. html(note) .. "</li>"
  end
  local tries = phase.attempts > 1 and (" · %d tries"):format(phase.attempts) or ""
  local optional = phase.optional and " · optional" or ""
  local time = phase.outcome ~= "skipped" and duration(phase.ms) or ""
  return ('<article class="phase"><header><h3>%s</h3>%s<span class="dim">%s%s%s</span></header>'
    .. "%s%s%s%s</article>"):format(html(phase.name), badge(phase.outcome), time, tries, optional,
    is_told(phase) and "" or ('<pre class="why">%s</pre>'):format(html(phase.message)),
    steps_table(phase), #notes > 0 and "<ul>" .. table.concat(notes) .. "</ul>" or "",
    table.concat(parts))
end

local function facts(list)
  local out = {}
  for _, fact in ipairs(list) do
    if fact[2] ~= nil and fact[2] ~= "" then
      out[#out + 1] = ("<div><dt>%s</dt><dd>%s</dd></div>"):format(fact[1], html(tostring(fact[2])))
    end
  end
  return '<dl class="facts">' .. table.concat(out) .. "</dl>"
end

local function device_part(device, plots)
  local info, phases = device.info or {}, {}
  for i, phase in ipairs(device.phases) do
    phases[i] = phase_part(phase, plots)
  end
  return ('<section class="device" id="device-%s"><header><h2>%s</h2>%s</header>%s%s</section>')
    :format(device.name:match "%d+", html(device.serial or "Device " .. device.name),
      badge(device.outcome),
      facts { { "Port", device.port }, { "Serial number", device.serial }, { "Board", info.id },
        { "Kind", info.kind }, { "Version", info.version }, { "Took", duration(device.ms) } },
      table.concat(phases))
end

local function overview(report)
  if #report.devices < 2 then
    return ""
  end
  local rows = {}
  for i, device in ipairs(report.devices) do
    rows[i] = ('<tr><td><a href="#device-%s">%s</a></td><td>%s</td><td>%s</td><td>%s</td>'
      .. '<td class="time">%s</td></tr>'):format(device.name:match "%d+",
      html(device.serial or device.name), html(device.port), badge(device.outcome),
      html((device.message or ""):match "^[^\n]*"), duration(device.ms))
  end
  return '<section class="device"><h2>Devices</h2><div class="scroll"><table class="all">'
    .. "<thead><tr><th>Serial number</th><th>Port</th><th>Result</th><th>Why</th>"
    .. '<th class="time">Time</th></tr></thead><tbody>' .. table.concat(rows)
    .. "</tbody></table></div></section>"
end

local function parameters(report)
  local names, out = {}, {}
  for name in pairs(report.parameters or {}) do
    names[#names + 1] = name
  end
  table.sort(names)
  for i, name in ipairs(names) do
    out[i] = ("%s = %s"):format(name, tostring(report.parameters[name]))
  end
  return table.concat(out, ", ")
end

-- JSON inside of a script element: nothing in it may end that.
local function embedded(value)
  return (assert(json.encode(value)):gsub("<", "\\u003c"))
end

--- The page of a report.
function M.page(report)
  local plots, devices = json.array(), {}
  for i, device in ipairs(report.devices) do
    devices[i] = device_part(device, plots)
  end
  local parts = {
    title = html(report.name),
    badge = badge(report.outcome),
    about = report.about and "<p>" .. html(report.about) .. "</p>" or "",
    facts = facts { { "Began", report.started:gsub("T", " "):gsub("%.%d+Z", " UTC") },
      { "Took", duration(report.ms) }, { "Operator", report.operator }, { "Test", report.file },
      { "Protocol", report.protocol }, { "Parameters", parameters(report) },
      { "sipeat", report.version } },
    overview = overview(report),
    devices = table.concat(devices),
    css = sys.asset "bench.css",
    plots = embedded(plots),
    chart = #plots > 0 and sys.asset "chart.js" or "",
    notice = #plots > 0 and sys.asset "chart_licence.txt" or "",
    script = sys.asset "bench.js",
  }
  return (sys.asset "bench.html":gsub("{{(%l+)}}", parts))
end

return M
