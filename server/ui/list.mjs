// The project's jobs: a page of them, kept up to date by the stream.

import { ask } from "./api.mjs";
import { el, rows, say, show, table, write } from "./dom.mjs";
import { count } from "./format.mjs";
import { Jobs, MOST, STATES, matches, statesOf } from "./jobs.mjs";
import { HEADS, arrange } from "./line.mjs";
import { Reading } from "./reading.mjs";

/** Jobs of one read, and how many reads may follow short pages. */
const PAGE = 100;
const READS = 5;
/** Most records that are asked for one by one. */
const SINGLY = 8;
/** Time in which changes are collected before they are shown, in milliseconds. */
const COLLECT = 200;

/** Makes the view of what the address says. */
export function listView(live, query) {
  return new List(live, query);
}

class List {
  title = "Jobs";
  #live;
  #filter;
  #cursor;
  #jobs = new Jobs();
  #lines = new Map();
  #next = null;
  #incomplete = false;
  #wanted = new Set();
  #timer = 0;
  #isAsking = false;
  #reading;
  #closed = new AbortController();
  #leave;
  #body = rows();
  #told = el("div", {});
  #summary = el("p", { class: "faint", id: "summary" });
  #pages = el("nav", { class: "actions", "aria-label": "Pages of the list" });

