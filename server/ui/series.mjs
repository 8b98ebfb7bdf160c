// What the plots show: numbers of the last ten minutes, counted in the page. Nothing here touches it.

/** How far back the plots go, and the width of one bar, in milliseconds. */
export const SPAN = 10 * 60_000;
export const BAR = 60_000;

/** Most ends that are remembered. */
const MOST = 5000;

/** Ends of jobs, each run of a job once. */
export class Ends {
  #seen = new Map();

  /** Notes an end, at the instant that the server gives for it. */
  note(id, epoch, state, at) {
    const time = Date.parse(at);
    if (Number.isNaN(time)) return;
    this.#seen.set(`${id} ${epoch}`, { time, state });
    if (this.#seen.size > MOST) this.#seen.delete(this.#seen.keys().next().value);
  }

  /** Counts by minute, the oldest first: `{all, failed}`. The last bar is the minute that runs. */
  bars(now) {
    const count = SPAN / BAR;
    const bars = Array.from({ length: count }, () => ({ all: 0, failed: 0 }));
    for (const [key, { time, state }] of this.#seen) {
      if (time <= now - SPAN) {
        this.#seen.delete(key);
        continue;
      }
      // Clocks differ a little: what has just ended is not in the future.
      const bar = bars[count - 1 - Math.max(0, Math.floor((now - time) / BAR))];
      bar.all += 1;
      if (state === "failed") bar.failed += 1;
    }
    return bars;
  }
}

/** Samples of one number. */
export class Samples {
  #points = [];

  note(value, now) {
    if (!Number.isFinite(value)) return;
    this.#points.push({ at: now, value });
    while (this.#points[0].at < now - SPAN) this.#points.shift();
  }

  get points() {
    return this.#points;
  }

  get last() {
    return this.#points.at(-1)?.value;
  }
}

/** Returns a round number not below, for the top of a plot. */
export function ceiling(value) {
  if (value <= 4) return 4;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 5, 10].map((n) => n * power).find((n) => n >= value);
}
