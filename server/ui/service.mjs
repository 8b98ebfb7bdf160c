// How the service is: what the project may use, rates, and for admins the queues and the workers.

import { ask } from "./api.mjs";
import { alarm, el, row, rows, show, table, when } from "./dom.mjs";
import { count, duration } from "./format.mjs";
import { plot } from "./plot.mjs";
import { Samples } from "./series.mjs";

/** How often queues and workers are asked for while somebody looks, in milliseconds. */
const EVERY = 10_000;

const QUEUES = ["Queue", "Is there", "Waiting", "Consumers", "At most"];
const WORKERS = ["Worker", "Program", "State", "In hand", "Jobs", "Heard"];

/** Makes the view. */
export function serviceView(live) {
  const service = new Service(live);
  service.look();
  return service;
}

class Service {
  title = "Service";
  #live;
  #leave;
  #timer;
  #closed = new AbortController();
  #waiting = new Samples();
  #inHand = new Samples();
  #isAdmin = true;
  #quota = el("dl", { class: "facts" });
  #ended = plot("Ended, by minute");
  #active = plot("Not ended");
  #queued = plot("Waiting in queues");
  #running = plot("In hand of workers");
  #queues = el("div", {});
  #workers = el("div", {});

  constructor(live) {
    this.#live = live;
    this.element = el(
      "div",
      {},
      el("h1", { tabindex: "-1" }, "Service"),
      section("Project", this.#quota),
      section(
        "The last ten minutes",
        el("p", { class: "faint" }, "Counted in this page, for as long as it is open."),
        el("div", { class: "plots" }, ...[this.#ended, this.#active, this.#queued, this.#running].map((one) => one.element)),
      ),
      section("Queues", this.#queues),
      section("Workers", this.#workers),
    );
    this.#leave = live.join(this);
    this.#timer = setInterval(() => this.look(), EVERY);
  }

  close() {
    this.#leave();
    clearInterval(this.#timer);
    this.#closed.abort();
  }

  quota() {
    this.#draw();
  }

  async look() {
    if (document.hidden) return;
    this.#draw();
    if (!this.#isAdmin) return;
    const { signal } = this.#closed;
    const [queues, workers] = await Promise.allSettled([
      ask("admin/queues", { signal }),
      ask("admin/workers", { signal }),
    ]);
    if (signal.aborted) return;
    this.#show(this.#queues, queues, (list) => this.#queueTable(list));
    this.#show(this.#workers, workers, (list) => this.#workerTable(list));
    this.#draw();
  }

  #show(place, asked, made) {
    if (asked.status === "fulfilled") {
      show(place, made(asked.value));
      return;
    }
    const failure = asked.reason;
    if (!failure.problem) throw failure;
    if (failure.status === 403) {
      this.#isAdmin = false;
      show(place, el("p", {}, `Only admins see this: ${failure.problem.detail || failure.problem.title}.`));
    } else {
      show(place, alarm(failure));
    }
  }

  #queueTable({ items }) {
    const work = items.filter((queue) => queue.name.startsWith("work."));
    this.#waiting.note(work.reduce((sum, queue) => sum + (queue.ready ?? 0), 0), Date.now());
    const lines = items.map((queue) =>
      row(QUEUES, [
        el("code", {}, queue.name),
        queue.state === "present" ? "yes" : el("strong", {}, queue.state),
        number(queue.ready),
        number(queue.consumers),
        number(queue.max_length),
      ]),
    );
    return table("Queues of the broker", QUEUES, rows(...lines));
  }

  #workerTable({ items, complete }) {
    const inHand = (worker) => worker.kinds.reduce((sum, kind) => sum + kind.in_hand, 0);
    this.#inHand.note(items.reduce((sum, worker) => sum + inHand(worker), 0), Date.now());
    const lines = items.map((worker) =>
      row(WORKERS, [
        worker.name,
        `${worker.app} ${worker.version}, ${worker.language}`,
        worker.state,
        el("ul", { class: "plain" }, worker.kinds.map((kind) => el("li", {}, served(kind)))),
        el("ul", { class: "plain" }, worker.jobs.map((job) => el("li", {}, el("a", { href: `#/jobs/${job.id}` }, job.kind), " ", when(job.since)))),
        when(worker.heard_at),
      ]),
    );
    const note = complete ? "" : "This server has not listened for long: workers may be missing.";
    return el("div", {}, note && el("p", { class: "faint" }, note), table("Workers that live", WORKERS, rows(...lines)));
  }

  #draw() {
    const now = Date.now();
    const bars = this.#live.ends.bars(now);
    const all = bars.reduce((sum, bar) => sum + bar.all, 0);
    const failed = bars.reduce((sum, bar) => sum + bar.failed, 0);
    this.#ended.bars(bars, `${all}, of which ${failed} failed`);
    this.#line(this.#active, this.#live.active, now);
    this.#line(this.#queued, this.#waiting, now);
    this.#line(this.#running, this.#inHand, now);
    const { quota } = this.#live;
    if (quota) show(this.#quota, facts(quota));
  }

  #line(drawn, samples, now) {
    drawn.line(samples.points, samples.last === undefined ? (this.#isAdmin ? "not known yet" : "only for admins") : `${samples.last} now`, now);
  }
}

function facts({ submit, active_jobs: active, incomplete }) {
  const most = active.quota === null ? "not limited" : `of ${active.quota}`;
  const rate = submit
    ? `${submit.quota} in ${duration(submit.window_seconds)}; ${submit.remaining} now`
    : "not limited";
  return [
    fact("Jobs not ended", `${active.used} ${most}${incomplete ? ", or more: the view is being rebuilt" : ""}`),
    fact("Submissions", rate),
  ];
}

function fact(name, value) {
  return el("div", {}, el("dt", {}, name), el("dd", {}, value));
}

function served({ kind, slots, in_hand: inHand, consuming }) {
  return `${kind}: ${inHand} of ${count(slots, "slot")}${consuming ? "" : ", not consuming"}`;
}

function number(value) {
  return value === undefined || value === null ? "–" : String(value);
}

function section(title, ...children) {
  return el("section", {}, el("h2", {}, title), ...children);
}
