// Small parts that every page is made of.
import { useEffect, useRef, useState } from "preact/hooks";
import * as format from "../format.js";
import { useRefusal } from "../session.js";
import { toast } from "./toast.jsx";

/** A button; with `needs` it is for that role only, and says so to others. */
export function Button({ needs, kind = "", busy, onClick, children, disabled, type = "button", ...rest }) {
  const refusal = useRefusal(needs);
  const press = (event) => {
    if (refusal) {
      event.preventDefault();
      toast(refusal, "warn");
    } else if (!busy) {
      onClick?.(event);
    }
  };
  return (
    <button
      type={type}
      class={`button ${kind}`}
      onClick={press}
      disabled={disabled}
      aria-disabled={refusal || busy ? "true" : undefined}
      title={refusal || rest.title}
      {...rest}
    >
      {busy ? <span class="spin" aria-hidden="true" /> : null}
      {children}
    </button>
  );
}

const TONES = {
  running: "good",
  ready: "good",
  online: "good",
  Stable: "good",
  done: "good",
  closed: "good",
  ok: "good",
  replayed: "good",
  completed: "good",
  active: "info",
  joining: "info",
  sleeping: "info",
  waiting: "info",
  held: "info",
  intent: "info",
  begun: "info",
  draining: "warn",
  parked: "warn",
  unknown: "warn",
  half_open: "warn",
  "half-open": "warn",
  Empty: "",
  skipped: "",
  abandoned: "warn",
  PreparingRebalance: "warn",
  CompletingRebalance: "warn",
  undone: "warn",
  error: "bad",
  failed: "bad",
  dead: "bad",
  open: "bad",
  offline: "bad",
  refused: "bad",
  Dead: "bad",
  warn: "warn",
};

/** A state in a word, with the colour that goes with it. */
export function Chip({ tone, children }) {
  return <span class={`chip ${tone ?? TONES[children] ?? ""}`}>{children}</span>;
}

export function Time({ at, precise, relative }) {
  const date = new Date(at);
  if (at === null || at === undefined || Number.isNaN(date.getTime())) return <span class="dim">–</span>;
  const text = format.time(at, precise);
  const today = text.slice(0, 10) === format.time(Date.now()).slice(0, 10);
  return (
    <time dateTime={date.toISOString()} title={format.time(at, true)}>
      {relative ? (
        format.ago(at)
      ) : (
        <>
          <span class={today ? "date" : ""}>{text.slice(0, 11)}</span>
          {text.slice(11)}
        </>
      )}
    </time>
  );
}

/** The head of a page: where it stands, its name, what can be done. */
export function Head({ title, crumbs = [], mark, actions, children }) {
  useEffect(() => {
    document.title = `${title} · sipeat console`;
  }, [title]);
  return (
    <header class="head">
      {crumbs.length ? (
        <nav class="crumbs" aria-label="Above this page">
          {crumbs.map(([text, link]) => (
            <a key={link} href={link}>
              {text}
            </a>
          ))}
        </nav>
      ) : null}
      <div class="head-line">
        <h1>{title}</h1>
        {mark}
        {actions ? <div class="actions">{actions}</div> : null}
      </div>
      {children}
    </header>
  );
}

export function Section({ title, actions, children, id }) {
  return (
    <section class="section" id={id}>
      <div class="section-head">
        <h2>{title}</h2>
        {actions ? <div class="actions">{actions}</div> : null}
      </div>
      {children}
    </section>
  );
}

/** Names and values: a list of [name, value], null where it is not known. */
export function Facts({ of }) {
  return (
    <dl class="facts">
      {of
        .filter(([, value]) => value !== null && value !== undefined && value !== "")
        .map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
    </dl>
  );
}

/** A figure with its name; a link when there is more to see. */
export function Figure({ label, value, note, tone = "", to }) {
  const inside = (
    <>
      <span class="figure-label">{label}</span>
      <span class="figure-value">{value}</span>
      {note ? <span class="figure-note">{note}</span> : null}
    </>
  );
  return to ? (
    <a class={`figure ${tone}`} href={to}>
      {inside}
    </a>
  ) : (
    <div class={`figure ${tone}`}>{inside}</div>
  );
}

/** Pages beside each other: [[name, text, href], …]. */
export function Tabs({ label, tabs, current }) {
  return (
    <nav class="tabs" aria-label={label}>
      {tabs.map(([name, text, link]) => (
        <a key={name} href={link} aria-current={name === current ? "page" : undefined}>
          {text}
        </a>
      ))}
    </nav>
  );
}

export function Field({ label, hint, error, children, wide }) {
  return (
    <label class={`field ${wide ? "wide" : ""}`}>
      <span class="field-label">{label}</span>
      {children}
      {hint ? <span class="field-hint">{hint}</span> : null}
      {error ? (
        <span class="field-error" role="alert">
          {error}
        </span>
      ) : null}
    </label>
  );
}

export function Copy({ text, label = "Copy" }) {
  const [done, set] = useState(false);
  const timer = useRef(0);
  useEffect(() => () => clearTimeout(timer.current), []);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      set(true);
      timer.current = setTimeout(() => set(false), 1500);
    } catch {
      toast("The browser does not let this page copy: mark the text instead.", "warn");
    }
  };
  return (
    <button type="button" class="button small" onClick={copy}>
      {done ? "Copied" : label}
    </button>
  );
}
