--- What the program's modules tell of themselves when somebody asks for the metrics.
local deadletter = require "sipeat.deadletter_state"
local health = require "sipeat.service_health"
local host = require "sipeat.core.host"
local opts = require "sipeat.opts"
local task = require "sipeat.task"

local M = {}

local ASKED = "2s" -- so long the journal is waited for

local function host_metrics(page)
  local status = host.status()
  local _, bytes, tasks = host.workers()
  page:family("sipeat_workers", "gauge", "Threads that handle events.", status.workers)
  local ready = #health.unready() == 0 and 1 or 0
  page:family("sipeat_ready", "gauge", "1 while events are taken.", ready)
  page:family("sipeat_uptime_seconds", "gauge", "Since the start.", status.uptime_ms / 1000)
  page:family("sipeat_lua_memory_bytes", "gauge", "Held by scripts.",
    status.memory_bytes + bytes)
  page:family("sipeat_tasks", "gauge", "Tasks that have not ended.", status.tasks + tasks)
  page:family("sipeat_reloads", "counter", "Versions of the script taken over.", status.reloads)
  page:family("sipeat_reloads_refused", "counter", "Versions refused.", status.refused)
end

local FLOW_COUNTERS = {
  { "taken", "Events taken from the broker." },
  { "finished", "Events that came to their end, dead letters included." },
  { "dead", "Events that went to the dead letters." },
  { "unfinished", "Events given back without an outcome." },
  { "redelivered", "Events dispatched again after a crash or a failed output." },
  { "skipped", "Events that came again after a restart and were finished already." },
  { "committed", "Transactions committed." },
  { "aborted", "Transactions aborted." },
}
local FLOW_GAUGES = {
  { "partitions", "Partitions held." },
  { "running", "Events being handled." },
  { "waiting", "Events taken whose turn has not come." },
  { "later", "Of these: in retry topics, and not due." },
  { "bytes", "Bytes of keys and values that max_bytes is for." },
}

