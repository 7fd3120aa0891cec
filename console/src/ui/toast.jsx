// Short messages at the edge of the page, read out by screen readers.
import { useEffect, useState } from "preact/hooks";

const SHOWN_MS = 7000;
const MAX = 4;
let number = 0;
let messages = [];
let tell = null;

export function toast(text, tone = "good") {
  number += 1;
  const id = number;
  messages = [...messages, { id, text, tone }].slice(-MAX);
  tell?.(messages);
  setTimeout(() => dismiss(id), SHOWN_MS);
}

function dismiss(id) {
  messages = messages.filter((one) => one.id !== id);
  tell?.(messages);
}

export function Toasts() {
  const [shown, set] = useState(messages);
  useEffect(() => {
    tell = set;
    return () => {
      tell = null;
    };
  }, []);
  return (
    <div class="toasts" role="status" aria-live="polite">
      {shown.map(({ id, text, tone }) => (
        <div key={id} class={`toast ${tone}`}>
          <span>{text}</span>
          <button type="button" class="close" aria-label="Dismiss" onClick={() => dismiss(id)}>
            ×
          </button>
        </div>
      ))}
    </div>
  );
}
