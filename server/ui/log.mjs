// The log of one job, followed while the job lives.

import { send } from "./api.mjs";
import { el, write } from "./dom.mjs";
import { absolute, clock, count } from "./format.mjs";
import { beginning, follow } from "./stream.mjs";

/** Most lines that are kept in the page. */
const MOST = 1000;
/** Distance from the end, in pixels, within which new lines are scrolled to. */
const NEAR = 40;

export class Log {
  #path;
  #place = beginning();
  #stop = null;
  #isRefused = false;
  #isOver = false;
  #lines = el("ol", { class: "lines" });
  #box = el("div", { class: "log", tabindex: "0", role: "region", "aria-label": "Log lines" }, this.#lines);
  #note = el("p", { class: "faint" }, "0 lines.");

  constructor(id) {
    this.#path = `jobs/${encodeURIComponent(id)}/logs`;
    this.element = el("div", {}, this.#box, this.#note);
  }

  /** Follows the log to its end. */
  start() {
    if (this.#isOver) return;
    this.#stop ??= follow(`${this.#path}?follow=true`, this.#place, {
      frame: (frame) => this.#frame(frame),
      state: (word, failure) => this.#turn(word, failure),
    });
  }

  /** Goes on behind the last line, after an end that was undone by a retry. */
  again() {
    this.#isOver = false;
    this.start();
  }

  close() {
    this.#stop?.();
    this.#stop = null;
  }

  /** Reads the newest lines, where they cannot be followed. */
  async reread() {
    if (!this.#isRefused) return;
    try {
      const response = await send(this.#path, { headers: { Accept: "application/jsonl" } });
      const text = await response.text();
      this.#lines.replaceChildren();
      for (const line of text.split("\n").filter(Boolean)) this.#add(JSON.parse(line));
    } catch {
      // It is read again with the job, which says what is wrong.
    }
  }

  #turn(word, failure) {
    this.#isRefused = word === "refused";
    if (word === "over") {
      this.#isOver = true;
      this.close();
      this.#count("The log has ended.");
    } else if (word === "live") {
      this.#count("Followed.");
    } else {
      this.#count(failure?.problem.title ?? "Connecting again…");
      if (this.#isRefused) this.reread();
    }
  }

  #frame(frame) {
    if (frame.event === "log") {
      this.#add(JSON.parse(frame.data));
      this.#count("Followed.");
    } else if (frame.event === "gap") {
      this.#append(el("li", { class: "gap" }, JSON.parse(frame.data).reason));
    } else if (frame.event === "end") {
      return "over";
    }
    return undefined;
  }

  #add({ time, stream, text }) {
    const at = el("time", { datetime: time, title: absolute(time), "data-fixed": true }, clock(time));
    const mark = el("span", { class: "stream" }, stream === "stderr" ? "err" : stream === "stdout" ? "out" : "log");
    this.#append(el("li", { "data-stream": stream }, at, mark, el("span", { class: "text" }, text)));
  }

  #append(item) {
    const box = this.#box;
    const isAtEnd = box.scrollHeight - box.scrollTop - box.clientHeight < NEAR;
    this.#lines.append(item);
    while (this.#lines.childElementCount > MOST) this.#lines.firstChild.remove();
    if (isAtEnd) box.scrollTop = box.scrollHeight;
  }

  #count(more) {
    const number = this.#lines.childElementCount;
    write(this.#note, `${count(number, "line")}. ${more}`);
  }
}
