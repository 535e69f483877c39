// Zones and workers: a card for each zone. Few workers are drawn with their tasks, many as squares.

import { age, count, h, lag, link, size, svg, table } from "./dom.js";

const CELLS = {
  A: "runs", R: "is being restored", C: "is being closed", F: "has failed",
  s: "standby, warm", w: "standby, warming", f: "standby, has failed",
};
const WORKERS = {
  o: "well", i: "has nothing", w: "builds copies", r: "restores", f: "has a failed task", x: "is gone",
};

export const zoneName = (zone) => zone || "no zone";

export function key(letters) {
  const shown = Object.entries(CELLS).filter(([letter]) => letters.includes(letter));
  return h("ul", { class: "key", "aria-label": "Key" },
    shown.map(([letter, text]) => h("li", {}, h("i", { class: letter }, "0_1"), ` ${text}`)));
}

function plural(number, noun) {
  return `${count(number)} ${noun}${number === 1 ? "" : "s"}`;
}

/** What sums say, worth a line: nothing is told of what is not there. */
export function facts(totals) {
  const told = [
    totals.running && `${count(totals.running)} active`,
    totals.restoring && `${count(totals.restoring)} restored`,
    totals.failed && `${count(totals.failed)} failed`,
    totals.standby && `${count(totals.standby)} standby`,
    totals.warming && `${count(totals.warming)} warming`,
    totals.failed_copies && `${count(totals.failed_copies)} failed copies`,
    `lag ${lag(totals.lag_records ?? 0)}${totals.unknown ? ` and ${plural(totals.unknown, "task")} not known` : ""}`,
    `${size((totals.active_bytes ?? 0) + (totals.copy_bytes ?? 0))} on disk`,
    totals.rate && `${count(totals.rate)} records/s`,
  ];
  return h("p", { class: "facts" }, told.filter(Boolean).map((text) => h("span", {}, text)));
}

/** A square for each letter. What it says is in its label and in the tables. */
export function strip(letters, words, label) {
  const columns = Math.min(Math.max(letters.length, 12), 40);
  const rows = Math.max(Math.ceil(letters.length / columns), 1);
  const squares = [...letters].map((letter, at) =>
    svg("rect", {
      x: (at % columns) * 12 + 1, y: Math.floor(at / columns) * 12 + 1,
      width: 10, height: 10, rx: 2, class: letter,
    }));
  const counts = Object.entries(words)
    .map(([letter, text]) => [[...letters].filter((one) => one === letter).length, text])
    .filter(([number]) => number)
    .map(([number, text]) => `${number} ${text}`);
  return svg("svg", {
    class: "strip", viewBox: `0 0 ${columns * 12} ${rows * 12}`, role: "img",
    "aria-label": `${label}: ${counts.join(", ") || "none"}`,
  }, squares);
}

export const workerStrip = (letters, label) => strip(letters, WORKERS, label);

/** A worker with its tasks: each named where there are names, else a square. */
export function worker(row) {
  const totals = row.totals;
  const cells = row.names?.length
    ? h("ul", { class: "cells", "aria-label": `tasks of ${row.worker}` },
        row.names.map((name, at) => {
          const letter = row.cells[at];
          return h("li", {}, h("a", {
            class: letter, href: `#task=${encodeURIComponent(name)}`, "data-key": `${row.worker} ${name}`,
            title: `${name} ${CELLS[letter]}`, "aria-label": `${name} ${CELLS[letter]}`,
          }, name));
        }))
    : row.cells && strip(row.cells, CELLS, `tasks of ${row.worker}`);
  return h("div", { class: "worker" },
    h("div", { class: "head" },
      h("h3", {}, link("worker", row.worker)),
      row.is_controller && h("span", { class: "state quiet" }, "controller"),
      row.letter === "x" && h("span", { class: "state bad" }, "is gone"),
      h("span", { class: "soft" }, row.host ?? "")),
    cells,
    row.idle && h("p", { class: "facts" }, `is given nothing: ${row.idle}`),
    row.letter === "x" ? h("p", { class: "facts" }, age(row.heard_ms, "heard ")) : facts(totals));
}

function zoneCard(zone, workers) {
  const totals = zone.totals;
  return h("div", { class: "card zone" },
    h("div", { class: "head" },
      h("h3", {}, link("zone", zone.zone, zoneName(zone.zone))),
      h("span", { class: "soft" }, `${count(totals.alive)} of ${plural(totals.workers, "worker")} live`)),
    workers.length ? null : workerStrip(zone.letters, `workers of ${zoneName(zone.zone)}`),
    facts(totals),
    workers.map(worker));
}

const inside = (row, zone) => (row.zone ?? "") === zone || (zone !== "" && (row.zone ?? "").startsWith(`${zone},`));

/** Zones as cards, or as a table for those who would rather read. */
export function zones(told, isTable) {
  const workers = told.workers ?? [];
  if (isTable) return [zoneTable(told.zones), workers.length > 0 && workerTable(workers)];
  const letters = workers.map((row) => row.cells ?? "").join("");
  return [
    letters && key(letters),
    !workers.length && h("p", { class: "soft" }, "A square is a worker, blue where all is well. Choose a zone to see its workers."),
    h("div", { class: "zones" }, told.zones.map((zone) => zoneCard(zone, workers.filter((row) => inside(row, zone.zone))))),
  ];
}

const states = (totals) => [
  ["active", totals.running], ["restored", totals.restoring], ["failed", totals.failed],
].filter(([, number]) => number).map(([text, number]) => `${count(number)} ${text}`).join(", ") || "none";

const copies = (totals) => [
  ["standby", totals.standby], ["warming", totals.warming], ["failed", totals.failed_copies],
].filter(([, number]) => number).map(([text, number]) => `${count(number)} ${text}`).join(", ") || "none";

const sums = [
  ["tasks", (row) => states(row.totals)],
  ["copies", (row) => copies(row.totals)],
  ["lag, records", (row) => lag(row.totals.lag_records ?? 0), "number"],
  ["records/s", (row) => count(row.totals.rate), "number"],
  ["state", (row) => size((row.totals.active_bytes ?? 0) + (row.totals.copy_bytes ?? 0)), "number"],
];

export function zoneTable(rows) {
  return table("Zones", [
    ["zone", (row) => link("zone", row.zone, zoneName(row.zone))],
    ["workers live", (row) => `${count(row.totals.alive)} of ${count(row.totals.workers)}`, "number"],
    ...sums,
  ], rows);
}

export function workerTable(rows) {
  return table("Workers", [
    ["worker", (row) => link("worker", row.worker)],
    ["is", (row) => [WORKERS[row.letter], row.is_controller ? ", controller" : ""].join("")],
    ["zone", (row) => zoneName(row.zone)],
    ["host", (row) => row.host ?? ""],
    ...sums,
    ["heard", (row) => age(row.heard_ms)],
  ], rows);
}
