// The page: which application, what of it, and the newest of that every two seconds.

import { age, draw, h, now, setNow, span } from "./dom.js";
import { source, views } from "./detail.js";
import { ofRun, view as operationView } from "./operation.js";
import { overview } from "./overview.js";

const PACE_MS = 2000;
const FIRST_MS = 500;
const RETRY_MS = 5000;
// An application that does not answer by then is not waited for: another one may have the run.
const ANSWER_MS = 4000;
// Of Kafka something is heard every few seconds, in a large fleet a little later.
const LATE_S = 30;

const asked = new URLSearchParams(location.search);
const run = asked.has("run") ? { dag: asked.get("dag") ?? "", run: asked.get("run") } : null;
const part = (id) => document.getElementById(id);

let connection = null;
// Connections one of which has the run that is looked at; none where it is known which.
let candidates = [];
let mayAct = false;
let skip = 0;
let timer = 0;
let turn = 0;
let heardMs = 0;
let isAway = false;
let away = null;

// -- light or dark: as Airflow has it, where this is a frame of its ----------------------------

function theme() {
  const chosen = window.parent === window ? null : localStorage.getItem("theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
  else delete document.documentElement.dataset.theme;
}
theme();
window.addEventListener("storage", theme);

// -- asking ------------------------------------------------------------------------------------

class Refused extends Error {
  constructor(status, told) {
    super(told.message ?? told.detail ?? `the server answers ${status}`);
    this.status = status;
    this.hint = told.hint ?? "";
  }
}

const known = new Map();

/** The newest answer; the one that is here where nothing has changed. With a `signal` it is about
    another connection than the one that is shown. */
async function ask(path, signal) {
  const before = known.get(path);
  const headers = before ? { "If-None-Match": before.etag } : {};
  const response = await fetch(path, { headers, signal, cache: "no-store", credentials: "same-origin" });
  if (response.headers.has("X-Streamer-Now")) setNow(Number(response.headers.get("X-Streamer-Now")));
  if (!signal && response.headers.has("X-Streamer-Heard")) heardMs = Number(response.headers.get("X-Streamer-Heard"));
  if (response.status === 304) return before.told;
  const told = await response.json().catch(() => ({}));
  if (!response.ok) throw new Refused(response.status, told);
  const etag = response.headers.get("ETag");
  if (etag) known.set(path, { etag, told });
  if (known.size > 20) known.delete(known.keys().next().value);
  return told;
}

async function act(operation, why) {
  const path = `api/${encodeURIComponent(connection)}/operation/${encodeURIComponent(operation)}/cancel`;
  try {
    const response = await fetch(path, {
      method: "POST", credentials: "same-origin",
      headers: { "Content-Type": "application/json", "X-Streamer-Action": "cancel" },
      body: JSON.stringify({ why }),
    });
    const told = await response.json().catch(() => ({}));
    if (!response.ok) throw new Refused(response.status, told);
    say(told.state === "cancelled" ? `Operation ${operation} is cancelled.` : `Operation ${operation} is asked to stop, and takes back what it did.`);
  } catch (error) {
    say(`Operation ${operation} is not cancelled: ${error.message}. ${error.hint ?? ""}`);
  }
  look();
}

function say(text) {
  part("said").textContent = text;
  setTimeout(() => { if (part("said").textContent === text) part("said").textContent = ""; }, 15000);
}

// -- what is looked at -------------------------------------------------------------------------

/** `#operation=trim-1` as ["operation", "trim-1"]; nothing for the whole. */
function place() {
  const [found] = new URLSearchParams(location.hash.slice(1));
  return found ?? [null, null];
}

function crumbs(kind, name) {
  return h("p", { class: "crumbs" }, h("a", { href: "#", "data-key": "all" }, "All of the application"), ` / ${kind} ${name}`);
}

async function look() {
  clearTimeout(timer);
  const mine = ++turn;
  let pause = PACE_MS;
  try {
    pause = await show(() => mine === turn);
  } catch (error) {
    if (mine !== turn) return;
    pause = RETRY_MS;
    complain(error);
  }
  if (mine === turn && !document.hidden) timer = setTimeout(look, pause);
}

async function show(isMine) {
  if (connection === null) {
    await choose();
    if (connection === null) return RETRY_MS;
  }
  const [kind, name] = place();
  if (candidates.length && kind === null) await seek(isMine);
  if (!isMine()) return PACE_MS;
  const wanted = kind === null ? "state" : source(kind, name, skip);
  if (wanted === null) {
    location.hash = "";
    return FIRST_MS;
  }
  let told;
  try {
    told = await ask(`api/${encodeURIComponent(connection)}/${wanted}`);
  } catch (error) {
    if (!(error instanceof Refused) || error.status !== 404) throw error;
    told = { missing: error.message, hint: error.hint, trouble: away };
  }
  if (!isMine()) return PACE_MS;
  away = told.trouble ?? null;
  trouble(away);
  if (!told.is_read && !told.missing) return away ? PACE_MS : FIRST_MS;
  part("overview").hidden = kind !== null;
  part("detail").hidden = kind === null;
  if (kind === null) overview(told, run);
  else detail(kind, name, told);
  return PACE_MS;
}

function detail(kind, name, told) {
  const { trouble: _trouble, ...rest } = told;
  const skipTo = (to) => { skip = to; look(); };
  draw(part("detail"), [connection, kind, name, rest, mayAct], () => [
    crumbs(kind, name),
    told.missing
      ? h("p", { class: "none" }, `${told.missing}${told.hint ? `: ${told.hint}` : ""}`)
      : kind === "operation"
        ? operationView(told.operation, mayAct ? act : null)
        : views[kind](told, skipTo),
  ]);
}

function choice(one, all) {
  connection = one;
  const none = one === null && h("option", { value: "", selected: true }, "choose");
  const options = all.map((each) => h("option", { value: each, selected: each === one }, each));
  draw(part("connection"), [one, all], () => [none, options]);
}

/** DAGs of this repository carry the name of their connection, but for those of streamer_default. */
function own(all) {
  const fits = all.filter((one) => run?.dag.endsWith(`__${one}`));
  return fits.sort((one, other) => other.length - one.length)[0] ?? null;
}

/** The run of any other DAG does not say which application it is about: the one that has its
    operations. All are asked together, again and again until one has; meanwhile one is shown that
    answers. */
async function seek(isMine) {
  const all = candidates;
  const answer = [];
  const looks = all.map(async (one) => {
    const told = await ask(`api/${encodeURIComponent(one)}/state`, AbortSignal.timeout(ANSWER_MS));
    if (!told.is_read) throw new Error(one);
    answer.push(one);
    if (!ofRun(told.operations, run).length) throw new Error(one);
    return one;
  });
  const found = await Promise.any(looks).catch(() => null);
  if (!isMine()) return;
  if (found !== null) candidates = [];
  const shown = found ?? (answer.includes(connection) ? null : answer[0]);
  if (shown) choice(shown, all);
}

async function choose() {
  const told = await ask("api/connections");
  mayAct = told.may_act;
  const wanted = asked.get("connection") || own(told.connections);
  const isThere = !wanted || told.connections.includes(wanted);
  choice(isThere ? wanted || (told.connections[0] ?? null) : null, told.connections);
  candidates = run === null || wanted || told.connections.length < 2 ? [] : told.connections;
  if (connection === null) {
    complain(new Refused(404, {
      message: isThere ? "there is no connection of the type Streamer yet" : `there is no connection ${wanted} of the type Streamer`,
      hint: "make one in Airflow under Admin, Connections: bootstrap servers and the id of the application",
    }));
  }
}

// -- what is wrong with looking itself ---------------------------------------------------------

function trouble(told) {
  isAway = Boolean(told);
  draw(part("trouble"), [told ?? null, heardMs > 0], () =>
    told && [h("b", {}, heardMs ? "What is shown is old: " : "Nothing is known yet: "), `${told.message}, `, age(told.since_ms, "since "), ". ", h("span", { class: "soft" }, told.hint)]);
  part("trouble").hidden = !told;
  heard();
}

function complain(error) {
  isAway = true;
  const isLogin = error instanceof Refused && error.status === 401;
  draw(part("trouble"), [error.message, error.hint ?? ""], () => [
    h("b", {}, isLogin ? "You are not logged in any more: " : "What is shown may be old: "),
    isLogin ? h("a", { href: "../", target: "_top" }, "log in to Airflow") : `${error.message}. `,
    h("span", { class: "soft" }, error.hint ?? ""),
  ]);
  part("trouble").hidden = false;
  heard();
}

function heard() {
  const ageS = heardMs ? (now() - heardMs) / 1000 : 0;
  const text = heardMs ? `heard ${span(ageS)} ago` : "reading";
  part("heard").classList.toggle("is-late", isAway || ageS > LATE_S);
  // Read aloud only when it matters.
  part("heard").setAttribute("aria-live", isAway ? "polite" : "off");
  if (part("heard").textContent !== text) part("heard").textContent = text;
}
setInterval(heard, 1000);

// -- what people do ----------------------------------------------------------------------------

part("connection").addEventListener("change", (event) => {
  const address = new URL(location.href);
  address.searchParams.set("connection", event.target.value);
  address.hash = "";
  location.assign(address);
});
window.addEventListener("hashchange", () => {
  skip = 0;
  window.scrollTo(0, 0);
  part("content").focus({ preventScroll: true });
  look();
});
document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });
look();
