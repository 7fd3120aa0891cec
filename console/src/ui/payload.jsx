// Bytes of events as text: never as markup, and never other numbers than those that were written.
import { useMemo, useState } from "preact/hooks";
import { Copy } from "./basics.jsx";
import { bytes } from "../format.js";

const TOKEN = /"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g;
const HIGHLIGHT_MAX = 200000;

function kindOf(token, next) {
  if (token[0] === '"') return next === ":" ? "j-name" : "j-text";
  if (/^-?\d/.test(token)) return "j-number";
  return /^(true|false|null)$/.test(token) ? "j-word" : null;
}

/** JSON laid out anew, token by token as written; null when it is not JSON. */
export function layOut(text) {
  try {
    const value = JSON.parse(text);
    if (value === null || typeof value !== "object") return null;
  } catch {
    return null;
  }
  const tokens = text.match(TOKEN);
  const parts = [];
  let depth = 0;
  const line = () => parts.push(["\n" + "  ".repeat(depth)]);
  tokens.forEach((token, i) => {
    const next = tokens[i + 1];
    if (token === "{" || token === "[") {
      parts.push([token]);
      depth += 1;
      if (next !== "}" && next !== "]") line();
    } else if (token === "}" || token === "]") {
      depth -= 1;
      if (tokens[i - 1] !== "{" && tokens[i - 1] !== "[") line();
      parts.push([token]);
    } else if (token === ",") {
      parts.push([token]);
      line();
    } else {
      parts.push(token === ":" ? [": "] : [token, kindOf(token, next)]);
    }
  });
  return parts;
}

export function Payload({ label = "Value", text, base64, size, cut, tombstone }) {
  const [raw, set] = useState(false);
  const laid = useMemo(() => (text && text.length < HIGHLIGHT_MAX ? layOut(text) : null), [text]);
  const shown = text ?? base64;
  if (shown === null || shown === undefined) {
    return <p class="dim payload-none">{tombstone ? "No value: a tombstone" : "No value"}</p>;
  }
  const kind = text === undefined || text === null ? "Base64, since it is not UTF-8" : laid ? "JSON" : "text";
  return (
    <div class="payload">
      <div class="payload-head">
        <span class="dim">
          {label}, {kind}
          {size !== undefined && size !== null ? `, ${bytes(size)}` : ""}
          {cut ? ", cut" : ""}
        </span>
        <span class="actions">
          {laid ? (
            <button type="button" class="button small" aria-pressed={raw} onClick={() => set(!raw)}>
              As written
            </button>
          ) : null}
          <Copy text={shown} />
        </span>
      </div>
      <pre tabIndex={0} role="region" aria-label={label}>
        {laid && !raw
          ? laid.map(([token, name], i) =>
              name ? (
                <span key={i} class={name}>
                  {token}
                </span>
              ) : (
                token
              ),
            )
          : shown}
      </pre>
    </div>
  );
}

/** Headers of a record, each with what it says. */
export function Headers({ of }) {
  if (!of?.length) return <p class="dim payload-none">No headers</p>;
  return (
    <dl class="headers">
      {of.map(({ name, value, value_base64: base64 }, i) => (
        <div key={i}>
          <dt>{name}</dt>
          <dd>{value ?? base64 ?? <span class="dim">null</span>}</dd>
        </div>
      ))}
    </dl>
  );
}
