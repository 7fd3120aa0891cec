// The capture page: entries arrive as server-sent events and are shown as their receiver would see them.
// Everything an event carries becomes text nodes: there is no innerHTML here, and the page's policy
// forbids inline scripts and styles.
"use strict";

const MAX_SHOWN = 500;
const MAX_HELD = 2000;
const KINDS = {
  discord: ["💬", "Discord"],
  mail: ["✉️", "Mail"],
  slack: ["#️⃣", "Slack"],
  sms: ["📱", "SMS"],
  push: ["📣", "Push"],
  payment: ["💳", "Payments"],
  crm: ["👤", "CRM"],
  inventory: ["📦", "Inventory"],
  dispense: ["🥤", "Dispenses"],
  machine: ["🏭", "Machines"],
  confirmation: ["❓", "Confirmations"],
  notice: ["🔔", "Notices"],
  analytics: ["📈", "Analytics"],
};
const COMMANDS = [
  'sipeat publish contact.created --data \'{"name":"Ada Lovelace","email":"ada@example.com","message":"Hello"}\'',
  'sipeat publish request.created --data \'{"customerName":"Jane Smith","drinkName":"Coca-Cola",' +
    '"machineId":"M12345"}\'',
  'sipeat publish machine.created --data \'{"machineId":"M7","machineName":"Lobby","location":"1 Main Street",' +
    '"slots":[{"slot":1,"drink":"Tea","stock":5}]}\'',
];
const WORDS = { id: "ID", url: "URL", ip: "IP", crm: "CRM", sku: "SKU", vat: "VAT", uuid: "UUID" };

const FIRST = ["id", "name", "from", "to", "email", "phone", "slot", "drink", "stock", "capacity", "mode", "address"];

const byId = (id) => document.getElementById(id);
const state = {
  filter: "all",
  paused: false,
  entries: [], // newest first
  held: [], // what came while paused
  counts: {}, // kind -> how many since the last clear
  counted: 0, // entries up to this number are in counts
  last: 0,
  clears: null,
  instance: null, // of the process whose numbers these are
};

// --- building elements ---

function el(tag, className, ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  for (const child of children) {
    if (child !== null && child !== undefined) node.append(child);
  }
  return node;
}

function friendly(key) {
  return String(key)
    .replace(/[_\-.\s]+/g, " ")
    .replace(/([a-z])([A-Z])/g, "$1 $2")
    .trim()
    .split(" ")
    .map((word) => WORDS[word.toLowerCase()] || word.charAt(0).toUpperCase() + word.slice(1))
    .join(" ");
}

function isNothing(value) {
  return value === null || value === undefined || value === "" ||
    (typeof value === "object" && Object.keys(value).length === 0);
}

function scalar(value) {
  if (isNothing(value)) return "—";
  if (value === true) return "yes";
  if (value === false) return "no";
  return String(value);
}

function tableOf(rows) {
  const columns = [...new Set(rows.flatMap(keysOf))].filter((key) => key !== "event_id");
  const head = el("tr", "", ...columns.map((name) => el("th", "", friendly(name))));
  const body = rows.map((row) => el("tr", "", ...columns.map((name) => el("td", "", valueOf(row[name])))));
  return el("div", "tabular", el("table", "", head, ...body));
}

function valueOf(value) {
  if (isNothing(value) || typeof value !== "object") return scalar(value);
  if (!Array.isArray(value)) return factsOf(value);
  if (value.every((item) => item && typeof item === "object" && !Array.isArray(item))) return tableOf(value);
  return el("ul", "list", ...value.map((item) => el("li", "", valueOf(item))));
}

// The keys of an object in an order that stays: the server's tables have none.
function keysOf(object) {
  const rank = (key) => (FIRST.includes(key) ? FIRST.indexOf(key) : FIRST.length);
  return Object.keys(object).sort((a, b) => rank(a) - rank(b) || a.localeCompare(b));
}

function factsOf(object, hidden = []) {
  const list = el("dl", "facts");
  for (const key of keysOf(object)) {
    const value = object[key];
    if (key !== "event_id" && !hidden.includes(key) && !isNothing(value)) {
      list.append(el("dt", "", friendly(key)), el("dd", "", valueOf(value)));
    }
  }
  return list;
}

function chip(text, mood) {
  return el("span", "chip " + (mood || ""), text);
}

