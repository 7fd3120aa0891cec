// Numbers, times and bytes for people.
const NUMBER = new Intl.NumberFormat("en");
const SHORT = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
const SPANS = [
  [86400, "d"],
  [3600, "h"],
  [60, "min"],
  [1, "s"],
];
const UNKNOWN = "–";

const known = (value) => value !== null && value !== undefined;

export const count = (value) => (known(value) ? NUMBER.format(value) : UNKNOWN);

export const short = (value) =>
  known(value) ? (Math.abs(value) < 10000 ? NUMBER : SHORT).format(value) : UNKNOWN;

export const rate = (value) =>
  known(value) ? `${value < 10 ? Math.round(value * 10) / 10 : short(Math.round(value))}/s` : UNKNOWN;

export function bytes(value) {
  if (!known(value)) return UNKNOWN;
  let unit = 0;
  for (; value >= 1024 && unit < UNITS.length - 1; unit += 1) value /= 1024;
  return `${unit && value < 10 ? value.toFixed(1) : Math.round(value)} ${UNITS[unit]}`;
}

/** A duration in ms: "850 ms", "1.2 s", "3 h 20 min". */
export function duration(ms) {
  if (!known(ms)) return UNKNOWN;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 10000) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.floor(ms / 1000);
  const i = SPANS.findIndex(([size]) => seconds >= size);
  const [size, name] = SPANS[i];
  const rest = SPANS[i + 1] && Math.floor((seconds % size) / SPANS[i + 1][0]);
  return `${Math.floor(seconds / size)} ${name}${rest ? ` ${rest} ${SPANS[i + 1][1]}` : ""}`;
}

const two = (value) => String(value).padStart(2, "0");

/** The local time: "2026-11-21 20:30:00", with milliseconds where they count. */
export function time(value, precise) {
  const at = new Date(value);
  if (!known(value) || Number.isNaN(at.getTime())) return UNKNOWN;
  const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  const clock = [at.getHours(), at.getMinutes(), at.getSeconds()].map(two).join(":");
  return `${day} ${clock}${precise ? `.${String(at.getMilliseconds()).padStart(3, "0")}` : ""}`;
}

/** "3 min ago" */
export function ago(value) {
  const ms = Date.now() - new Date(value).getTime();
  if (!known(value) || Number.isNaN(ms)) return UNKNOWN;
  const [size, name] = SPANS.find(([one]) => Math.abs(ms) >= one * 1000) || [0];
  if (!size) return "just now";
  const text = `${Math.floor(Math.abs(ms) / 1000 / size)} ${name}`;
  return ms < 0 ? `in ${text}` : `${text} ago`;
}

export const plural = (value, one, many = `${one}s`) => `${count(value)} ${value === 1 ? one : many}`;
