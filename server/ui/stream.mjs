// Follows a stream of events for as long as it is wanted: goes on behind the last event after a cut,
// waits longer each time, and says when the server refuses streams.

import { send } from "./api.mjs";
import { parser, pause } from "./sse.mjs";

/** A server that lives says something every 15 s. */
const SILENCE = 45_000;
/** Wait before a refused stream is asked for again, at least. */
const REFUSED = 30_000;

/** A place in a stream, for `follow` to go on from. */
export function beginning() {
  return { last: "", retry: 3000 };
}

/**
 * Follows `path` from a place while the page can be seen: what nobody looks at takes no connection. Calls
 * `on.frame(frame)`, which may return `over`, and `on.state(word, failure)` with `live`, `away`, `refused` or
 * `over`. Returns a function that ends it.
 */
export function follow(path, place, on) {
  let running = null;
  const look = () => {
    if (document.hidden) {
      running?.abort();
      running = null;
    } else if (!running) {
      running = new AbortController();
      run(path, place, on, running.signal);
    }
  };
  document.addEventListener("visibilitychange", look);
  look();
  return () => {
    document.removeEventListener("visibilitychange", look);
    running?.abort();
  };
}

async function run(path, place, on, stopped) {
  let tries = 0;
  while (!stopped.aborted) {
    let least = place.retry;
    try {
      const went = await once(path, place, on, stopped);
      if (stopped.aborted) return;
      if (went === "over") {
        on.state("over");
        return;
      }
      tries = went === "read" ? 0 : tries + 1;
      on.state("away");
    } catch (failure) {
      if (stopped.aborted || failure.status === 401) return;
      const refused = failure.status > 0;
      on.state(refused ? "refused" : "away", failure);
      if (refused) least = Math.max(REFUSED, failure.problem.wait * 1000);
      tries += 1;
    }
    await delay(pause(Math.max(0, tries - 1), least), stopped);
  }
}

/** Reads one connection to its end. */
async function once(path, place, on, stopped) {
  const silent = new AbortController();
  let watch;
  const heard = () => {
    clearTimeout(watch);
    watch = setTimeout(() => silent.abort(), SILENCE);
  };
  heard();
  let read = "nothing";
  try {
    const headers = { Accept: "text/event-stream" };
    if (place.last) headers["Last-Event-ID"] = place.last;
    const signal = AbortSignal.any([stopped, silent.signal]);
    const response = await send(path, { headers, signal, stream: true });
    if (response.status === 204) return "over";
    on.state("live");
    const feed = parser();
    for await (const text of pieces(response.body)) {
      heard();
      for (const frame of feed(text)) {
        read = "read";
        place.last = frame.id || place.last;
        if (frame.retry !== null) place.retry = Math.min(frame.retry, 60_000);
        if (on.frame(frame) === "over") return "over";
        if (stopped.aborted) return read;
      }
    }
  } catch (failure) {
    // What was cut while it was read is asked for again at once.
    if (failure.status === undefined) return read;
    throw failure;
  } finally {
    clearTimeout(watch);
    silent.abort();
  }
  return read;
}

async function* pieces(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    // Ending early must end the request too.
    reader.cancel().catch(() => {});
  }
}

function delay(milliseconds, stopped) {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      stopped.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, milliseconds);
    stopped.addEventListener("abort", end);
  });
}
