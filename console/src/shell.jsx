// What stands around every page: navigation, search, who is signed in.
import { useEffect, useRef, useState } from "preact/hooks";
import { signOut } from "./api.js";
import { useLive } from "./live.js";
import { pageOf } from "./pages.jsx";
import { go, href, useHere } from "./router.js";
import { useSession } from "./session.js";
import { Toasts } from "./ui/toast.jsx";

const CONNECTION = {
  live: ["good", "live"],
  connecting: ["warn", "connecting"],
  lost: ["bad", "not live: the connection is lost, trying again"],
};

function areas(features, role) {
  return [
    [null, [["", "Overview", true]]],
    [
      "Processing",
      [
        ["flows", "Flows", features.flows],
        ["chains", "Chains", features.chains],
        ["letters", "Dead letters", true],
        ["machines", "Machines", features.machines],
        ["scripts", "Scripts", features.scripts],
      ],
    ],
    [
      "Kafka",
      [
        ["topics", "Topics", true],
        ["groups", "Consumer groups", true],
        ["brokers", "Brokers", true],
      ],
    ],
    ["People", [["audit", "Audit", features.audit && role === "admin"]]],
  ];
}

function badges({ chains, letters, scripts }) {
  const waiting = (letters?.topics || []).reduce((sum, one) => sum + one.letters, 0);
  return {
    chains: [chains?.counts?.parked || 0, "parked"],
    letters: [waiting, "dead letters"],
    scripts: [scripts?.reload_error ? "!" : 0, "the last reload failed"],
  };
}

function Navigation({ at, close }) {
  const { features, user } = useSession();
  const marks = badges({
    chains: useLive("chains"),
    letters: useLive("letters"),
    scripts: useLive("scripts"),
  });
  return areas(features, user.role).map(([title, links]) => {
    const shown = links.filter(([, , there]) => there);
    return shown.length ? (
      <div class="nav-area" key={title}>
        {title ? <p class="nav-title">{title}</p> : null}
        <ul>
          {shown.map(([name, text]) => (
            <li key={name}>
              <a
                href={name ? href(name) : href()}
                aria-current={at === name ? "page" : undefined}
                onClick={close}
              >
                <span>{text}</span>
                {marks[name]?.[0] ? (
                  <span class="badge">
                    {marks[name][0]}
                    <span class="hidden"> {marks[name][1]}</span>
                  </span>
                ) : null}
              </a>
            </li>
          ))}
        </ul>
      </div>
    ) : null;
  });
}

function Search() {
  const { query, parts } = useHere();
  const box = useRef(null);
  const given = parts[0] === "search" ? query.get("q") || "" : "";
  useEffect(() => {
    box.current.value = given;
  }, [given]);
  useEffect(() => {
    const key = (event) => {
      const inside =
        /^(input|textarea|select)$/i.test(event.target.tagName) || event.target.isContentEditable;
      if (event.key === "/" && !inside && !event.ctrlKey && !event.metaKey && !event.altKey) {
        event.preventDefault();
        box.current.focus();
        box.current.select();
      } else if (event.key === "Escape" && event.target === box.current) {
        box.current.blur();
      }
    };
    document.addEventListener("keydown", key);
    return () => document.removeEventListener("keydown", key);
  }, []);
  const submit = (event) => {
    event.preventDefault();
    const text = box.current.value.trim();
    if (text) go(`${href("search")}?q=${encodeURIComponent(text)}`);
  };
  return (
    <form class="search" role="search" onSubmit={submit}>
      <input
        ref={box}
        type="search"
        name="q"
        aria-label="Search for an id everywhere"
        placeholder="Search for an id"
        aria-keyshortcuts="/"
        autocomplete="off"
        spellcheck={false}
      />
      <kbd aria-hidden="true">/</kbd>
    </form>
  );
}

const Mark = () => (
  <svg class="mark" viewBox="0 0 32 32" aria-hidden="true">
    <path class="mark-straw" d="M16 9 19 2h5" />
    <path class="mark-cup" d="M6 9h20l-2.4 19a2.5 2.5 0 0 1-2.5 2.2H10.9a2.5 2.5 0 0 1-2.5-2.2z" />
    <path class="mark-band" d="M7.3 16h17.4l-.9 7H8.200z" />
  </svg>
);

function Connection() {
  const [tone, text] = CONNECTION[useLive("connection")] || CONNECTION.connecting;
  return (
    <span class={`connection ${tone}`} title={text}>
      <span class="dot" aria-hidden="true" />
      <span class="connection-text">{text}</span>
    </span>
  );
}

function Who() {
  const { user, program, cluster } = useSession();
  return (
    <div class="who">
      <p class="who-name">
        {user.name} <span class="chip">{user.role}</span>
      </p>
      <p class="dim">
        {cluster.brokers}
        {cluster.embedded ? ", embedded" : ""}
      </p>
      <p class="dim">
        sipeat {program.version}
        {program.mode === "run" ? "" : `, ${program.mode}`}
      </p>
      {user.via === "session" ? (
        <button type="button" class="button small" onClick={signOut}>
          Sign out
        </button>
      ) : null}
    </div>
  );
}

export function Shell() {
  const place = useHere();
  const [menu, set] = useState(false);
  const close = () => set(false);
  useEffect(() => {
    const key = (event) => event.key === "Escape" && set(false);
    document.addEventListener("keydown", key);
    return () => document.removeEventListener("keydown", key);
  }, []);
  const { page: Page, props } = pageOf(place);
  return (
    <div class={`shell ${menu ? "menu-open" : ""}`}>
      <a class="skip" href="#main">
        Skip to the page
      </a>
      <header class="top">
        <button
          type="button"
          class="menu-button"
          aria-expanded={menu}
          aria-controls="menu"
          aria-label="Menu"
          onClick={() => set(!menu)}
        >
          <span aria-hidden="true">{menu ? "×" : "☰"}</span>
        </button>
        <a class="brand" href={href()}>
          <Mark />
          <span class="brand-name">
            sipeat <span class="dim">console</span>
          </span>
        </a>
        <Search />
        <Connection />
      </header>
      <nav class="side" id="menu" aria-label="Areas">
        <Navigation at={place.parts[0] || ""} close={close} />
        <Who />
      </nav>
      <main id="main" tabIndex={-1}>
        <Page key={place.parts.join("/")} {...props} />
      </main>
      <Toasts />
    </div>
  );
}
