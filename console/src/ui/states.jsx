// What a page shows before, instead of and beside its data.
import { Button } from "./basics.jsx";

export function Loading({ lines = 5 }) {
  return (
    <div class="loading" role="status">
      <span class="hidden">Loading</span>
      {Array.from({ length: lines }, (_, i) => (
        <span key={i} class={`bone w${i % 4}`} aria-hidden="true" />
      ))}
    </div>
  );
}

export function Empty({ title, children }) {
  return (
    <div class="empty">
      <p class="empty-title">{title}</p>
      {children ? <div class="empty-text">{children}</div> : null}
    </div>
  );
}

export function Failed({ error, again }) {
  return (
    <div class="note bad" role="alert">
      <p>
        <strong>{error.status === 404 ? "Not there." : "That did not work."}</strong> {error.message}
      </p>
      {error.code ? (
        <p class="dim">
          {error.code}
          {error.status ? `, status ${error.status}` : ""}
        </p>
      ) : null}
      {again ? (
        <p>
          <Button onClick={again}>Try again</Button>
        </p>
      ) : null}
    </div>
  );
}

export function Note({ tone = "info", title, children }) {
  return (
    <div class={`note ${tone}`}>
      {title ? (
        <p>
          <strong>{title}</strong>
        </p>
      ) : null}
      {children}
    </div>
  );
}

/** What the cluster cannot tell. */
export function Limits({ of }) {
  if (!of?.length) return null;
  return (
    <ul class="limits" aria-label="What is not known">
      {of.map((text) => (
        <li key={text}>{text}</li>
      ))}
    </ul>
  );
}

/** A loaded value (load.js): its children get the data; the rest of its life, and the limits, are shown here. */
export function Loaded({ of, lines, limits = true, children }) {
  const { data, error, reload } = of;
  if (!data) return error ? <Failed error={error} again={reload} /> : <Loading lines={lines} />;
  if (data.available === false) {
    return <Empty title="Not here">{data.reason || "This process does not have it."}</Empty>;
  }
  return (
    <>
      {error ? <Failed error={error} again={reload} /> : null}
      {children(data)}
      {limits ? <Limits of={data.limits} /> : null}
    </>
  );
}