const GOOD = /^(succeeded|done|ok|dispensed|completed|reserved|sent|active|captured|processed|confirmed)$/;
const BAD = /^(failed|dead|error|declined|jam|jammed|empty|canceled|requires_payment_method|refused|not_done|unknown)$/;

function statusChip(status) {
  if (isNothing(status)) return null;
  const text = String(status);
  const mood = GOOD.test(text) ? "good" : BAD.test(text) ? "bad" : "warn";
  return chip(text.replace(/_/g, " "), mood);
}

function amountText(entry) {
  const minor = Number(entry.amount_minor);
  if (!Number.isFinite(minor) || !/^[A-Z]{3}$/.test(entry.currency || "")) return null;
  const format = new Intl.NumberFormat("en", { style: "currency", currency: entry.currency });
  return format.format(minor / 10 ** format.resolvedOptions().maximumFractionDigits);
}

// --- Discord ---

const MARKS = [
  [/^\\([^A-Za-z0-9\s])/, (m) => m[1]],
  [/^`([^`]+)`/, (m) => el("code", "", m[1])],
  [/^\*\*([^*]+)\*\*/, (m) => el("strong", "", ...markdown(m[1]))],
  [/^__([^_]+)__/, (m) => el("u", "", ...markdown(m[1]))],
  [/^~~([^~]+)~~/, (m) => el("s", "", ...markdown(m[1]))],
  [/^[*_]([^*_\s][^*_]*)[*_]/, (m) => el("em", "", ...markdown(m[1]))],
];

// The part of Discord's Markdown that our messages use; escapes are shown as Discord shows them.
function markdown(text) {
  const out = [];
  let plain = "";
  let rest = String(text);
  while (rest !== "") {
    const hit = /^[\\`*_~]/.test(rest) && MARKS.map(([re, make]) => [rest.match(re), make]).find(([m]) => m);
    if (hit) {
      if (plain) out.push(plain);
      plain = "";
      out.push(hit[1](hit[0]));
      rest = rest.slice(hit[0][0].length);
    } else {
      const next = rest.slice(1).search(/[\\`*_~]/);
      const end = next < 0 ? rest.length : next + 1;
      plain += rest.slice(0, end);
      rest = rest.slice(end);
    }
  }
  if (plain) out.push(plain);
  return out;
}

// Inline fields share a line: up to three, as Discord lays them out.
function spansOf(fields) {
  const spans = [];
  for (let i = 0; i < fields.length;) {
    let run = 0;
    while (run < 3 && i + run < fields.length && fields[i + run].inline) run++;
    const span = run <= 1 ? 12 : run === 2 ? 6 : 4;
    for (let j = 0; j < Math.max(1, run); j++) spans.push(span);
    i += Math.max(1, run);
  }
  return spans;
}

function discordTime(stamp) {
  const date = new Date(stamp);
  if (Number.isNaN(date.getTime())) return "";
  const time = date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  const today = date.toDateString() === new Date().toDateString();
  return (today ? "Today at" : date.toLocaleDateString()) + " " + time;
}

function embedOf(embed) {
  const node = el("div", "embed");
  if (Number.isInteger(embed.color)) {
    node.style.borderLeftColor = "#" + embed.color.toString(16).padStart(6, "0");
  }
  if (embed.author) node.append(el("div", "e-author", String(embed.author.name)));
  if (embed.title) node.append(el("div", "e-title", ...markdown(embed.title)));
  if (embed.description) node.append(el("div", "e-description", ...markdown(embed.description)));
  const fields = Array.isArray(embed.fields) ? embed.fields : [];
  if (fields.length > 0) {
    const spans = spansOf(fields);
    node.append(el("div", "fields", ...fields.map((field, i) => el("div", "field span-" + spans[i],
      el("div", "name", ...markdown(field.name)), el("div", "value", ...markdown(field.value))))));
  }
  const footer = [embed.footer && embed.footer.text, embed.timestamp && discordTime(embed.timestamp)].filter(Boolean);
  if (footer.length > 0) node.append(el("div", "footer", footer.join(" • ")));
  return node;
}

function showDiscord(entry, record) {
  const message = entry.message || {};
  const embeds = Array.isArray(message.embeds) ? message.embeds : [];
  const who = el("div", "who", el("b", "", message.username || "SipEat"), el("span", "app", "APP"),
    el("time", "", discordTime(record.time)));
  const content = message.content ? el("div", "content", ...markdown(message.content)) : null;
  return [el("div", "message", el("div", "avatar", "🥤"), el("div", "", who, content, ...embeds.map(embedOf)))];
}

// --- mail ---

function tabs(views) {
  const bar = el("div", "tabs");
  const place = el("div", "");
  views.forEach(([name, make], index) => {
    const button = el("button", "", name);
    button.type = "button";
    button.addEventListener("click", () => {
      for (const other of bar.children) other.setAttribute("aria-pressed", String(other === button));
      place.replaceChildren(make());
    });
    button.setAttribute("aria-pressed", String(index === 0));
    bar.append(button);
  });
  place.append(views[0][1]());
  return [bar, place];
}

function showMail(entry, record) {
  const views = [];
  if (entry.html) {
    views.push(["HTML", () => {
      const frame = el("iframe", "");
      frame.setAttribute("sandbox", "");
      frame.setAttribute("title", "The mail as its reader sees it");
      frame.setAttribute("loading", "lazy");
      frame.src = "/capture/mail/" + record.number;
      return frame;
    }]);
  }
  if (entry.text) views.push(["Text", () => el("pre", "plain", String(entry.text))]);
  if (entry.mime) views.push(["Source", () => el("pre", "plain", String(entry.mime))]);
  const hidden = ["html", "text", "mime", "subject", "headers"];
  return [el("div", "subject", entry.subject || "(no subject)"), factsOf(entry, hidden),
    ...(views.length > 0 ? tabs(views) : [])];
}

// --- the others ---

function showPayment(entry) {
  const names = { payment: "Payment", refund: "Refund", cancel: "Cancelled payment" };
  const title = el("div", "title", el("strong", "", amountText(entry) || names[entry.what] || "Payment"),
    chip(names[entry.what] || "Payment"), statusChip(entry.declined ? "declined" : entry.status));
  return [title, factsOf(entry, ["what", "amount_minor", "currency", "status"])];
}

function reasonsOf(value) {
  if (typeof value === "string") {
    try {
      value = JSON.parse(value);
    } catch {
      value = value.split(/\n|;\s*/);
    }
  }
  return Array.isArray(value) ? value : value ? [value] : [];
}

function reasonText(reason) {
  if (typeof reason !== "object" || reason === null) return String(reason);
  const points = Number(reason.points ?? reason.score);
  const sign = Number.isFinite(points) ? (points >= 0 ? "+" : "") + points + "  " : "";
  return sign + (reason.reason || reason.rule || reason.name || JSON.stringify(reason));
}

function showCrm(entry) {
  const row = entry.row && typeof entry.row === "object" ? { ...entry.row, ...entry, row: null } : entry;
  const score = Number(row.score ?? row.lead_score);
  const reasons = reasonsOf(row.reasons ?? row.score_reasons ?? row.lead_reasons);
  const out = [el("div", "title", el("strong", "", row.name || row.email || "CRM row"),
    row.company || row.companyName || row.company_name || null, statusChip(row.status))];
  if (Number.isFinite(score)) {
    const fill = el("span", "");
    fill.style.width = Math.max(0, Math.min(100, score)) + "%";
    out.push(el("div", "score", el("b", "", String(score)), el("div", "meter", fill), "lead score"));
  }
  if (reasons.length > 0) out.push(el("ul", "list", ...reasons.map((r) => el("li", "", reasonText(r)))));
  const hidden = ["row", "score", "lead_score", "reasons", "score_reasons", "lead_reasons", "name", "status"];
  out.push(factsOf(row, hidden));
  return out;
}

// What happened to which drink, where: dispenses, inventory, confirmations.
function showDrink(entry) {
  const drink = entry.drink || entry.drinkName || "Drink";
  const place = [entry.machine_id || entry.machineId || entry.machine, entry.slot && "slot " + entry.slot]
    .filter(Boolean).join(", ");
  return [el("div", "title", el("strong", "", scalar(drink)), place, statusChip(entry.what || entry.status)),
    factsOf(entry, ["drink", "drinkName", "what", "status", "machine_id", "machineId", "machine", "slot"])];
}

function showFacts(entry) {
  const name = entry.title || entry.command || entry.action || entry.channel;
  const status = entry.status || entry.what;
  const title = name || status
    ? el("div", "title", name ? el("strong", "", friendly(name)) : null, entry.machine_id || null, statusChip(status))
    : null;
  return [title, factsOf(entry, ["title", "command", "action", "channel", "what", "status", "machine_id"])];
}

// Slack's escapes, bold text and lines as its reader sees them.
function slackText(text) {
  const plain = String(text ?? "").replace(/&lt;/g, "<").replace(/&gt;/g, ">").replace(/&amp;/g, "&");
  return plain.split(/(\*[^*\n]+\*|\n)/).filter(Boolean).map((part) =>
    part === "\n" ? el("br") : /^\*.+\*$/.test(part) ? el("strong", "", part.slice(1, -1)) : part);
}

function slackBlock(block) {
  const kind = block.type === "header" ? "e-title" : "e-description";
  const fields = Array.isArray(block.fields) ? block.fields : [];
  const elements = Array.isArray(block.elements) ? block.elements : [];
  return el("div", "", block.text ? el("div", kind, ...slackText(block.text.text)) : null,
    ...fields.map((field) => el("div", "value", ...slackText(field.text))),
    ...elements.map((element) => el("div", "footer", ...slackText(element.text))));
}

function showSlack(entry, record) {
  const blocks = Array.isArray(entry.blocks) ? entry.blocks : [];
  const who = el("div", "who", el("b", "", "SipEat"), el("span", "app", "APP"),
    el("time", "", discordTime(record.time)));
  const parts = blocks.length > 0 ? blocks.map(slackBlock) : [el("div", "content", ...slackText(entry.text))];
  return [el("div", "subject", entry.channel || ""), el("div", "message", el("div", "avatar", "🥤"),
    el("div", "", who, el("div", "embed", ...parts)))];
}

function showText(entry) {
  return [el("div", "title", el("strong", "", entry.title || entry.to || entry.topic || "")),
    el("pre", "plain", scalar(entry.text)), factsOf(entry, ["title", "text"])];
}

function showCall(entry) {
  return [el("div", "title", el("strong", "", entry.event || entry.name || entry.groupId || entry.userId || ""),
    chip(scalar(entry.type))), factsOf(entry, ["type", "event", "name", "context", "sentAt"])];
}

const SHOW = {
  discord: showDiscord,
  slack: showSlack,
  sms: showText,
  push: showText,
  analytics: showCall,
  mail: showMail,
  payment: showPayment,
  crm: showCrm,
  dispense: showDrink,
  inventory: showDrink,
  confirmation: showDrink,
};

function entryNode(record) {
  const [icon, label] = KINDS[record.kind] || ["•", friendly(record.kind)];
  const time = el("time", "", new Date(record.time).toLocaleTimeString());
  time.dateTime = record.time;
  const event = record.event_id ? el("span", "", "event " + record.event_id.slice(0, 8)) : null;
  if (event) event.title = record.event_id;
  const head = el("div", "head", el("span", "", icon), el("span", "kind", label), event, time);
  let parts;
  try {
    parts = (SHOW[record.kind] || showFacts)(record.entry, record);
  } catch (error) {
    parts = [el("pre", "plain", JSON.stringify(record.entry, null, 2))];
    console.error(error);
  }
  const body = el("div", "body", ...parts);
  if (record.kind !== "mail") {
    const details = el("details", "", el("summary", "", "as it was sent"));
    details.addEventListener("toggle", () => {
      if (details.open && details.children.length === 1) {
        details.append(el("pre", "plain", JSON.stringify(record.entry, null, 2)));
      }
    });
    body.append(details);
  }
  const node = el("article", "entry " + record.kind.replace(/[^a-z_]/g, ""), head, body);
  node.dataset.number = record.number;
  return node;
}

// --- the page ---

function visible(record) {
  return state.filter === "all" || record.kind === state.filter;
}

function renderFilters() {
  const total = Object.values(state.counts).reduce((sum, n) => sum + n, 0);
  const kinds = [...new Set([...Object.keys(KINDS), ...Object.keys(state.counts)])]
    .filter((kind) => state.counts[kind] || kind === state.filter || KINDS[kind]);
  const buttons = [["all", "All", total], ...kinds.map((kind) =>
    [kind, (KINDS[kind] || [0, friendly(kind)])[1], state.counts[kind] || 0])].map(([kind, label, count]) => {
    const button = el("button", "", label, el("span", "count", String(count)));
    button.type = "button";
    button.setAttribute("aria-pressed", String(kind === state.filter));
    button.addEventListener("click", () => {
      state.filter = kind;
      renderAll();
    });
    return button;
  });
  byId("filters").replaceChildren(...buttons);
}

function renderEmpty() {
  const shown = byId("feed").children.length;
  byId("empty").hidden = shown > 0 || state.instance === null; // null: not known yet
  const filtered = state.filter !== "all" && state.entries.length > 0;
  byId("empty").querySelector("h2").textContent = filtered
    ? "Nothing of this kind yet" : "Nothing has left the machine yet";
  const more = byId("more");
  more.hidden = state.entries.length <= MAX_SHOWN;
  more.textContent = "Only the newest " + MAX_SHOWN + " are shown; the others are in /capture/entries.json";
  const pause = byId("pause");
  pause.setAttribute("aria-pressed", String(state.paused));
  pause.textContent = state.paused ? "Resume" + (state.held.length ? " (" + state.held.length + " new)" : "") : "Pause";
}

function renderAll() {
  const nodes = state.entries.filter(visible).slice(0, MAX_SHOWN).map(entryNode);
  byId("feed").replaceChildren(...nodes);
  renderFilters();
  renderEmpty();
}

let scheduled = false;
let arrived = [];

// Many entries in one burst are put into the page together.
function flush() {
  scheduled = false;
  const feed = byId("feed");
  const nodes = arrived.filter(visible).map((record) => {
    const node = entryNode(record);
    node.classList.add("fresh");
    return node;
  });
  arrived = [];
  feed.prepend(...nodes.reverse());
  while (feed.children.length > MAX_SHOWN) feed.lastChild.remove();
  renderFilters();
  renderEmpty();
}

function schedule() {
  if (!scheduled) {
    scheduled = true;
    requestAnimationFrame(flush);
  }
}

function show(record) {
  state.entries.unshift(record);
  if (state.entries.length > MAX_HELD) state.entries.length = MAX_HELD;
  arrived.push(record);
  if (arrived.length > MAX_SHOWN) arrived.shift();
  schedule();
}

function arrive(record) {
  if (record.number <= state.last) return;
  state.last = record.number;
  if (record.number > state.counted) state.counts[record.kind] = (state.counts[record.kind] || 0) + 1;
  if (state.paused) {
    state.held.push(record);
    if (state.held.length > MAX_HELD) state.held.shift();
    schedule();
  } else {
    show(record);
  }
}

function onState(now) {
  if (state.instance !== null && (now.instance !== state.instance || now.clears !== state.clears)) {
    state.entries = [];
    state.held = [];
    arrived = [];
  }
  if (now.instance !== state.instance) state.last = 0; // another process, whose numbers begin anew
  state.instance = now.instance;
  state.clears = now.clears;
  state.counts = now.counts || {};
  state.counted = now.last || 0;
  renderAll();
}

function live(on, text) {
  byId("live").className = "live " + (on ? "on" : "off");
  byId("live-text").textContent = text;
}

function connect() {
  const source = new EventSource("/capture/events");
  source.addEventListener("open", () => live(true, "live"));
  source.addEventListener("error", () => live(false, "offline, retrying"));
  source.addEventListener("state", (event) => onState(JSON.parse(event.data)));
  source.addEventListener("message", (event) => arrive(JSON.parse(event.data)));
}

function setUp() {
  for (const command of COMMANDS) {
    const copy = el("button", "", "Copy");
    copy.type = "button";
    copy.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(command);
        copy.textContent = "Copied";
      } catch {
        copy.textContent = "Select it";
      }
      setTimeout(() => { copy.textContent = "Copy"; }, 1500);
    });
    byId("commands").append(el("div", "command", el("pre", "", command), copy));
  }
  byId("pause").addEventListener("click", () => {
    state.paused = !state.paused;
    if (!state.paused) state.held.splice(0).forEach(show);
    renderEmpty();
  });
  byId("clear").addEventListener("click", () => {
    fetch("/capture/clear", { method: "POST", headers: { "X-Sipeat": "capture" } })
      .catch(() => live(false, "offline"));
  });
  renderAll();
  connect();
}

setUp();
