--- `sipeat doctor`: what a program on this machine depends on, from the broker to the clock.
--- Nothing is changed; each fault comes with what to do.
local answers = require "sipeat.answer"
local http = require "sipeat.http"
local kafka = require "sipeat.kafka"
local opts = require "sipeat.opts"
local report = require "sipeat.command_doctor_report"
local serial = require "sipeat.serial"
local sql = require "sipeat.sql"
local sys = require "sipeat.core.sys"
local terminal = require "sipeat.core.terminal"

local M = {}

local USAGE = 2
local GB = 1024 ^ 3
local LITTLE_DISK, LOW_DISK = 0.1 * GB, 1 * GB
local FEW_FILES = 4096 -- descriptors: 10,000 clients of the server alone need more
local BIG_LAG = 10000
local SKEW_MS = 5000 -- between this clock and that of a server that tells its own

local function setting(name)
  local value = sys.getenv(name)
  return value ~= "" and value or nil
end

-- --- broker ---

local function security(self)
  local key = self.options.key
  if key and key.others then
    self:say("warn", "security", "KAFKA_SSL_KEY: everybody on this machine may read " .. key.path,
      "chmod 600 " .. key.path)
  end
  local protocol = (setting "KAFKA_SECURITY_PROTOCOL" or ""):lower()
  if setting "KAFKA_USERNAME" and protocol == "sasl_plaintext" then
    self:say("warn", "security", "the password goes over the network in clear text",
      "KAFKA_SECURITY_PROTOCOL=SASL_SSL, if the broker has such a listener")
  elseif setting "KAFKA_USERNAME" then
    self:say("ok", "security", ("SASL %s as %s"):format(
      setting "KAFKA_SASL_MECHANISM" or "PLAIN", setting "KAFKA_USERNAME"))
  elseif setting "KAFKA_SSL_CERT" then
    self:say("ok", "security", "TLS with the certificate " .. setting "KAFKA_SSL_CERT")
  end
end

local function broker(self)
  if not self.options.broker then
    self:say("warn", "broker", "none is named: `run` would use an embedded one, in memory only",
      "KAFKA_BROKERS=host:9092 in the environment or .env, or -b host:9092")
    return nil
  end
  local began = sys.monotonic_ms()
  local cluster, message = kafka.admin():cluster()
  if not cluster then
    self:say("bad", "broker", message, "docs/runbook.md, \"No broker\", goes through the causes")
    return nil
  end
  self:say(cluster.embedded and "warn" or "ok", "broker",
    ("%s: %d broker%s, answered within %d ms%s"):format(self.options.broker, #cluster.brokers,
      #cluster.brokers == 1 and "" or "s", math.ceil(sys.monotonic_ms() - began),
      cluster.embedded and "; embedded: it keeps events in memory only" or ""))
  return cluster
end

-- --- topics and groups ---

