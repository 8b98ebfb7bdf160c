// One job: its record, its history and its log, what it has asked for, and what can be done about it.

import { ask, may } from "./api.mjs";
import { confirm } from "./dialog.mjs";
import { alarm, badge, el, rows, say, show, table, write } from "./dom.mjs";
import { clean, nameOf } from "./format.mjs";
import { Jobs, addEntry, entryOf, isEnd } from "./jobs.mjs";
import { HEADS, arrange, progressBar } from "./line.mjs";
import { Log } from "./log.mjs";
import { Reading } from "./reading.mjs";
import { callback, entry, facts } from "./record.mjs";

/** Time in which events are collected before the record is read again, in milliseconds. */
const COLLECT = 300;
/** How often a callback that is on its way is looked at: it has events of its own. */
const CALLBACK = 5000;

/** Makes the view of one job. */
export function jobView(live, id) {
  return new JobView(live, id);
}

class JobView {
  title = "Job";
  #live;
  #id;
  #path;
  #leave;
  #jobs = new Jobs();
  #children = new Jobs();
  #lines = new Map();
  #history = [];
  #callbacks = [];
  #log;
  #timer = 0;
  #poll = 0;
  #reading;
  #state = "";
  #shown = {};
  #heading = el("h1", { tabindex: "-1" }, "Job");
  #badge = el("span", {});
  #told = el("div", {});
  #refused = el("div", {});
  #bar = progressBar();
  #cancel = el("button", { type: "button", class: "danger", hidden: true }, "Cancel the job…");
  #retry = el("button", { type: "button", hidden: true }, "Run again…");
  #facts = el("dl", { class: "facts" });
  #more = el("div", {});
  #asked = el("section", { hidden: true });
  #childRows = rows();
  #callback = el("section", { hidden: true });
  #timeline = el("ol", { class: "timeline", tabindex: "0", "aria-label": "What happened" });

