// How things are written for people. Nothing here touches the page.

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** What may hide or reorder what is written: the rule that the client has for terminals. */
const UNSAFE =
  /[\u0000-\u0008\u000a-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\u{e0000}-\u{e007f}]/gu;

/** Writes a text from elsewhere in one line, so that all of it can be seen. */
export function clean(text) {
  return String(text).replace(/\r?\n/g, " ").replace(UNSAFE, "\ufffd");
}

/** Writes seconds with at most two units: `4 s`, `3 min`, `2 h 5 min`, `3 d 4 h`. */
export function duration(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < MINUTE) return `${s} s`;
  if (s < HOUR) return `${Math.floor(s / MINUTE)} min`;
  const [large, name, small, other] =
    s < DAY ? [HOUR, "h", MINUTE, "min"] : [DAY, "d", HOUR, "h"];
  const rest = Math.floor((s % large) / small);
  const whole = `${Math.floor(s / large)} ${name}`;
  return rest === 0 ? whole : `${whole} ${rest} ${other}`;
}

/** Writes an instant as seen from now: `3 min ago`, `in 10 s`, `now`. */
export function relative(instant, now) {
  const seconds = (Date.parse(instant) - now) / 1000;
  if (Number.isNaN(seconds)) return clean(instant);
  if (Math.abs(seconds) < 1) return "now";
  return seconds > 0 ? `in ${duration(seconds)}` : `${duration(-seconds)} ago`;
}

/** Writes an instant in full, in the reader's own time zone. */
export function absolute(instant) {
  const date = new Date(instant);
  if (Number.isNaN(date.getTime())) return clean(instant);
  const two = (n) => String(n).padStart(2, "0");
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  const offset = -date.getTimezoneOffset();
  const zone = `${two(Math.floor(Math.abs(offset) / 60))}:${two(Math.abs(offset) % 60)}`;
  return `${day} ${clock(instant)} ${offset < 0 ? "-" : "+"}${zone}`;
}

/** Writes the time of day. */
export function clock(instant) {
  const date = new Date(instant);
  if (Number.isNaN(date.getTime())) return clean(instant);
  const two = (n) => String(n).padStart(2, "0");
  return [date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(":");
}

/** Returns what people call a job: its host name, else its step, else its first label, else its id. */
export function nameOf(job) {
  const host = job.input?.vm_hostname;
  if (typeof host === "string" && host !== "") return host;
  if (job.step) return job.step;
  const [label] = Object.entries(job.labels ?? {});
  return label ? `${label[0]}: ${label[1]}` : job.id;
}

/** Writes which try it is, and of which run if it is not the first. */
export function attempt(job) {
  const run = job.epoch > 0 ? `, run ${job.epoch + 1}` : "";
  return `${job.attempt} of ${job.max_attempts}${run}`;
}

/** Writes how far a job is. */
export function step(progress) {
  if (!progress) return "";
  const { percent, step: name, step_number: number, steps } = progress;
  const place = number && steps ? ` (${number} of ${steps})` : "";
  return `${percent} %${name ? `, ${name}` : ""}${place}`;
}

/** Says a number of things: `1 job`, `2 jobs`. */
export function count(number, word) {
  return `${number} ${word}${number === 1 ? "" : "s"}`;
}

/** Says in words what the server refused: `{title, detail, fields, wait, reference}`. */
export function problem(status, body, retryAfter) {
  const known = body !== null && typeof body === "object";
  const title = (known && body.title) || `The server answered ${status}`;
  const errors = known && Array.isArray(body.errors) ? body.errors : [];
  return {
    title,
    detail: (known && body.detail) || "",
    fields: errors.map((error) => `${error.pointer || "body"}: ${error.detail}`),
    wait: seconds(retryAfter),
    reference: (known && body.request_id) || "",
  };
}

/** Reads `Retry-After`: whole seconds, at most an hour; 0 when there is none. */
export function seconds(text) {
  return /^\d{1,9}$/.test(text ?? "") ? Math.min(Number(text), 3600) : 0;
}
