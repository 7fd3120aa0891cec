// The offsets of a group set anew: looked at first, then with its name typed.
import { useState } from "preact/hooks";
import { at, post } from "../api.js";
import { count } from "../format.js";
import { Button, Field } from "../ui/basics.jsx";
import { ActForm, Dialog } from "../ui/dialog.jsx";
import { Note } from "../ui/states.jsx";
import { Table } from "../ui/table.jsx";
import { toast } from "../ui/toast.jsx";

const TARGETS = [
  ["beginning", "The beginning: everything again"],
  ["end", "The end: nothing of what is there"],
  ["offset", "An offset"],
  ["time", "A time"],
];

const columns = [
  { id: "partition", label: "Partition", kind: "number", cell: (one) => one.partition },
  { id: "committed", label: "Now", kind: "number", cell: (one) => count(one.committed) },
  { id: "target", label: "Then", kind: "number", cell: (one) => <b>{count(one.target)}</b> },
  { id: "lag", label: "Lag then", kind: "number", cell: (one) => count(one.lag) },
];

export function ResetOffsets({ group, close, done }) {
  const topics = (group.topics || []).map((one) => one.topic);
  const [topic, choose] = useState(topics[0] || "");
  const [target, aim] = useState("beginning");
  const [value, put] = useState("");
  const [plan, show] = useState(null);
  const [state, set] = useState({ busy: false, error: null });
  const to = target === "offset" ? `offset:${value}` : target === "time" ? value : target;
  const path = at`groups/${group.name}/offsets`;
  const changed =
    (change) =>
    ({ target: { value: given } }) => {
      show(null);
      change(given);
    };
  const look = async () => {
    set({ busy: true, error: null });
    try {
      show(await post(path, { topic, to, dry_run: true }));
      set({ busy: false, error: null });
    } catch (error) {
      set({ busy: false, error });
    }
  };
  const act = async (typed) => {
    const { offsets } = await post(path, { topic, to, confirm: typed });
    toast(`The offsets of ${group.name} are set on ${offsets.length} partitions of ${topic}.`);
    close();
    done();
  };
  return (
    <Dialog title={`Reset the offsets of ${group.name}`} close={close} wide>
      {(group.members || []).length ? (
        <Note tone="warn">The group has members: they have to be stopped before its offsets can be set.</Note>
      ) : null}
      <ActForm
        action="Reset"
        danger
        needs="operator"
        name={plan ? group.name : null}
        ready={plan !== null}
        act={act}
        close={close}
        before={
          <Button
            busy={state.busy}
            disabled={!topic || (["offset", "time"].includes(target) && !value)}
            onClick={look}
          >
            Look first
          </Button>
        }
      >
        <Field label="Topic">
          {topics.length ? (
            <select name="topic" value={topic} onChange={changed(choose)}>
              {topics.map((one) => (
                <option key={one}>{one}</option>
              ))}
            </select>
          ) : (
            <input name="topic" value={topic} onInput={changed(choose)} spellcheck={false} />
          )}
        </Field>
        <Field label="To">
          <select name="to" value={target} onChange={changed(aim)}>
            {TARGETS.map(([one, text]) => (
              <option key={one} value={one}>
                {text}
              </option>
            ))}
          </select>
        </Field>
        {target === "offset" || target === "time" ? (
          <Field
            label={target === "offset" ? "Offset" : "Time"}
            hint={target === "time" ? "Such as 2026-11-21T20:00:00Z, or 2h for two hours ago" : null}
          >
            <input name="value" value={value} onInput={changed(put)} spellcheck={false} />
          </Field>
        ) : null}
        {state.error ? (
          <p class="form-error" role="alert">
            {state.error.message}
          </p>
        ) : null}
        {plan ? (
          <Table label="What it would do" columns={columns} rows={plan.offsets} id={(one) => one.partition} />
        ) : null}
      </ActForm>
    </Dialog>
  );
}
