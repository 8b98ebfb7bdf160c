// Reads of what a view shows: one at a time, however often it is asked for.

import { alarm, show } from "./dom.mjs";

/** Wait before what became stale while it was read is read again, in milliseconds. */
const AGAIN = 1000;

export class Reading {
  #read;
  #told;
  #under = null;
  #isStale = false;
  #later = 0;

  /** `read(signal)` reads and shows; what the server refuses is shown in `told`. */
  constructor(read, told) {
    this.#read = read;
    this.#told = told;
  }

  /** Reads. Who asks while it is read is served by one more read, a little later. */
  async start() {
    if (this.#under) {
      this.#isStale = true;
      return;
    }
    const under = new AbortController();
    this.#under = under;
    try {
      await this.#read(under.signal);
      show(this.#told);
    } catch (failure) {
      if (under.signal.aborted) return;
      if (!failure.problem) throw failure;
      const told = alarm(failure);
      // What is still so is not read out again.
      if (told.textContent !== this.#told.textContent) show(this.#told, told);
    } finally {
      if (this.#under === under) {
        this.#under = null;
        if (this.#isStale) this.#later = setTimeout(() => this.start(), AGAIN);
        this.#isStale = false;
      }
    }
  }

  /** Gives up what is being read, and what would be. */
  drop() {
    clearTimeout(this.#later);
    this.#under?.abort();
    this.#under = null;
    this.#isStale = false;
  }
}
