// One job as a row of a table, brought up to date in place: what has the focus keeps it.

import { badge, el, row, show, when, write } from "./dom.mjs";
import { attempt, nameOf, step } from "./format.mjs";
import { isEnd } from "./jobs.mjs";

/** The columns of a table of jobs. */
export const HEADS = ["State", "Job", "Progress", "Try", "Age", "Next try"];

/** Shows jobs as the rows of a table, in their order. `lines` keeps those that were shown before. */
export function arrange(body, lines, jobs) {
  const ids = new Set(jobs.map((job) => job.id));
  for (const [id, line] of lines) {
    if (ids.has(id)) continue;
    line.element.remove();
    lines.delete(id);
  }
  let place = body.firstChild;
  for (const job of jobs) {
    const line = lines.get(job.id) ?? make(job);
    lines.set(job.id, line);
    line.update(job);
    // A row that stands right is not moved: it may have the focus.
    if (line.element === place) place = place.nextSibling;
    else body.insertBefore(line.element, place);
  }
}

/** Makes the row of one job, with what brings it up to date. */
function make(job) {
  const state = el("span", {});
  const link = el("a", { href: `#/jobs/${job.id}` });
  const kind = el("span", { class: "faint" }, job.kind);
  const bar = progressBar();
  const tries = el("span", {});
  const next = el("span", {});
  const element = row(HEADS, [state, el("div", {}, link, el("br"), kind), bar.element, tries, when(job.created_at), next]);
  let shown = {};
  const update = (now) => {
    if (now.state !== shown.state) show(state, badge(now.state));
    write(link, nameOf(now));
    bar.update(now);
    write(tries, attempt(now));
    const due = now.next_attempt_at ?? (now.state === "queued" ? now.run_at : null);
    if (due !== shown.due) show(next, when(due));
    shown = { state: now.state, due };
  };
  return { element, update };
}

/** Makes a bar that says how far a job is. */
export function progressBar() {
  const bar = el("progress", { max: "100", "aria-label": "Progress" });
  const words = el("span", { class: "faint" });
  const element = el("span", { class: "progress" }, bar, words);
  const update = (job) => {
    const percent = job.state === "succeeded" ? 100 : job.progress?.percent;
    const ended = isEnd(job.state);
    bar.hidden = percent === undefined || (ended && job.state !== "succeeded");
    bar.value = percent ?? 0;
    write(words, ended ? ending(job) : waiting(job) || step(job.progress));
  };
  return { element, update };
}

function ending(job) {
  return job.state === "failed" ? (job.error?.title ?? "") : "";
}

function waiting(job) {
  if (job.cancel_requested_at) return "asked to cancel";
  if (job.in_line) return "waits for its turn";
  return job.state === "retrying" ? (job.error?.title ?? "") : "";
}
