// The script: its version, what failed, and loading it anew.
import { useState } from "preact/hooks";
import { post } from "../api.js";
import { count, duration } from "../format.js";
import { useLive } from "../live.js";
import { useLoad } from "../load.js";
import { href } from "../router.js";
import { Button, Chip, Copy, Facts, Head, Section, Time } from "../ui/basics.jsx";
import { Loaded, Note } from "../ui/states.jsx";
import { Table } from "../ui/table.jsx";
import { toast } from "../ui/toast.jsx";

const versionColumns = [
  { id: "script", label: "Version", kind: "mono first", cell: (one) => (one.script || "").slice(0, 16) },
  { id: "since", label: "Since", cell: (one) => <Time at={one.since} /> },
  { id: "open", label: "Open chains", kind: "number", cell: (one) => count(one.open) },
];

const failureColumns = [
  { id: "at", label: "Time", kind: "first", cell: (one) => <Time at={one.at} /> },
  { id: "level", label: "Level", cell: (one) => <Chip>{one.level}</Chip> },
  { id: "source", label: "Of", cell: (one) => one.source },
  { id: "count", label: "Times", kind: "number", cell: (one) => count(one.count) },
  { id: "message", label: "Message", kind: "grow", cell: (one) => <span class="pre">{one.message}</span> },
  {
    id: "event",
    label: "Event",
    kind: "mono cut",
    cell: (one) =>
      one.event_id && <a href={`${href("search")}?q=${encodeURIComponent(one.event_id)}`}>{one.event_id}</a>,
  },
];

function Refused({ title, text }) {
  return (
    <Note tone="bad" title={title}>
      <pre class="trace" tabIndex={0} role="region" aria-label={title}>
        {text}
      </pre>
      <Copy text={text} />
    </Note>
  );
}

export function Scripts() {
  const page = useLoad("scripts");
  const live = useLive("scripts");
  const [state, set] = useState({ busy: false, refused: null });
  const shown = { ...page, data: live ? { ...page.data, ...live } : page.data };
  const reload = async () => {
    set({ busy: true, refused: null });
    try {
      const { version } = await post("scripts/reload", {});
      toast(`Reloaded: version ${(version || "").slice(0, 12)}.`);
      set({ busy: false, refused: null });
    } catch (error) {
      set({ busy: false, refused: error.message });
    }
    page.reload();
  };
  const failed = state.refused || shown.data?.reload_error;
  return (
    <>
      <Head
        title="Scripts"
        actions={
          <Button
            needs="admin"
            kind="primary"
            busy={state.busy}
            disabled={!shown.data?.path}
            onClick={reload}
          >
            Reload
          </Button>
        }
      />
      {failed ? (
        <Refused title="The last reload was refused: the former version goes on" text={failed} />
      ) : null}
      <Loaded of={shown}>
        {(data) => (
          <>
            <Facts
              of={[
                ["File", <code>{data.path}</code>],
                ["Version", <code class="pre">{data.version}</code>],
                ["Generation", count(data.generation)],
                ["Runs for", duration(data.uptime_ms)],
                ["Reloads", count(data.reloads)],
                ["Refused", count(data.refused)],
              ]}
            />
            <Section title="What failed">
              <Table
                label="Warnings and errors"
                columns={failureColumns}
                rows={data.failures || []}
                id={(one) => `${one.at} ${one.source} ${one.message}`}
                empty="No warnings, no errors"
              />
            </Section>
            {data.versions?.length ? (
              <Section title="Versions that open chains need">
                <Table
                  label="Versions"
                  columns={versionColumns}
                  rows={data.versions}
                  id={(one) => one.script}
                />
              </Section>
            ) : null}
          </>
        )}
      </Loaded>
    </>
  );
}