-- Numbers of a group: two flows may share one, with topics of their own.
local function by_group(flows, name)
  local sums, samples = {}, {}
  for _, one in ipairs(flows) do
    sums[one.group] = (sums[one.group] or 0) + one[name]
  end
  for _, group in ipairs(opts.names(sums)) do
    samples[#samples + 1] = { { group = group }, sums[group] }
  end
  return #samples > 0 and samples or nil
end

local function flow_metrics(page)
  local flows = health.flows()
  for _, one in ipairs(FLOW_COUNTERS) do
    page:family("sipeat_flow_" .. one[1], "counter", one[2], by_group(flows, one[1]))
  end
  for _, one in ipairs(FLOW_GAUGES) do
    page:family("sipeat_flow_" .. one[1], "gauge", one[2], by_group(flows, one[1]))
  end
end

local OUTBOX_GAUGES = {
  { "queued", "queued_records", "Records on the disk that no broker has acknowledged." },
  { "queued_bytes", "queued_bytes", "Their bytes." },
  { "refused", "refused_records", "Records on the disk that the broker will never take." },
}
local OUTBOX_COUNTERS = {
  { "put", "put", "Records taken in." },
  { "sent", "sent", "Records acknowledged by a broker." },
  { "turned_away", "full", "Records that found no room." },
  { "refusals", "refused", "Records refused by the broker for good." },
  { "dropped", "dropped", "Records lost because it was full (drop_oldest)." },
  { "repeated", "repeated", "Records sent again after a failure." },
  { "commits", "commits", "Transactions on the disk, each of any number of records." },
}

local function outbox_metrics(page)
  local status = require("sipeat.core.outbox").status()
  if not status or not status.open then
    return
  end
  for _, one in ipairs(OUTBOX_GAUGES) do
    page:family("sipeat_outbox_" .. one[2], "gauge", one[3], status[one[1]])
  end
  page:family("sipeat_outbox_oldest_seconds", "gauge", "How long the oldest record has waited.",
    status.oldest_age_ms / 1000)
  page:family("sipeat_outbox_writable", "gauge", "0 while the file cannot be written.",
    status.trouble and 0 or 1)
  for _, one in ipairs(OUTBOX_COUNTERS) do
    page:family("sipeat_outbox_" .. one[2], "counter", one[3], status[one[1]])
  end
end

local function retry_metrics(page)
  local samples, moved = {}, require("sipeat.retry_topic").moved()
  for i, group in ipairs(opts.names(moved)) do
    samples[i] = { { group = group }, moved[group] }
  end
  local text = "Events that went to a retry topic."
  page:family("sipeat_flow_moved", "counter", text, #samples > 0 and samples or nil)
end

local function discord_metrics(page)
  local stats = require("sipeat.discord").stats()
  page:family("sipeat_discord_queued", "gauge", "Notices that wait.", stats.queued)
  local samples = {}
  for _, name in ipairs { "sent", "left_out", "dropped", "filtered" } do
    samples[#samples + 1] = { { outcome = name }, stats[name] }
  end
  page:family("sipeat_discord_notices", "counter", "Notices by what became of them.", samples)
end

local function letter_metrics(page)
  local letters = deadletter.status()
  local text = "Dead letters that wait for being written; their events are not finished."
  page:family("sipeat_dead_letters_waiting", "gauge", text, letters.waiting)
  text = "How long the first of them has waited."
  page:family("sipeat_dead_letters_oldest_seconds", "gauge", text, letters.oldest_ms / 1000)
  text = "Tries of a dead letter that failed."
  page:family("sipeat_dead_letter_failures", "counter", text, letters.failures)
  text = "Dead letters that went to a local file instead."
  page:family("sipeat_dead_letters_parked", "counter", text, letters.parked)
end

-- Runs that wait for a person; nothing while the journal does not answer.
local function chain_metrics(page)
  local ask = require("sipeat.console_chains").parked_by_flow
  local ok, parked = pcall(task.with_timeout, ASKED, ask)
  local samples = {}
  for _, group in ipairs(ok and type(parked) == "table" and opts.names(parked) or {}) do
    samples[#samples + 1] = { { group = group }, parked[group] }
  end
  page:family("sipeat_chains_parked", "gauge", "Runs that wait for a person to decide.", samples)
end

local RELAY_GAUGES = {
  { "waiting", "waiting_rows", 1, "Events in the table that were not sent yet." },
  { "oldest_ms", "oldest_seconds", 1000, "How long the oldest of them has waited." },
  { "refused", "refused_rows", 1, "Events in the table that Kafka will never take." },
}

-- What waits in tables of databases; nothing while they do not answer.
local function relay_metrics(page)
  local ok, told = pcall(task.with_timeout, ASKED, require("sipeat.relay").tables)
  told = ok and type(told) == "table" and told or {}
  for _, one in ipairs(RELAY_GAUGES) do
    local samples = {}
    for i, name in ipairs(opts.names(told)) do
      samples[i] = { { name = name }, told[name][one[1]] / one[3] }
    end
    page:family("sipeat_relay_" .. one[2], "gauge", one[4], samples)
  end
end

local function machine_metrics(page)
  local vending, online, samples = require "sipeat.vending", {}, {}
  for _, id in ipairs(vending.machines()) do
    local known = vending.glance(id)
    if known then
      online[#online + 1] = { { machine = id, driver = known.driver }, known.online and 1 or 0 }
    end
  end
  page:family("sipeat_machine_online", "gauge", "1 while the machine's board answers.", online)
  for i, line in ipairs(require("sipeat.serial").open_lines()) do
    samples[i] = { { port = line.port }, line.up and 1 or 0 }
  end
  page:family("sipeat_serial_line_up", "gauge", "1 while the port of an open line is there.",
    samples)
end

--- Writes all of it on a page (metrics_page.lua).
function M.tell(page)
  host_metrics(page)
  flow_metrics(page)
  retry_metrics(page)
  outbox_metrics(page)
  discord_metrics(page)
  letter_metrics(page)
  chain_metrics(page)
  relay_metrics(page)
  machine_metrics(page)
  require "sipeat.guard_metrics"(page)
end

return M
