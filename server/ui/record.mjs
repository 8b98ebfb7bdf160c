// What is said of one job: the pairs of its record, the events of its history, its callbacks.

import { el, when } from "./dom.mjs";
import { attempt, duration } from "./format.mjs";

const WORDS = {
  submitted: "Submitted",
  started: "Started",
  continued: "Went on",
  retry: "Is tried again",
  redriven: "Runs again",
  cancel_requested: "Somebody asked to cancel",
  succeeded: "Succeeded",
  failed: "Failed",
  cancelled: "Cancelled",
  deadline: "Its time was over",
  kept: "Is still there",
};

/** Shows the record of a job as pairs. */
export function facts(job) {
  const pairs = [
    ["Kind", job.kind],
    ["Id", el("code", {}, job.id)],
    ["Try", attempt(job)],
    ["Asked for by", job.owner.user_name],
    ["Created", when(job.created_at)],
    ["Due", job.run_at && when(job.run_at)],
    ["Started", job.started_at && when(job.started_at)],
    ["Ended", job.finished_at && when(job.finished_at)],
    ["Took", job.started_at && job.finished_at && took(job)],
    ["Next try", job.next_attempt_at && when(job.next_attempt_at)],
    ["Asked to cancel", job.cancel_requested_at && when(job.cancel_requested_at)],
    ["Ends at the latest", !job.terminal && when(job.deadline)],
    ["Forgotten", job.terminal && when(job.expires_at)],
    ["Waits for its turn", job.in_line && line(job.in_line)],
    ["Undoing", job.compensation],
    ["Labels", labels(job.labels)],
    ["Asked for by job", job.parent_id && el("a", { href: `#/jobs/${job.parent_id}` }, job.parent_id)],
    ["Why it failed last", job.error && reason(job.error)],
    ["Request", job.request_id && el("code", {}, job.request_id)],
  ];
  return pairs.filter(([, value]) => value).map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value)));
}

function took(job) {
  return duration((Date.parse(job.finished_at) - Date.parse(job.started_at)) / 1000);
}

function line({ keys, ahead }) {
  return `at ${keys.join(", ")}${ahead === undefined ? "" : `, ${ahead} before it`}`;
}

function labels(all) {
  const pairs = Object.entries(all ?? {});
  return pairs.length > 0 && pairs.map(([key, value]) => `${key}: ${value}`).join(", ");
}

function reason({ type, title, detail, retryable, worker }) {
  const rest = [detail, worker && `worker ${worker}`, retryable ? "may succeed later" : "not worth another try"];
  return [el("strong", {}, title), ` (${type}): `, rest.filter(Boolean).join("; ")];
}

/** Shows one event of its history. */
export function entry(event) {
  const said = [
    event.epoch > 0 && `run ${event.epoch + 1}`,
    `try ${event.attempt}`,
    event.progress && `${event.progress.percent} %, ${event.progress.step}`,
    event.worker,
  ];
  return el(
    "li",
    {},
    el("strong", {}, WORDS[event.type] ?? event.type),
    " ",
    when(event.time),
    el("span", { class: "faint" }, ` ${said.filter(Boolean).join(", ")}`),
    event.error && el("span", {}, ` ${event.error.title}`),
  );
}

/** Shows one callback. */
export function callback({ id, epoch, state, url, attempts, last_status: status, next_attempt_at: next, error }) {
  const answer = status ? `, the answer was ${status}` : "";
  return el(
    "li",
    {},
    el("strong", {}, state),
    ` to ${url} for run ${epoch + 1}, try ${attempts}${answer}${error ? `: ${error.title}` : ""} `,
    next && ["next try ", when(next), " "],
    el("a", { href: `#/jobs/${id}` }, "its job"),
  );
}
