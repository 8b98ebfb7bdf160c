// What happens in the project, for whichever view is open: one stream of events, and where there is none
// the order to read again from time to time.

import { ask } from "./api.mjs";
import { isEnd } from "./jobs.mjs";
import { Ends, Samples } from "./series.mjs";
import { beginning, follow } from "./stream.mjs";

/** How often is read again while there is no stream, and how often numbers are sampled. */
const EVERY = 10_000;

const WORDS = {
  live: "Live",
  away: "Connecting again…",
  refused: "Reading every 10 s",
  starting: "Connecting…",
};

export class Live {
  /** Ends of jobs, and how many have not ended, for the plots. */
  ends = new Ends();
  active = new Samples();
  #views = new Set();
  #stops = [];
  #state = "starting";
  #hasGap = false;
  #next = 0;
  #quota = null;

  /** Tells a view what happens: `{event(event), records(jobs), reread(), state(), quota()}`. */
  join(view) {
    this.#views.add(view);
    return () => this.#views.delete(view);
  }

  get words() {
    return WORDS[this.#state];
  }

  get isLive() {
    return this.#state === "live";
  }

  /** What the project may use and uses, as it was said last. */
  get quota() {
    return this.#quota;
  }

  start() {
    const on = { frame: (frame) => this.#frame(frame), state: (word, why) => this.#turn(word, why) };
    this.#stops.push(follow("events", beginning(), on));
    const timer = setInterval(() => this.#tick(), EVERY);
    this.#stops.push(() => clearInterval(timer));
    this.#sample();
  }

  stop() {
    for (const stop of this.#stops.splice(0)) stop();
    this.#views.clear();
  }

  /** Notes the ends that records tell of. */
  note(jobs) {
    for (const job of jobs) {
      if (job.finished_at) this.ends.note(job.id, job.epoch, job.state, job.finished_at);
    }
  }

  #tell(what, ...about) {
    for (const view of this.#views) view[what]?.(...about);
  }

  #turn(word, failure) {
    const before = this.#state;
    this.#state = word;
    this.#next = Date.now() + Math.max(EVERY, (failure?.problem.wait ?? 0) * 1000);
    if (before !== word) this.#tell("state");
    // What happened before the first stream was there is in what the view has just read.
    if (word === "live" && before !== "starting") this.#tell("reread");
  }

  #frame(frame) {
    if (frame.event === "message") return;
    if (frame.event === "gap") {
      this.#hasGap = true;
      return;
    }
    const told = JSON.parse(frame.data);
    if (frame.event === "snapshot") {
      this.note(told.items);
      this.#tell("records", told.items);
      if (this.#hasGap) this.#tell("reread");
      this.#hasGap = false;
      return;
    }
    const { state, epoch } = told.data;
    if (isEnd(state)) this.ends.note(told.subject, epoch, state, told.time);
    this.#tell("event", told);
  }

  #tick() {
    if (document.hidden) return;
    if (!this.isLive && Date.now() >= this.#next) this.#tell("reread");
    this.#sample();
  }

  async #sample() {
    try {
      this.#quota = await ask("quota");
      this.active.note(this.#quota.active_jobs.used, Date.now());
      this.#tell("quota");
    } catch {
      // The next one comes soon; who cannot read is told by the view.
    }
  }
}

