// Dialogs: the browser's own <dialog>, which keeps the focus inside and closes on Esc.
import { useEffect, useRef, useState } from "preact/hooks";
import { useRefusal } from "../session.js";
import { Button, Field } from "./basics.jsx";

export function Dialog({ title, close, children, wide }) {
  const box = useRef(null);
  useEffect(() => {
    const before = document.activeElement;
    box.current.showModal();
    return () => before?.focus?.();
  }, []);
  return (
    <dialog
      ref={box}
      class={wide ? "wide" : ""}
      aria-label={title}
      onCancel={(event) => {
        event.preventDefault();
        close();
      }}
    >
      <div class="dialog-head">
        <h2>{title}</h2>
        <button type="button" class="close" aria-label="Close" onClick={close}>
          ×
        </button>
      </div>
      {children}
    </dialog>
  );
}

/**
 * A form that does something once: `act(values)` returns when it is done, or throws what is shown. `name`: it has to be
 * typed as it is before. `needs`: the role that may.
 */
export function ActForm({ action, danger, needs, name, act, close, children, ready = true, before }) {
  const refusal = useRefusal(needs);
  const [typed, type] = useState("");
  const [state, set] = useState({ busy: false, error: null });
  const matches = !name || typed === name;
  const submit = async (event) => {
    event.preventDefault();
    if (refusal || !matches || !ready || state.busy) return;
    set({ busy: true, error: null });
    try {
      await act(typed);
      set({ busy: false, error: null });
    } catch (error) {
      set({ busy: false, error });
    }
  };
  return (
    <form class="form" onSubmit={submit}>
      {children}
      {name ? (
        <Field
          label={
            <>
              Type <code>{name}</code> to go on
            </>
          }
        >
          <input
            value={typed}
            onInput={(event) => type(event.target.value)}
            autocomplete="off"
            spellcheck={false}
            name="confirm"
          />
        </Field>
      ) : null}
      {refusal ? <p class="dim">{refusal}</p> : null}
      {state.error ? (
        <p class="form-error" role="alert">
          {state.error.message}
        </p>
      ) : null}
      <div class="form-foot">
        {close ? <Button onClick={close}>Cancel</Button> : null}
        {before}
        <Button
          type="submit"
          kind={danger ? "danger" : "primary"}
          needs={needs}
          busy={state.busy}
          disabled={!matches || !ready}
        >
          {action}
        </Button>
      </div>
    </form>
  );
}

/** What is looked at first and then done: `send(dryRun, typed)` gives an outcome, which has `dry_run`. */
export function useRehearsal(send) {
  const [state, set] = useState({ busy: false, error: null, outcome: null });
  const look = async () => {
    set({ busy: true, error: null, outcome: null });
    try {
      set({ busy: false, error: null, outcome: await send(true) });
    } catch (error) {
      set({ busy: false, error, outcome: null });
    }
  };
  const act = async (typed) => set({ busy: false, error: null, outcome: await send(false, typed) });
  return { ...state, look, act, finished: state.outcome !== null && !state.outcome.dry_run };
}

/** The form of a rehearsal, as of ActForm, and in its place what came of it; `show(outcome)` renders that. */
export function RehearsedForm({ of, show, close, children, ...form }) {
  if (of.finished) {
    return (
      <>
        {show(of.outcome)}
        <div class="form-foot">
          <Button kind="primary" onClick={close}>
            Close
          </Button>
        </div>
      </>
    );
  }
  const before = (
    <Button busy={of.busy} onClick={of.look}>
      Look first
    </Button>
  );
  return (
    <ActForm {...form} act={of.act} close={close} before={before}>
      {children}
      {of.error ? (
        <p class="form-error" role="alert">
          {of.error.message}
        </p>
      ) : null}
      {of.outcome ? show(of.outcome) : null}
    </ActForm>
  );
}
