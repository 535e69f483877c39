// Operations: where each stands, how far it is, and what to do where it stands still.

import { age, count, h, head, link, size, span } from "./dom.js";

const CARDS = 5;
const KIND = { done: "good", failed: "bad", cancelled: "quiet", planned: "quiet", paused: "quiet", waiting: "quiet", undone: "quiet" };

function badge(state) {
  const kind = state.endsWith("by nobody") ? "bad" : KIND[state] ?? "busy";
  return h("span", { class: `state ${kind}` }, state);
}

/** "1.2 GiB of 4.0 GiB (30 %), 85.2 MiB/s, 33 s left" */
export function words(progress) {
  const told = [];
  if (progress.of) told.push(`phase ${progress.number} of ${progress.of} ${progress.phase ?? ""}`.trim());
  else if (progress.phase) told.push(progress.phase);
  const amounts = [
    [progress.bytes_done, progress.bytes_total, progress.bytes_per_s, size],
    [progress.records_done, progress.records_total, progress.records_per_s, (number) => `${count(number)} records`],
  ];
  for (const [done = 0, total = 0, rate = 0, shown] of amounts) {
    if (done || total) told.push(shown(done) + (total ? ` of ${shown(total)} (${Math.floor((Math.min(done, total) * 100) / total)} %)` : ""));
    if (rate > 0) told.push(`${shown(rate)}/s`);
  }
  if ((progress.eta_s ?? -1) >= 0) told.push(`${span(progress.eta_s)} left`);
  if (progress.held_by) told.push(`waits for ${progress.held_by}`);
  return told.join(", ");
}

function bar(label, progress) {
  const [done, total] = progress.bytes_total
    ? [progress.bytes_done ?? 0, progress.bytes_total]
    : [progress.records_done ?? 0, progress.records_total ?? 0];
  return h("progress", { "aria-label": label, max: 1, value: total ? Math.min(done / total, 1) : null });
}

function how(one) {
  if (!one.step) return null;
  const line = `${one.is_undoing ? "undoing " : ""}step ${one.at} of ${one.steps} ${one.step}: ${one.summary ?? ""}`;
  return [
    h("p", { class: "facts" }, line),
    one.progress && bar(`progress of ${one.id}`, one.progress),
    one.progress && h("p", { class: "facts" }, words(one.progress)),
  ];
}

function trouble(one) {
  return [
    one.trouble && h("p", { class: "bad" }, one.trouble),
    one.hint && h("p", { class: "soft" }, one.hint),
    one.note && h("p", { class: "soft" }, one.note),
    one.advice && h("p", {}, h("b", {}, "What to do: "), one.advice),
  ];
}

function card(one) {
  return h("div", { class: "card job" },
    h("div", { class: "head" },
      h("h3", {}, link("operation", one.id)),
      badge(one.state),
      h("span", { class: "soft" }, [one.why, one.by].filter(Boolean).join(", by ")),
      h("span", { class: "soft" }, one.ended_ms ? age(one.ended_ms, "ended ") : age(one.started_ms || one.planned_ms, one.started_ms ? "began " : "planned "))),
    how(one),
    trouble(one));
}

/** Those of one run of a DAG are told by what they were asked for. */
export function ofRun(rows, run) {
  if (!run) return rows;
  const asked = `Airflow, DAG ${run.dag}, run ${run.run}`;
  return rows.filter((one) => one.why === asked || (one.why ?? "").startsWith(`${asked},`));
}

export function list(rows, run) {
  const shown = ofRun(rows, run);
  const isOver = (one) => one.state === "done" || one.state === "cancelled";
  const open = shown.filter((one) => !isOver(one));
  const more = open.slice(CARDS);
  const past = shown.filter(isOver);
  return [
    head("operations", run ? "Operations of this run" : "Operations", h("span", { class: "soft" }, `${count(open.length)} not finished`)),
    !shown.length && h("p", { class: "none" }, run ? "This run has not begun any." : "None was ever begun, or none is remembered."),
    h("div", { class: "jobs" }, open.slice(0, CARDS).map(card)),
    more.length > 0 && h("details", { "data-key": "more" },
      h("summary", { "data-key": "more-summary" }, `${count(more.length)} more that are not finished`),
      h("div", { class: "jobs" }, more.map(card))),
    past.length > 0 && h("details", { "data-key": "past", open: run !== null },
      h("summary", { "data-key": "past-summary" }, `${count(past.length)} finished of late`),
      h("div", { class: "jobs" }, past.map(card))),
  ];
}

// -- one operation -----------------------------------------------------------------------------

function cost(told) {
  const parts = [
    told.bytes && size(told.bytes),
    told.records && `${count(told.records)} records`,
    told.seconds && `about ${span(told.seconds)}`,
    told.pause_ms && `a pause of about ${told.pause_ms} ms`,
  ];
  return parts.filter(Boolean).join(", ");
}

function step(one) {
  const spent = one.ended_ms && one.started_ms ? ` after ${span((one.ended_ms - one.started_ms) / 1000)}` : "";
  const isActive = one.state === "running" || one.state === "undoing";
  return h("li", {},
    h("div", { class: "head" }, h("h3", {}, one.id), badge(one.state), h("span", { class: "soft" }, one.summary)),
    one.progress && isActive && [bar(`progress of ${one.id}`, one.progress), h("p", { class: "facts" }, words(one.progress))],
    (one.said || spent) && h("p", { class: "soft" }, `${one.said ?? one.state}${spent}`),
    cost(one.cost) && h("p", { class: "facts" }, `expected: ${cost(one.cost)}`));
}

function about(one) {
  const rows = [
    ["scope", one.scope], ["asked for", [one.why, one.by].filter(Boolean).join(", by ")],
    ["planned", one.planned_ms && age(one.planned_ms)], ["began", one.started_ms && age(one.started_ms)],
    ["ended", one.ended_ms && age(one.ended_ms)], ["carried out by", one.executor],
    ["plan", one.plan.id.slice(0, 12)], ["expected", cost(one.plan.cost)],
    ["no way back", one.plan.is_past || (one.plan.no_return && `after step ${one.plan.no_return} ${one.plan.no_return_when === "done" ? "is done" : "has begun"}: ${one.plan.lost.join("; ")}`)],
    ["left as they were", one.left.join(", ")],
    ["asked for in detail", Object.keys(one.request).length && h("code", {}, JSON.stringify(one.request))],
    ["on a command line", h("code", {}, `streamer operations show ${one.id}`)],
  ];
  return h("dl", { class: "about" }, rows.filter(([, value]) => value).map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
}

function wish(one, act) {
  return h("form", { class: "wish", onsubmit: (event) => { event.preventDefault(); act(one.id, new FormData(event.target).get("why")); } },
    h("input", { name: "why", "data-key": "why", maxlength: 400, placeholder: "why, for those who look later", "aria-label": "why it is cancelled" }),
    h("button", { class: "is-grave", "data-key": "cancel" }, "Cancel this operation"));
}

/** `act` cancels it; without the right to, nothing is offered. */
export function view(one, act) {
  return [
    head("operation", `Operation ${one.id}`, badge(one.state)),
    h("div", { class: "two" },
      h("div", { class: "card" }, how(one), trouble(one), about(one), one.can_cancel && act && wish(one, act)),
      h("div", { class: "card" }, h("h3", {}, "Steps"), h("ol", { class: "steps" }, one.steps_told.map(step)))),
  ];
}