  constructor(live, id) {
    this.#live = live;
    this.#id = id;
    this.#path = `jobs/${encodeURIComponent(id)}`;
    this.#log = new Log(id);
    this.#cancel.addEventListener("click", () => this.#askCancel());
    this.#retry.addEventListener("click", () => this.#askRetry());
    this.#asked.append(el("h2", {}, "Jobs that it asked for"), table("Children", HEADS, this.#childRows));
    this.element = el(
      "div",
      {},
      el("p", {}, el("a", { href: "#/jobs" }, "All jobs")),
      el("div", { class: "headline" }, this.#heading, this.#badge),
      this.#told,
      this.#bar.element,
      el("div", { class: "actions" }, this.#cancel, this.#retry),
      this.#refused,
      el("div", { class: "columns" },
        section("Record", this.#facts, this.#more),
        section("Timeline", this.#timeline),
      ),
      this.#asked,
      this.#callback,
      section("Log", this.#log.element),
    );
    this.#reading = new Reading((signal) => this.#read(signal), this.#told);
    this.#leave = live.join(this);
    this.#reading.start();
  }

  close() {
    this.#leave();
    this.#log.close();
    this.#reading.drop();
    clearTimeout(this.#timer);
    clearTimeout(this.#poll);
  }

  // What the stream tells.

  event(event) {
    if (event.subject === this.#id) {
      this.#jobs.apply(event);
      if (addEntry(this.#history, entryOf(event))) this.#soon();
      this.#render();
    } else if (this.#children.get(event.subject)) {
      this.#children.apply(event);
      arrange(this.#childRows, this.#lines, this.#children.all().reverse());
    }
  }

  records(jobs) {
    const found = jobs.find((job) => job.id === this.#id);
    // Only an answer about one job has its callback and its place in line.
    if (found && !this.#jobs.get(this.#id)) this.#jobs.put(found);
  }

  reread() {
    this.#reading.start();
  }

  async #read(signal) {
    const [job, events] = await Promise.all([
      ask(this.#path, { signal }),
      ask(`${this.#path}/events?limit=200`, { signal }),
    ]);
    const [children, callbacks] = await Promise.all([
      job.children ? ask(`${this.#path}/children?limit=200`, { signal }) : null,
      job.callback ? ask(`${this.#path}/callbacks`, { signal }) : null,
    ]);
    this.#jobs.put(job);
    this.#live.note([job]);
    for (const entry of events.items) addEntry(this.#history, entry);
    this.#history.sort((a, b) => a.epoch - b.epoch || Date.parse(a.time) - Date.parse(b.time));
    for (const child of children?.items ?? []) this.#children.put(child);
    this.#callbacks = callbacks?.items ?? [];
    this.#render();
    this.#log.start();
    this.#log.reread();
    this.#watchCallback(job);
  }

  #soon() {
    this.#timer ||= setTimeout(() => {
      this.#timer = 0;
      this.#reading.start();
    }, COLLECT);
  }

  #watchCallback(job) {
    clearTimeout(this.#poll);
    const isOnItsWay = job.terminal && ["pending", "delivering"].includes(job.callback?.state);
    if (isOnItsWay) this.#poll = setTimeout(() => this.#reading.start(), CALLBACK);
  }

  // What can be done.

  async #askCancel() {
    const reason = await confirm({
      title: "Cancel this job?",
      text: `${nameOf(this.#jobs.get(this.#id))} goes on until a worker has cleaned up what it has made.`,
      field: "Why, for the history (may be left out)",
      yes: "Cancel the job",
      no: "Let it go on",
    });
    if (reason !== null) await this.#do(this.#cancel, "cancel", reason ? { reason } : {});
  }

  async #askRetry() {
    const yes = await confirm({
      title: "Run this job again?",
      text: "It keeps its id and its input, and begins at the first try. What it has made by then is found again.",
      yes: "Run it again",
      no: "Leave it",
    });
    if (yes !== null) await this.#do(this.#retry, "retry");
  }

  async #do(button, verb, body) {
    button.disabled = true;
    let wait = 0;
    try {
      const job = await ask(`${this.#path}/${verb}`, { method: "POST", body });
      this.#jobs.put(job);
      show(this.#refused);
      say(verb === "cancel" ? "Asked to cancel." : "The job runs again.");
      this.#soon();
    } catch (failure) {
      if (!failure.problem) throw failure;
      show(this.#refused, alarm(failure));
      wait = failure.problem.wait * 1000;
    }
    this.#render();
    // Nothing is asked again before the server wants it.
    setTimeout(() => {
      button.disabled = false;
    }, wait);
  }

  // What is shown.

  #render() {
    const job = this.#jobs.get(this.#id);
    if (!job) return;
    this.title = nameOf(job);
    document.title = `${this.title} – vmctl`;
    write(this.#heading, this.title);
    if (this.#state !== job.state) {
      show(this.#badge, badge(job.state));
      if (this.#state) say(`${this.title}: ${job.state}`);
      // A retry has the log go on.
      if (isEnd(this.#state) && !job.terminal) this.#log.again();
      this.#state = job.state;
    }
    this.#bar.update(job);
    const mayChange = may("member");
    this.#offer(this.#cancel, mayChange && !job.terminal && !job.cancel_requested_at);
    this.#offer(this.#retry, mayChange && (job.state === "failed" || job.state === "cancelled"));
    this.#renew("facts", { ...job, progress: null }, () => {
      show(this.#facts, facts(job));
      this.#details(job);
    });
    this.#renew("timeline", this.#history.map((event) => event.id), () => show(this.#timeline, this.#history.map(entry)));
    this.#renew("callbacks", this.#callbacks, () => {
      this.#callback.hidden = this.#callbacks.length === 0;
      show(this.#callback, el("h2", {}, "Callbacks"), el("ul", {}, this.#callbacks.map(callback)));
    });
    this.#asked.hidden = this.#children.size === 0;
    arrange(this.#childRows, this.#lines, this.#children.all().reverse());
  }

  /** Makes a part again only when what it shows has changed: what is selected or has the focus stays. */
  #renew(part, from, make) {
    const now = JSON.stringify(from);
    if (this.#shown[part] === now) return;
    this.#shown[part] = now;
    make();
  }

  /** Shows or hides a button; the focus does not get lost with it. */
  #offer(button, is) {
    const had = document.activeElement === button;
    button.hidden = !is;
    if (!is && had) this.#heading.focus();
  }

  /** Shows what is long; what is opened stays open. */
  #details(job) {
    const parts = [["Error", job.error], ["Input", job.input], ["Output", job.output]];
    for (const [name, value] of parts) {
      const lines = value === null || value === undefined ? [] : JSON.stringify(value, null, 2).split("\n");
      let part = this.#more.querySelector(`[data-part="${name}"]`);
      if (lines.length === 0) {
        part?.remove();
        continue;
      }
      if (!part) {
        part = el("details", { "data-part": name }, el("summary", {}, name), el("pre", { tabindex: "0" }));
        this.#more.append(part);
      }
      part.lastChild.textContent = lines.map(clean).join("\n");
    }
  }
}

function section(title, ...children) {
  return el("section", {}, el("h2", {}, title), ...children);
}
