// Elements, numbers and times. All text goes in as text: names come from Kafka.

const SVG = "http://www.w3.org/2000/svg";

/** h("a", {href: "#", class: "x"}, "text", child): children that are null or false are left out. */
export function h(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

export function svg(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(Infinity).filter((one) => one !== null && one !== undefined && one !== false));
  return element;
}

const drawn = new WeakMap();

/** Draw a part anew where what it shows has changed; the focus stays where it was. */
export function draw(place, told, make) {
  const text = JSON.stringify(told);
  if (drawn.get(place) === text) return;
  drawn.set(place, text);
  const key = place.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
  const open = new Set([...place.querySelectorAll("details[open]")].map((one) => one.dataset.key));
  const typed = new Map([...place.querySelectorAll("input")].map((one) => [one.dataset.key, one.value]));
  place.replaceChildren(...[make()].flat(Infinity).filter(Boolean));
  for (const one of place.querySelectorAll("details")) if (open.has(one.dataset.key)) one.open = true;
  for (const one of place.querySelectorAll("input")) if (typed.get(one.dataset.key)) one.value = typed.get(one.dataset.key);
  if (key) [...place.querySelectorAll("[data-key]")].find((one) => one.dataset.key === key)?.focus({ preventScroll: true });
}

export const link = (kind, name, text = name) =>
  h("a", { href: `#${kind}=${encodeURIComponent(name)}`, "data-key": `${kind}=${name}` }, text);

export const count = (value) => Number(value ?? 0).toLocaleString("en");

export function size(bytes) {
  if (bytes === undefined || bytes === null || bytes < 0) return "not known";
  let value = bytes;
  for (const unit of ["B", "KiB", "MiB", "GiB"]) {
    if (value < 1024) return unit === "B" ? `${value} B` : `${value.toFixed(1)} ${unit}`;
    value /= 1024;
  }
  return `${value.toFixed(1)} TiB`;
}

export function span(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  if (whole < 172800) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(whole / 86400)} days`;
}

export const lag = (records) => (records === undefined || records === null || records < 0 ? "not known" : count(records));

// -- times: the server's clock, told with each answer ------------------------------------------

let ahead = 0;

export function setNow(serverMs) {
  ahead = serverMs - Date.now();
}

export const now = () => Date.now() + ahead;

/** "3 min 2 s ago", which goes on by itself. */
export function age(ms, before = "") {
  if (!ms) return h("span", {}, `${before}never`);
  const at = new Date(ms).toISOString().replace(".000Z", "Z");
  return h("time", { datetime: at, title: at, "data-ms": ms, "data-before": before }, words(ms, before));
}

const words = (ms, before) => `${before}${span((now() - ms) / 1000)} ago`;

setInterval(() => {
  for (const one of document.querySelectorAll("time[data-ms]")) {
    const text = words(Number(one.dataset.ms), one.dataset.before ?? "");
    if (one.textContent !== text) one.textContent = text;
  }
}, 1000);

// -- tables ------------------------------------------------------------------------------------

/** Columns are [heading, cell of a row, "number" or "long"]. */
export function table(caption, columns, rows) {
  if (!rows.length) return h("p", { class: "none" }, `${caption}: none`);
  return h("div", { class: "wide" },
    h("table", {},
      h("caption", {}, caption),
      h("thead", {}, h("tr", {}, columns.map(([head, , kind]) => h("th", { scope: "col", class: kind }, head)))),
      h("tbody", {}, rows.map((row) =>
        h("tr", {}, columns.map(([, cell, kind]) => h("td", { class: kind }, cell(row))))))));
}

export function head(id, title, ...more) {
  return h("div", { class: "head" }, h("h2", { id: `${id}-head` }, title), more);
}
