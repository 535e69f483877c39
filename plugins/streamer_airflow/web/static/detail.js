// One thing by itself: a zone, a worker, a task, a store.

import { age, count, h, head, lag, link, size, table } from "./dom.js";
import { facts, key, worker, workerStrip, workerTable, zoneName, zoneTable } from "./map.js";

const enc = encodeURIComponent;

/** Where the data of what the address names is; null for what is no such thing. */
export function source(kind, name, skip) {
  if (kind === "zone") return `zone?zone=${enc(name)}&skip=${skip}`;
  if (kind === "store") return `store/${enc(name)}?skip=${skip}`;
  return ["worker", "task", "operation"].includes(kind) ? `${kind}/${enc(name)}` : null;
}

function pager(told, skipTo) {
  const step = 100;
  if (!told.skip && !told.left) return null;
  return h("p", { class: "head" },
    h("button", { "data-key": "back", disabled: told.skip === 0, onclick: () => skipTo(Math.max(told.skip - step, 0)) }, "Previous"),
    h("span", {}, `${count(told.skip + 1)} to ${count(told.skip + told.rows.length)} of ${count(told.total)}`),
    h("button", { "data-key": "on", disabled: told.left === 0, onclick: () => skipTo(told.skip + step) }, "Next"));
}

/** Of the page's own list, those in trouble come first. */
function zone(told, skipTo) {
  const letters = told.rows.map((row) => row.cells ?? "").join("");
  const cards = told.rows.length <= 24;
  return [
    head("zone", `Zone ${zoneName(told.zone)}`, h("span", { class: "soft" }, `${count(told.total)} workers`)),
    told.zones.length > 0 && zoneTable(told.zones),
    letters && cards && key(letters),
    cards
      ? h("div", { class: "zones" }, told.rows.map((row) => h("div", { class: "card" }, worker(row))))
      : [workerStrip(told.rows.map((row) => row.letter).join(""), "workers below"), workerTable(told.rows)],
    pager(told, skipTo),
  ];
}

const copyColumns = [
  ["is", (row) => [row.role, row.is_moving ? ", about to move" : ""].join("")],
  ["lag, records", (row) => lag(row.lag_records), "number"],
  ["left to restore", (row) => count(row.restore_left_records), "number"],
  ["records/s", (row) => count(row.rate), "number"],
  ["state", (row) => size(row.bytes ?? 0), "number"],
  ["snapshot under way", (row) => row.chore ?? "", "long"],
];

function oneWorker(told) {
  const row = told.worker;
  return [
    head("worker", `Worker ${row.worker}`,
      h("span", { class: row.letter === "x" ? "state bad" : "state good" }, row.letter === "x" ? "is gone" : "lives"),
      row.is_controller && h("span", { class: "state quiet" }, "controller")),
    h("div", { class: "card" },
      facts(row.totals),
      h("dl", { class: "about" }, [
        ["zone", link("zone", row.zone, zoneName(row.zone))], ["host", row.host], ["address", row.address],
        ["capacity", row.totals.capacity && count(row.totals.capacity)], ["heard", age(row.heard_ms)],
        ["is given nothing", row.idle],
      ].filter(([, value]) => value).map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]))),
    table("Its tasks and copies", [["task", (one) => link("task", one.task)], ...copyColumns], told.tasks),
  ];
}

function snapshotFacts(snapshot, lookedMs) {
  if (!snapshot?.count) return h("p", { class: "soft" }, lookedMs ? ["No snapshot of it is known, ", age(lookedMs, "looked at ")] : "Snapshots are being looked at.");
  return h("dl", { class: "about" }, [
    ["newest snapshot", h("code", {}, snapshot.stem)], ["made", [age(snapshot.created_ms), ` by ${snapshot.by}`]],
    ["size", `${size(snapshot.bytes ?? 0)} in ${count(snapshot.files)} files`],
    ["verified", snapshot.level || "no"], ["snapshots", count(snapshot.count)], ["looked at", age(lookedMs)],
  ].map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
}

function oneTask(told) {
  const info = told.task;
  return [
    head("task", `Task ${info.task}`, h("span", { class: "soft" }, info.state)),
    table("Its copies", [
      ["worker", (row) => link("worker", row.worker)],
      ["zone", (row) => zoneName(row.zone)],
      ...copyColumns,
    ], told.copies),
    h("div", { class: "two" },
      h("div", { class: "card" }, h("h3", {}, "Snapshots"), snapshotFacts(told.snapshot, told.looked_ms)),
      h("div", { class: "card" }, h("h3", {}, "Read up to"),
        h("dl", { class: "about" }, Object.entries(info.positions ?? {}).map(([place, at]) => [h("dt", {}, place), h("dd", {}, count(at))])))),
  ];
}

function oneStore(told, skipTo) {
  const row = told.store;
  return [
    head("store", `Store ${row.store}`, h("span", { class: "soft" }, age(told.looked_ms, "looked at "))),
    h("div", { class: "card" }, h("dl", { class: "about" }, [
      ["kind", row.kind], ["changelog", row.topic], ["partitions", count(row.partitions)],
      ["records", count(row.records)], ["about", size(row.bytes)], ["repository", told.repository || "none is set"],
      ["trouble", row.trouble],
    ].filter(([, value]) => value).map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]))),
    table("Its tasks, those with the oldest snapshot first", [
      ["task", (one) => link("task", one.task)],
      ["worker", (one) => link("worker", one.worker)],
      ["is", (one) => one.state],
      ["state of the task", (one) => size(one.bytes), "number"],
      ["changelog on disk up to", (one) => count(one.position), "number"],
      ["newest snapshot", (one) => (one.snapshot?.count ? age(one.snapshot.created_ms) : "none")],
      ["size", (one) => (one.snapshot?.count ? size(one.snapshot.bytes ?? 0) : ""), "number"],
      ["verified", (one) => (one.snapshot?.count ? one.snapshot.level || "no" : "")],
      ["snapshots", (one) => count(one.snapshot?.count), "number"],
    ], told.rows),
    pager(told, skipTo),
  ];
}

export const views = { zone, worker: oneWorker, task: oneTask, store: oneStore };
