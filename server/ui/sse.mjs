// Server-sent events from a stream of bytes: `EventSource` cannot send the token in a header.

/** Longest frame that is believed, in characters. */
const MOST = 4 * 1024 * 1024;

/** Makes a parser. It takes text as it comes and returns the frames that it completes. */
export function parser() {
  let rest = "";
  let frame = blank();
  /** Id of the last frame, which names the place to go on from. */
  let last = "";
  let size = 0;

  function line(text, frames) {
    if (text === "") {
      if (frame.id !== null) last = frame.id;
      if (frame.data.length > 0 || frame.id !== null || frame.retry !== null) {
        const { event, data, retry } = frame;
        frames.push({ event: event || "message", data: data.join("\n"), id: last, retry });
      }
      frame = blank();
      size = 0;
      return;
    }
    const colon = text.indexOf(":");
    // A line that begins with a colon is a comment: the server's ping.
    if (colon === 0) return;
    const name = colon < 0 ? text : text.slice(0, colon);
    const value = colon < 0 ? "" : text.slice(colon + 1).replace(/^ /, "");
    if (name === "event") frame.event = value;
    else if (name === "data") frame.data.push(value);
    else if (name === "id" && !value.includes("\0")) frame.id = value;
    else if (name === "retry" && /^\d{1,9}$/.test(value)) frame.retry = Number(value);
  }

  return function feed(text) {
    const frames = [];
    size += text.length;
    if (size > MOST) throw new Error("a frame of the stream is too long");
    rest += text;
    // A carriage return at the very end may be half of a line end.
    const lines = rest.split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop();
    for (const one of lines) line(one, frames);
    return frames;
  };
}

function blank() {
  return { event: "", data: [], id: null, retry: null };
}

/**
 * Says how long to wait before the n-th try, in milliseconds: twice as long each time, not less than
 * the server asks for, and not the same for all pages that lost the same server.
 */
export function pause(tries, least, random = Math.random()) {
  const grown = Math.min(1000 * 2 ** Math.min(tries, 10), 30_000);
  return Math.round(Math.max(grown, least) * (1 + random / 2));
}
