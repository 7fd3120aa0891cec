// Live figures: one EventSource for the tab, and none while nobody sees it.
import { useEffect, useState } from "preact/hooks";

const NAMES = ["flows", "lag", "chains", "letters", "machines", "scripts"];
const HIDDEN_MS = 5000;
const states = new Map();
const listeners = new Map();
let source = null;
let hiding = null;

function tell(name, value) {
  states.set(name, value);
  for (const listener of listeners.get(name) || []) listener(value);
}

function open() {
  if (source) return;
  tell("connection", "connecting");
  source = new EventSource("/console/api/events");
  source.onopen = () => tell("connection", "live");
  source.onerror = () => {
    tell("connection", "lost");
    if (source?.readyState === EventSource.CLOSED) {
      source = null;
      setTimeout(() => document.hidden || open(), HIDDEN_MS);
    }
  };
  for (const name of NAMES) {
    source.addEventListener(name, (event) => {
      tell("connection", "live");
      tell(name, JSON.parse(event.data));
    });
  }
}

function close() {
  source?.close();
  source = null;
}

/** Opens the stream; a hidden tab gives it up, since browsers have few connections for one host. */
export function startLive() {
  document.addEventListener("visibilitychange", () => {
    clearTimeout(hiding);
    if (document.hidden) hiding = setTimeout(close, HIDDEN_MS);
    else open();
  });
  open();
}

/** The last state of that name: one of NAMES, or "connection". */
export function useLive(name) {
  const [value, set] = useState(states.get(name) ?? null);
  useEffect(() => {
    const all = listeners.get(name) || new Set();
    listeners.set(name, all);
    const listener = (state) => set(() => state);
    all.add(listener);
    set(() => states.get(name) ?? null);
    return () => all.delete(listener);
  }, [name]);
  return value;
}
