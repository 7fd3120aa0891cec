// Pages by path below /console, with the browser's history.
import { useEffect, useState } from "preact/hooks";

const BASE = "/console";
const listeners = new Set();

/** "/console/topics/a%20b?x=1" -> { parts: ["topics", "a b"], query } */
export function here() {
  const parts = location.pathname
    .slice(BASE.length)
    .split("/")
    .filter(Boolean)
    .map((part) => {
      try {
        return decodeURIComponent(part);
      } catch {
        return part;
      }
    });
  return { parts, query: new URLSearchParams(location.search), search: location.search };
}

function changed() {
  for (const listener of listeners) listener(here());
}

/** The address of a page: href("topics", name), href(["chains"], { state: "parked" }). */
export function href(...parts) {
  return [BASE, ...parts.map(encodeURIComponent)].join("/");
}

export function go(target, { replace = false } = {}) {
  history[replace ? "replaceState" : "pushState"](null, "", target);
  if (!replace) {
    window.scrollTo(0, 0);
    document.getElementById("main")?.focus({ preventScroll: true });
  }
  changed();
}

function ours(link) {
  return (
    link &&
    link.origin === location.origin &&
    !link.target &&
    !link.download &&
    (link.pathname === BASE || link.pathname.startsWith(BASE + "/")) &&
    !/^\/console\/(api|sign-in|sign-out)\b/.test(link.pathname)
  );
}

export function startRouter() {
  window.addEventListener("popstate", changed);
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a[href]");
    const plain =
      !event.defaultPrevented &&
      event.button === 0 &&
      !(event.metaKey || event.ctrlKey || event.shiftKey || event.altKey);
    if (plain && ours(link) && link.getAttribute("href")[0] !== "#") {
      event.preventDefault();
      go(link.pathname + link.search);
    }
  });
}

export function useHere() {
  const [place, set] = useState(here);
  useEffect(() => {
    listeners.add(set);
    return () => listeners.delete(set);
  }, []);
  return place;
}
