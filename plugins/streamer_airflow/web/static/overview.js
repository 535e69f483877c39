// The whole application: what is wrong comes first.

import { age, count, draw, h, head, lag, link, size, table } from "./dom.js";
import { zones } from "./map.js";
import { list } from "./operation.js";

let isTable = false;

function alarm(one) {
  const words = { alarm: "Alarm", warning: "Warning", note: "Note" };
  const [kind, name] = one.link ?? [];
  return h("li", { class: one.level },
    h("b", {}, words[one.level]),
    (one.count ?? 1) > 1 ? `${count(one.count)} ` : "",
    kind ? link(kind, name, one.what) : one.what,
    one.examples?.length > 0 && h("span", { class: "soft" }, `: ${one.examples.join(", ")}${one.count > one.examples.length ? ", ..." : ""}`),
    one.since_ms > 0 && [" ", h("span", { class: "soft" }, age(one.since_ms, "since "))],
    one.todo && h("span", { class: "todo" }, one.todo));
}

function alarms(state) {
  if (!state.alarms.length) {
    return [head("alarms", "Violations and alarms"), h("p", { class: "well" }, "All is as it should be.")];
  }
  return [
    head("alarms", "Violations and alarms"),
    h("ul", { class: "alarms" }, state.alarms.map(alarm)),
    state.alarms_left > 0 && h("p", { class: "soft" }, `and ${count(state.alarms_left)} more`),
  ];
}

function tile(name, value, more, isBad) {
  return h("div", { class: isBad ? "is-bad" : null }, h("dt", {}, name), h("dd", {}, value, more && h("small", {}, more)));
}

function tiles(state) {
  const all = state.totals;
  const down = (all.tasks ?? 0) - (all.running ?? 0);
  const stores = state.stores;
  return h("dl", { class: "tiles" },
    tile("workers live", count(all.alive), `of ${count(all.workers)}, in ${count(state.zones.length + state.zones_left)} zones`, all.alive !== all.workers),
    tile("tasks running", count(all.running), down > 0 ? `${count(down)} of ${count(all.tasks)} do not run` : `of ${count(all.tasks)}`, down > 0),
    tile("lag, records", lag(all.lag_records ?? 0), all.unknown ? `${count(all.unknown)} tasks not known` : "of what is to be read"),
    tile("records/s", count(all.rate), all.restore_left_records ? `${count(all.restore_left_records)} left to restore` : "processed of late"),
    tile("copies", count(all.standby), `${count(all.warming)} warming, ${count(all.bare)} tasks without a warm one`, all.failed_copies > 0),
    tile("state on disks", size((all.active_bytes ?? 0) + (all.copy_bytes ?? 0)), `${size(all.active_bytes ?? 0)} of it active`),
    stores?.repository && tile("tasks with a snapshot", count(stores.with_snapshot), stores.oldest_ms ? age(stores.oldest_ms, "the oldest newest ") : "of their state"),
    tile("moves", count(state.moves?.left), state.moves?.waiting ? `${count(state.moves.waiting)} copies wait` : "to be made"));
}

function map(state, redraw) {
  const button = (text, value) => h("button", {
    "data-key": `as ${text}`, "aria-pressed": String(isTable === value),
    onclick: () => { isTable = value; redraw(); },
  }, text);
  return [
    head("map", "Zones and workers", button("Map", false), button("Table", true)),
    zones(state, isTable),
    state.zones_left > 0 && h("p", { class: "soft" }, `and ${count(state.zones_left)} zones more, which have less trouble`),
  ];
}

function stores(state) {
  const told = state.stores;
  if (!told) return [head("stores", "Stores and snapshots"), h("p", { class: "none" }, "Changelogs and snapshots are being looked at.")];
  const snapshots = !told.repository
    ? "No repository is set in the connection, so nothing is known of snapshots."
    : `${told.repository}: ${count(told.with_snapshot)} of ${count(told.tasks)} tasks have a snapshot, ${count(told.snapshots)} snapshots;`
      + ` the newest of each have ${size(told.snapshot_bytes)}, ${count(told.verified)} are verified.`
      + (told.is_complete ? "" : " Not all tasks were looked at yet.");
  return [
    head("stores", "Stores and snapshots", h("span", { class: "soft" }, age(told.looked_ms, "looked at "))),
    table("Stores with their changelogs", [
      ["store", (row) => link("store", row.store)],
      ["kind", (row) => row.kind ?? ""],
      ["changelog", (row) => [row.topic, row.trouble && h("span", { class: "bad" }, ` ${row.trouble}`)], "long"],
      ["partitions", (row) => count(row.partitions), "number"],
      ["records", (row) => count(row.records), "number"],
      ["about", (row) => size(row.bytes), "number"],
    ], told.rows),
    h("p", { class: "soft" }, snapshots),
    told.newest_ms > 0 && h("p", { class: "soft" }, age(told.newest_ms, "the newest snapshot "), ", ", age(told.oldest_ms, "the oldest newest of a task ")),
    told.trouble && h("p", { class: "bad" }, told.trouble),
  ];
}

function moves(state) {
  const told = state.moves;
  if (!told || (!told.left && !told.away.length && !told.draining.length)) return [];
  return [
    head("moves", "What is being moved", h("span", { class: "soft" }, `${count(told.left)} moves left, ${count(told.building)} copies built at present, ${count(told.waiting)} wait${told.why ? `; ${told.why}` : ""}`)),
    told.away.length > 0 && h("p", {}, `waited for: ${told.away.join(", ")}`),
    told.draining.length > 0 && h("p", {}, `drained: ${told.draining.join(", ")}`),
    told.moves.length > 0 && table("The first moves", [
      ["task", (row) => link("task", row.task)],
      ["kind", (row) => row.kind],
      ["from", (row) => row.source && link("worker", row.source)],
      ["to", (row) => row.target && link("worker", row.target)],
      ["left, records", (row) => lag(row.left), "number"],
      ["state", (row) => size(row.bytes ?? 0), "number"],
      ["why", (row) => row.why ?? "", "long"],
    ], told.moves),
  ];
}

function slowest(state) {
  if (!state.slowest.length) return [];
  return [
    head("slowest", "Furthest behind"),
    table("Tasks with the largest lag", [
      ["task", (row) => link("task", row.task)],
      ["worker", (row) => row.worker && link("worker", row.worker)],
      ["zone", (row) => row.zone ?? ""],
      ["lag, records", (row) => lag(row.lag_records), "number"],
    ], state.slowest),
  ];
}

/** Draw what has changed of it. `run` is the run of a DAG whose operations are asked for. */
export function overview(state, run) {
  const part = (name) => document.getElementById(name);
  for (const name of ["alarms", "totals", "map", "stores", "moves", "slowest"]) part(name).hidden = run !== null;
  draw(part("operations"), [state.operations, run], () => list(state.operations, run));
  if (run !== null) return;
  draw(part("alarms"), [state.alarms, state.alarms_left], () => alarms(state));
  draw(part("totals"), [state.totals, state.zones.length, state.stores, state.moves], () => tiles(state));
  const redraw = () => draw(part("map"), [state.zones, state.workers, isTable], () => map(state, redraw));
  redraw();
  draw(part("stores"), state.stores ?? null, () => stores(state));
  draw(part("moves"), state.moves ?? null, () => moves(state));
  draw(part("slowest"), state.slowest, () => slowest(state));
}
