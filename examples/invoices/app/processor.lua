--- What follows from an invoice that was created, updated or deleted, and what is said of it on the
--- console. An event that comes again is recognised by its id; each action by itself, too, so that
--- one that failed in the middle goes on without doing anything twice.
local log = require("sipeat.log").new "invoices"
local sipeat = require "sipeat"
local actions = require "app.actions"
local dollars = require "app.money"
local events = require "app.events"
local settings = require "app.settings"
local store = require "app.store"
local sys = require "sipeat.core.sys"

local M = {}

local RULE = ("="):rep(60)

local HEADINGS = {
  created = "🎉 INVOICE CREATED ACTIONS:",
  updated = "🔄 INVOICE UPDATED ACTIONS:",
  deleted = "🗑️  INVOICE DELETED ACTIONS:",
}

-- action -> what is done: { what is said before, what after, function }; without words it is quiet.
local PLANS = {
  created = {
    { "📧 Sending confirmation email to customer...", "Email sent", actions.mail },
    { "📊 Updating analytics dashboard...", "Analytics updated", actions.analytics },
    { "✅ Creating follow-up task...", "Follow-up task created", actions.follow_up },
    { nil, nil, actions.accounting },
    { nil, nil, actions.sales },
    { nil, nil, actions.audit },
  },
  updated = {
    { "📧 Sending update email to customer...", "Email sent", actions.mail },
    { "📊 Updating analytics dashboard...", "Analytics updated", actions.analytics },
    { "💼 Syncing with accounting system...", "Accounting synced", actions.accounting },
    { nil, nil, actions.audit },
  },
  deleted = {
    { "📊 Updating analytics dashboard...", "Analytics updated", actions.analytics },
    { "💼 Syncing with accounting system...", "Accounting synced", actions.accounting },
    { "📝 Writing audit log...", "Audit log written", actions.audit },
    { nil, nil, actions.sales },
  },
}

local function show(data)
  local lines = {
    "", RULE, "📨 Processing: " .. data.action:upper(), RULE, "🆔 Invoice ID: " .. data.invoiceId,
  }
  local function add(label, value)
    if value then
      lines[#lines + 1] = label .. value
    end
  end
  add("👤 Customer ID: ", data.customerId)
  add("💰 Amount: ", data.amount and dollars(data.amount))
  add("📊 Status: ", data.status)
  lines[#lines + 1] = ""
  lines[#lines + 1] = HEADINGS[data.action]
  return lines
end

-- One block at a time, although events of other invoices are handled beside it.
local function say(lines)
  print(table.concat(lines, "\n"))
end

local function perform(plan, data, ctx, lines)
  for _, step in ipairs(plan) do
    local before, after, run = step[1], step[2], step[3]
    if before then
      lines[#lines + 1] = "  " .. before
    end
    local done, why, code = run(data, ctx)
    if not done then
      lines[#lines + 1] = "     ✗ " .. tostring(why)
      return nil, why, code
    elseif before then
      lines[#lines + 1] = done == true and "     ✓ " .. after or "     – " .. done
    end
  end
  return true
end

local function process(event, ctx)
  local data = event.data
  local action = type(data) == "table" and (event.headers["event-type"] or data.action)
  local definition = events.by_action[action]
  if not definition then
    return nil, sipeat.permanent("no action created, updated or deleted", "UNKNOWN_ACTION")
  end
  local typed, message, code = definition:validate(data)
  if not typed then
    return nil, sipeat.permanent(message, code)
  end
  local seen
  seen, message, code = store.query("SELECT 1 FROM processed WHERE event_id = ?", ctx.id)
  if not seen then
    return nil, message, code
  elseif seen[1] then
    log:info(("event %s was processed before"):format(ctx.id))
    return "processed before"
  end
  local lines = show(typed)
  local done
  done, message, code = perform(PLANS[action], typed, ctx, lines)
  if done then
    done, message, code = store.note("INSERT INTO processed VALUES (?, ?, ?, ?, ?)", ctx.id, action,
      typed.invoiceId, typed.amount or 0, sys.iso_time())
  end
  lines[#lines + 1] = done and "✅ Event processed successfully"
    or ("❌ Event failed (attempt %d): %s"):format(ctx.attempt, tostring(message))
  say(lines)
  if not done then
    return nil, message, code
  end
  return action
end

--- The flow. Sentry, where SENTRY_DSN is set, is told of dead letters by itself.
function M.start()
  sipeat.flow {
    topic = settings.topic, group = settings.group,
    retry = { attempts = 4, backoff = { "200ms", "10s" } },
    on = { ["*"] = process },
    on_dead = actions.notify_engineering,
  }
end

return M
