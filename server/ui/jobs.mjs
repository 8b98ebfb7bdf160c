// The jobs that the page knows, and how records and events change them. Nothing here touches the page.
//
// Events of a stream come in the order of the log, but a record that was asked for meanwhile may
// already know more. So nothing goes back: not from an end, not to an earlier run or try.

/** Most jobs that are kept; the oldest go first. */
export const MOST = 200;

const ENDS = new Set(["succeeded", "failed", "cancelled"]);
export const STATES = [
  "queued",
  "running",
  "waiting",
  "retrying",
  "succeeded",
  "failed",
  "cancelled",
];
const LIVE = STATES.filter((state) => !ENDS.has(state));

/** Says whether a state is final. */
export function isEnd(state) {
  return ENDS.has(state);
}

/** Says which states a choice of the filter stands for; an empty list is all. */
export function statesOf(choice) {
  if (choice === "live") return LIVE;
  if (choice === "ended") return [...ENDS];
  return STATES.includes(choice) ? [choice] : [];
}

/** Says whether what is told of a job (a record, or the data of an event) is older than the record. */
export function isOlder(told, job) {
  if (told.epoch !== job.epoch) return told.epoch < job.epoch;
  if (isEnd(job.state)) return told.state !== job.state;
  if (isEnd(told.state)) return false;
  if (told.attempt !== job.attempt) return told.attempt < job.attempt;
  // Inside one try a job is queued or due first, and then goes between running and waiting.
  return rank(told.state) < rank(job.state);
}

function rank(state) {
  return state === "running" || state === "waiting" ? 1 : 0;
}

/** Chooses jobs: `{state, kind, text}`, each empty for all. */
export function matches(job, filter) {
  const states = statesOf(filter.state);
  if (states.length > 0 && !states.includes(job.state)) return false;
  if (filter.kind && job.kind !== filter.kind) return false;
  const text = filter.text.trim().toLowerCase();
  if (!text) return true;
  const labels = Object.entries(job.labels ?? {}).map(([key, value]) => `${key}:${value}`);
  const words = [job.id, job.kind, job.step, job.input?.vm_hostname, ...labels];
  return words.some((word) => typeof word === "string" && word.toLowerCase().includes(text));
}

/** The newest jobs first. */
export function byAge(a, b) {
  const difference = Date.parse(b.created_at) - Date.parse(a.created_at);
  if (difference !== 0) return difference;
  return a.id < b.id ? 1 : -1;
}

export class Jobs {
  #byId = new Map();

  get(id) {
    return this.#byId.get(id);
  }

  /** Returns all, newest first. */
  all() {
    return [...this.#byId.values()].sort(byAge);
  }

  get size() {
    return this.#byId.size;
  }

  clear() {
    this.#byId.clear();
  }

  /** Takes a record; says whether it told something new. */
  put(record) {
    const have = this.#byId.get(record.id);
    if (have && isOlder(record, have)) return false;
    const job = { ...record };
    if (have?.progress && sameTry(have, job) && isLater(have.progress, job.progress)) {
      job.progress = have.progress;
    }
    this.#byId.set(job.id, job);
    this.#bound();
    return true;
  }

  /** Forgets the oldest beyond the bound. */
  #bound() {
    if (this.#byId.size <= MOST) return;
    for (const job of this.all().slice(MOST)) this.#byId.delete(job.id);
  }

  /**
   * Takes an event of a stream. Says `changed`, `ignored`, or `ask` when only the job's record has all
   * that the event stands for.
   */
  apply(event) {
    const { data } = event;
    const word = wordOf(event);
    const job = this.#byId.get(event.subject);
    if (!job) return word === "progress" ? "ignored" : "ask";
    if (word === "cancel_requested") {
      if (data.epoch !== job.epoch || job.cancel_requested_at) return "ignored";
      job.cancel_requested_at = event.time;
      return "changed";
    }
    if (isOlder(data, job)) return "ignored";
    if (data.epoch !== job.epoch) return "ask";
    const changed = this.#take(job, data, event.time);
    // When a try is due, and what a kept message restores, is in the record alone.
    return word === "retry" || word === "kept" ? "ask" : changed;
  }

  #take(job, data, time) {
    if (data.attempt > job.attempt) job.progress = null;
    const before = job.state;
    job.state = data.state;
    job.attempt = data.attempt;
    if (data.error) job.error = data.error;
    if (data.progress && isLater(data.progress, job.progress)) job.progress = data.progress;
    if (data.state === "running") {
      job.started_at ??= time;
      job.next_attempt_at = null;
    }
    if (isEnd(data.state) && !isEnd(before)) {
      job.terminal = true;
      job.finished_at = time;
      job.next_attempt_at = null;
      if (data.output !== undefined) job.output = data.output;
    }
    return "changed";
  }
}

/** Returns what happened: `started` of `jobs.started.v1`. */
export function wordOf(event) {
  return event.type.replace(/^jobs\.(.*)\.v1$/, "$1");
}

function sameTry(a, b) {
  return a.epoch === b.epoch && a.attempt === b.attempt && !isEnd(b.state);
}

function isLater(progress, than) {
  return !than || Date.parse(progress.at) >= Date.parse(than.at);
}

/** Shows an event of a stream as an entry of a job's history. */
export function entryOf(event) {
  return { id: event.id, type: wordOf(event), time: event.time, ...event.data };
}

/** Adds an entry to a history, once. Returns whether it is new. */
export function addEntry(history, entry, most = 400) {
  if (entry.type === "progress" || history.some((have) => have.id === entry.id)) return false;
  history.push(entry);
  // The beginning says who asked and when, so the middle goes.
  if (history.length > most) history.splice(Math.floor(most / 2), 1);
  return true;
}
