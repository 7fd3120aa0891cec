// The console: asks who is signed in, then shows the page of the address.
import "uplot/dist/uPlot.min.css";
import "./style/base.css";
import "./style/parts.css";
import "./style/pages.css";
import { render } from "preact";
import { useEffect, useState } from "preact/hooks";
import { loadSession } from "./api.js";
import { startLive } from "./live.js";
import { startRouter } from "./router.js";
import { Session } from "./session.js";
import { Shell } from "./shell.jsx";
import { Failed, Loading } from "./ui/states.jsx";

function App() {
  const [session, set] = useState(null);
  const [error, fail] = useState(null);
  const begin = async () => {
    fail(null);
    try {
      set(await loadSession());
      startLive();
    } catch (problem) {
      if (problem.status !== 401) fail(problem);
    }
  };
  useEffect(() => {
    begin();
  }, []);
  if (error)
    return (
      <main class="lonely">
        <h1>sipeat console</h1>
        <Failed error={error} again={begin} />
      </main>
    );
  if (!session)
    return (
      <main class="lonely">
        <h1 class="hidden">sipeat console</h1>
        <Loading lines={4} />
      </main>
    );
  return (
    <Session.Provider value={session}>
      <Shell />
    </Session.Provider>
  );
}

startRouter();
render(<App />, document.getElementById("app"));
