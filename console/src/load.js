// What a page asks of the API: loaded when its path changes, kept while it is loaded again.
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { call } from "./api.js";

/** { data, error, loading, reload }; `everyMs` asks again while the tab is seen. A path of null asks nothing. */
export function useLoad(path, everyMs) {
  const [state, set] = useState({ path, data: null, error: null, loading: path !== null });
  const under = useRef(null);
  const reload = useCallback(async () => {
    under.current?.abort();
    if (path === null) return;
    const abort = new AbortController();
    under.current = abort;
    set((old) => ({ path, data: old.path === path ? old.data : null, error: null, loading: true }));
    try {
      const data = await call(path, { signal: abort.signal });
      if (!abort.signal.aborted) set({ path, data, error: null, loading: false });
    } catch (error) {
      if (abort.signal.aborted) return;
      set((old) => ({ path, data: old.path === path ? old.data : null, error, loading: false }));
    }
  }, [path]);
  useEffect(() => {
    reload();
    const timer = everyMs && setInterval(() => document.hidden || reload(), everyMs);
    return () => {
      clearInterval(timer);
      under.current?.abort();
    };
  }, [reload, everyMs]);
  return { ...state, data: state.path === path ? state.data : null, reload };
}