  constructor(live, query) {
    this.#live = live;
    const given = (name) => query.get(name) ?? "";
    this.#filter = { state: given("state"), kind: given("kind"), text: given("text") };
    this.#cursor = given("cursor");
    this.element = el(
      "div",
      {},
      el("h1", { tabindex: "-1" }, "Jobs"),
      this.#controls(),
      this.#told,
      this.#summary,
      table("Jobs, newest first", HEADS, this.#body),
      this.#pages,
    );
    this.#reading = new Reading((signal) => this.#read(signal), this.#told);
    this.#leave = live.join(this);
    this.#reading.start();
  }

  close() {
    this.#leave();
    clearTimeout(this.#timer);
    this.#closed.abort();
    this.#reading.drop();
  }

  // What the stream tells.

  event(event) {
    const known = this.#jobs.get(event.subject);
    // An older page shows what is on it, and nothing new.
    if (!known && this.#cursor) return;
    const { kind } = this.#filter;
    if (!known && kind && event.data.kind !== kind) return;
    const done = this.#jobs.apply(event);
    // One more than are asked for singly says enough.
    if (done === "ask" && this.#wanted.size <= SINGLY) this.#wanted.add(event.subject);
    if (done !== "ignored") this.#soon();
  }

  records(jobs) {
    for (const job of jobs) {
      if (this.#jobs.get(job.id) || !this.#cursor) this.#jobs.put(job);
    }
    this.#soon();
  }

  reread() {
    this.#reading.start();
  }

  /** Shows changes, together with those that come right after. */
  #soon() {
    this.#timer ||= setTimeout(() => {
      this.#timer = 0;
      this.#render();
      this.#ask();
    }, COLLECT);
  }

  /** Asks for the records of jobs of which only events are known. */
  async #ask() {
    if (this.#isAsking || this.#wanted.size === 0) return;
    const ids = [...this.#wanted];
    this.#wanted.clear();
    if (ids.length > SINGLY || this.#jobs.size + ids.length > MOST) {
      this.#reading.start();
      return;
    }
    this.#isAsking = true;
    const { signal } = this.#closed;
    const asked = await Promise.allSettled(ids.map((id) => ask(`jobs/${id}`, { signal })));
    this.#isAsking = false;
    if (signal.aborted) return;
    const found = asked.filter((one) => one.status === "fulfilled").map((one) => one.value);
    for (const job of found) this.#jobs.put(job);
    this.#live.note(found);
    this.#soon();
  }

  async #read(signal) {
    const found = await this.#page(signal);
    if (!this.#cursor) this.#forget(found);
    for (const job of found) this.#jobs.put(job);
    this.#live.note(found);
    this.#render();
  }

  async #page(signal) {
    const found = [];
    let cursor = this.#cursor;
    for (let n = 0; n < READS; n += 1) {
      const query = new URLSearchParams({ limit: PAGE });
      const states = statesOf(this.#filter.state);
      if (states.length > 0) query.set("state", states.join(","));
      if (this.#filter.kind) query.set("kind", this.#filter.kind);
      if (cursor) query.set("cursor", cursor);
      const page = await ask(`jobs?${query}`, { signal });
      found.push(...page.items);
      cursor = page.next_cursor;
      this.#next = cursor ?? null;
      this.#incomplete = page.incomplete;
      if (!cursor || found.length >= PAGE / 2) break;
    }
    return found;
  }

  /** Drops what a fresh page does not have; what came after it stays. */
  #forget(found) {
    const ids = new Set(found.map((job) => job.id));
    const newest = Date.parse(found[0]?.created_at);
    const kept = this.#jobs.all().filter((job) => ids.has(job.id) || Date.parse(job.created_at) > newest);
    this.#jobs.clear();
    for (const job of kept) this.#jobs.put(job);
  }

  // What is shown.

  #controls() {
    const states = [["", "All"], ["live", "Not ended"], ["ended", "Ended"], ...STATES.map((state) => [state, state])];
    const state = choice("state", states, this.#filter.state);
    const kind = choice("kind", [["", "All"], ...(this.#filter.kind ? [[this.#filter.kind, this.#filter.kind]] : [])], this.#filter.kind);
    const text = el("input", { type: "search", name: "text", value: this.#filter.text, autocomplete: "off" });
    const changed = (again) => {
      this.#filter = { state: state.value, kind: kind.value, text: text.value };
      if (again) this.#cursor = "";
      history.replaceState(null, "", this.#address(this.#cursor));
      if (again) {
        this.#reading.drop();
        this.#jobs.clear();
        this.#reading.start();
      }
      this.#render();
      say(this.#summary.textContent);
    };
    state.addEventListener("change", () => changed(true));
    kind.addEventListener("change", () => changed(true));
    text.addEventListener("input", () => changed(false));
    offer(kind);
    return el(
      "form",
      { class: "filter", role: "search", submit: (event) => event.preventDefault() },
      labelled("State", state),
      labelled("Kind", kind),
      labelled("Name, label or id, in the jobs below", text),
    );
  }

  #address(cursor) {
    const pairs = Object.entries({ ...this.#filter, cursor }).filter(([, value]) => value);
    return `#/jobs${pairs.length > 0 ? `?${new URLSearchParams(pairs)}` : ""}`;
  }

  #render() {
    const jobs = this.#jobs.all().filter((job) => matches(job, this.#filter));
    arrange(this.#body, this.#lines, jobs);
    const more = this.#incomplete ? " The view is being rebuilt: jobs may be missing." : "";
    const which = this.#cursor ? "older " : "";
    write(this.#summary, `${count(jobs.length, `${which}job`)} shown.${more}`);
    show(
      this.#pages,
      this.#cursor && el("a", { href: this.#address("") }, "Newest jobs"),
      this.#next && el("a", { href: this.#address(this.#next) }, "Older jobs"),
    );
  }
}

function choice(name, options, value) {
  const select = el("select", { name });
  for (const [key, word] of options) select.append(el("option", { value: key }, word));
  select.value = value;
  return select;
}

function labelled(label, control) {
  return el("label", { class: "field" }, el("span", {}, label), control);
}

/** Fills in the kinds that there are. */
async function offer(select) {
  try {
    const { items } = await ask("kinds");
    const known = new Set([...select.options].map((option) => option.value));
    for (const { kind, mode } of items) {
      if (mode !== "sync" && !known.has(kind)) select.append(el("option", { value: kind }, kind));
    }
  } catch {
    // All kinds can be seen without choosing one.
  }
}
