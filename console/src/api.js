// The console's API: requests with the session's token, failures as Problem.
const BASE = "/console/api/";
let csrf = null;

export class Problem extends Error {
  constructor(status, body) {
    super(body.detail || body.title || `the answer has the status ${status}`);
    this.status = status;
    this.code = body.code;
  }
}

/** A path with its parts encoded: at`topics/${name}`. */
export function at(texts, ...parts) {
  return texts.reduce((path, text, i) => path + encodeURIComponent(parts[i - 1]) + text);
}

/** A query of what is neither null nor empty; a list gives its name several times. */
export function query(fields) {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(fields)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== null && one !== undefined && one !== "" && one !== false) {
        search.append(name, one === true ? "1" : one);
      }
    }
  }
  const text = search.toString();
  return text ? `?${text}` : "";
}

export function signIn() {
  const here = location.pathname + location.search;
  location.assign(`/console/sign-in?next=${encodeURIComponent(here)}`);
}

async function bodyOf(answer) {
  const text = await answer.text();
  try {
    return text ? JSON.parse(text) : {};
  } catch {
    return { detail: text.slice(0, 300) };
  }
}

/** What the API answers; throws a Problem. Without a session the browser goes to the sign-in page. */
export async function call(path, { method = "GET", body, signal } = {}) {
  const headers = { accept: "application/json" };
  if (method !== "GET" && csrf) headers["x-csrf-token"] = csrf;
  if (body !== undefined) headers["content-type"] = "application/json";
  let answer;
  try {
    answer = await fetch(BASE + path, {
      method,
      headers,
      signal,
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, { detail: "The program does not answer. Is it running?", code: "OFFLINE" });
  }
  const result = await bodyOf(answer);
  if (answer.ok) return result;
  if (answer.status === 401) signIn();
  throw new Problem(answer.status, result);
}

export const post = (path, body) => call(path, { method: "POST", body });

/** Who is signed in; from then on changes carry the session's token. */
export async function loadSession() {
  const session = await call("session");
  csrf = session.csrf;
  return session;
}

export async function signOut() {
  await fetch("/console/sign-out", { method: "POST", headers: csrf ? { "x-csrf-token": csrf } : {} });
  location.assign("/console/sign-in");
}

function dispatch(block, handlers) {
  let name = "message";
  const data = [];
  for (const line of block.split("\n")) {
    if (line.startsWith("event:")) name = line.slice(6).trim();
    else if (line.startsWith("data:")) data.push(line.slice(5).replace(/^ /, ""));
  }
  if (data.length) handlers[name]?.(JSON.parse(data.join("\n")));
  return name === "done";
}

async function read(path, handlers, signal) {
  const answer = await fetch(BASE + path, { signal, headers: { accept: "text/event-stream" } });
  if (answer.status === 401) signIn();
  if (!answer.ok) throw new Problem(answer.status, await bodyOf(answer));
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let ended = false;
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) ended = dispatch(block, handlers) || ended;
  }
  if (!ended) handlers.ended?.();
}

/**
 * A stream of named events that is read once: handlers by name get the parsed data. `problem` also gets what keeps
 * it from beginning or breaks it, `ended` is called when it ends without `done`. Gives a function that stops it.
 */
export function stream(path, handlers) {
  const abort = new AbortController();
  read(path, handlers, abort.signal).catch((error) => {
    if (abort.signal.aborted) return;
    const broken = { code: "OFFLINE", detail: "The program does not answer any more." };
    handlers.problem(error instanceof Problem ? { code: error.code, detail: error.message } : broken);
  });
  return () => abort.abort();
}