local function topic(self, name)
  local found, message, code = kafka.admin():describe_topic(name)
  if not found then
    local missing = code == "UNKNOWN_TOPIC_OR_PART"
    return self:say("bad", "topic", ("%s: %s"):format(name, message),
      missing and ("sipeat topic create %s --partitions 3"):format(name) or nil)
  end
  local dead, thin, records = 0, 0, 0
  for _, partition in ipairs(found.partitions) do
    dead = dead + (partition.leader < 0 and 1 or 0)
    thin = thin + (partition.in_sync < partition.replicas and 1 or 0)
    records = records + math.max((partition.high or 0) - (partition.low or 0), 0)
  end
  local what = ("%s: %d partitions, %d records"):format(name, #found.partitions, records)
  if dead > 0 then
    self:say("bad", "topic", ("%s; %d without a leader"):format(what, dead),
      "a broker that has them is down: sipeat topic show " .. name)
  elseif thin > 0 then
    self:say("warn", "topic", ("%s; %d with replicas that are behind"):format(what, thin),
      "a broker is down or slow: look at the brokers' logs")
  else
    self:say("ok", "topic", what)
  end
  local letters = kafka.admin():describe_topic(name .. "-dlt")
  local waiting = 0
  for _, partition in ipairs(letters and letters.partitions or {}) do
    waiting = waiting + partition.high - partition.low
  end
  if waiting > 0 then
    self:say("warn", "dead letters", ("%s-dlt holds %d"):format(name, waiting),
      "sipeat dlq list " .. name)
  end
end

local function group(self, name)
  local found, message = kafka.admin():describe_group(name)
  if not found then
    return self:say("bad", "group", ("%s: %s"):format(name, message))
  end
  local lag, unknown = 0, 0
  for _, at in ipairs(found.offsets) do
    lag = lag + (at.lag or 0)
    unknown = unknown + (at.committed and 0 or 1)
  end
  local members = type(found.members) == "number" and found.members or 0
  local what = ("%s: %s, %d member%s, lag %d"):format(
    name, found.state, members, members == 1 and "" or "s", lag)
  if #found.offsets == 0 then
    self:say("warn", "group", what .. "; it has never committed",
      "has its program run, and is the name right? sipeat group list")
  elseif members == 0 and lag > 0 then
    self:say("bad", "group", what .. ": nobody reads", "start its program, or look at its log")
  elseif lag > BIG_LAG then
    self:say("warn", "group", what,
      "more partitions and instances, or --workers: sipeat group show " .. name)
  else
    self:say("ok", "group", what)
  end
end

-- --- clock, webhook ---

-- `date`: what a server said of its own clock, with `from` its name; or nil.
local function clock(self, date, from)
  local theirs = date and answers.date_ms(date)
  local skew = theirs and math.abs(sys.now_ms() - theirs) or 0
  local advice = "let systemd-timesyncd or chrony set it: timedatectl set-ntp true"
  if skew > SKEW_MS then
    self:say("bad", "clock", ("%d s apart from that of %s"):format(skew // 1000, from), advice)
  elseif self.options.clock_synchronised == false then
    self:say("warn", "clock", "not synchronised, the kernel says", advice)
  else
    self:say("ok", "clock", theirs and ("within %d s of that of %s"):format(SKEW_MS // 1000, from)
      or "synchronised, the kernel says")
  end
end

-- The Date that Discord answered with, or nil.
local function webhook(self)
  local url = setting "DISCORD_WEBHOOK"
  if not url then
    self:say("note", "webhook", "DISCORD_WEBHOOK is not set: no notices are sent")
    return nil
  end
  local host = url:match "^%w+://([^/]+)" or "its host"
  local answer, message = http.request { url = url, timeout = self.options.timeout }
  if not answer then
    self:say("bad", "webhook", ("%s: %s"):format(host, message:gsub("/%S*", "/...")),
      "is that host reachable from here? a proxy is set with HTTPS_PROXY")
    return nil
  elseif answer.status == 200 then
    self:say("ok", "webhook", ("%s knows it"):format(host))
  elseif answer.status == 401 or answer.status == 404 then
    self:say("bad", "webhook", ("%s does not know it (status %d)"):format(host, answer.status),
      "copy its address anew: channel settings, Integrations, Webhooks; then sipeat discord test")
  else
    self:say("warn", "webhook", ("%s answered with status %d"):format(host, answer.status),
      "sipeat discord test says more")
  end
  return answer.headers.date, host
end

-- --- this machine ---

local function ports(self)
  local list = serial.list() or {}
  if #list == 0 then
    return self:say("note", "ports", "no serial port is here")
  end
  for _, port in ipairs(list) do
    self:say("note", "ports", port.path .. (port.description and ", " .. port.description or "")
      .. (port.holder and ("; %s has it"):format(port.holder) or ""),
      "why one does not work: sipeat serial doctor " .. port.path)
  end
end

local function journal_file(self, journal)
  local db, message, code = sql.open(journal.place, { busy_timeout = "1s" })
  local rows = nil
  if db then
    rows, message, code = db:query "PRAGMA quick_check(1)"
    db:close()
  end
  if code == "SQL_BUSY" then
    return self:say("ok", "journal", journal.place .. ": a running program has it")
  elseif not rows then
    return self:say("bad", "journal", ("%s: %s"):format(journal.place, message),
      "is it a journal, and readable? docs/journal.md says how to restore one")
  end
  local _, verdict = next(rows[1])
  if verdict ~= "ok" then
    return self:say("bad", "journal", ("%s is damaged: %s"):format(journal.place, verdict),
      "stop the program and restore a copy: docs/journal.md")
  end
  self:say("ok", "journal", journal.place .. ": whole")
end

local function journal(self)
  local place = self.options.journal
  if place.place:find("://", 1, true) then
    return self:say("note", "journal", (place.place:gsub("//[^/@]*@", "//...@")))
  elseif place.place == "none" then
    return self:say("note", "journal", "none: chains do not survive the process")
  end
  local free = place.free_bytes or 0
  if place.folder_exists and free < LOW_DISK then
    self:say(free < LITTLE_DISK and "bad" or "warn", "disk", ("%s: %d MB are free"):format(
      place.folder, free // 1000000), "a journal that cannot be written stops all work: make room, "
      .. "or shrink it with sipeat chains vacuum")
  end
  if not place.writable and (place.exists or place.folder_exists) then
    return self:say("bad", "journal", place.place .. " may not be written by this user",
      "run as the user of the program, or see who owns it: ls -l " .. place.folder)
  elseif not place.exists then
    return self:say("note", "journal", place.place .. ": not yet there, the first chain makes it")
  end
  journal_file(self, place)
end

local function limits(self)
  local files = self.options.max_files
  if files and files < FEW_FILES then
    self:say("warn", "limits", ("%d open files are allowed"):format(files),
      "LimitNOFILE=65536 in the unit, or ulimit -n 65536")
  end
end

-- The program that serves here, if one does.
local function program(self)
  local at = self.options.http
  if at == "off" then
    return
  end
  at = at:gsub("^0%.0%.0%.0:", "127.0.0.1:"):gsub("^%[::%]:", "[::1]:")
  local answer, message = http.request {
    url = ("http://%s/ready"):format(at), timeout = self.options.timeout,
  }
  if not answer then
    return self:say(self.options.only and "bad" or "note", "program",
      ("none answers at %s (%s)"):format(at, message))
  end
  local body = answer:json()
  if type(body) ~= "table" or body.ready == nil then
    return self:say("note", "program", ("something else serves at %s"):format(at))
  elseif body.ready then
    return self:say("ok", "program", ("ready at %s"):format(at))
  end
  local reasons = {}
  for _, reason in ipairs(body.reasons or {}) do
    reasons[#reasons + 1] = type(reason) == "table" and (reason.message or reason.name) or reason
  end
  self:say("bad", "program", ("not ready at %s: %s"):format(at, table.concat(reasons, "; ")),
    "its log says since when; docs/runbook.md goes through the reasons")
end

local function names(given, ...)
  return #given > 0 and given or { ... }
end

local function kafka_of(self)
  security(self)
  if not broker(self) then
    return
  end
  for _, name in ipairs(names(self.options.topics, setting "KAFKA_TOPIC")) do
    topic(self, name)
  end
  local group_name = setting "KAFKA_CONSUMER_GROUP" or setting "KAFKA_GROUP_ID"
  for _, name in ipairs(names(self.options.groups, group_name)) do
    group(self, name)
  end
end

local PARTS = {
  { "broker", kafka_of },
  { "webhook", function(self) clock(self, webhook(self)) end },
  { "ports", ports },
  { "journal", journal },
  { "limits", limits },
  { "program", program },
}

--- Returns the exit code.
function M.run(options)
  local self, known, ran = report.new(options), {}, false
  for _, part in ipairs(PARTS) do
    known[#known + 1] = part[1]
    if not options.only or options.only == part[1] then
      part[2](self)
      ran = true
    end
  end
  if not ran then
    local near = opts.nearest(options.only, known)
    terminal.note(("sipeat doctor: --only is %s%s"):format(table.concat(known, ", "),
      near and (" (did you mean %s?)"):format(near) or ""))
    return USAGE
  end
  return self:close "Nothing is wrong."
end

return M
