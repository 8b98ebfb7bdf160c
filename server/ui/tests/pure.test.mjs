// Run by scripts/check-ui: what the page decides without a browser.

import assert from "node:assert/strict";
import test from "node:test";

import { absolute, attempt, clean, count, duration, nameOf, problem, relative, step } from "../format.mjs";
import { Jobs, MOST, addEntry, entryOf, isOlder, matches, statesOf } from "../jobs.mjs";
import { BAR, Ends, SPAN, Samples, ceiling } from "../series.mjs";
import { parser, pause } from "../sse.mjs";

const STREAM =
  ": ping\n\nretry: 3000\n\nevent: snapshot\ndata: {\"a\":\ndata: 1}\nid: one\n\n" +
  "event: progress\r\ndata: x\r\n\r\ndata:y\rid\r\r";
const FRAMES = [
  { event: "message", data: "", id: "", retry: 3000 },
  { event: "snapshot", data: "{\"a\":\n1}", id: "one", retry: null },
  { event: "progress", data: "x", id: "one", retry: null },
];

test("frames are the same however the bytes are cut", () => {
  for (let size = 1; size <= STREAM.length; size += 1) {
    const feed = parser();
    const frames = [];
    for (let at = 0; at < STREAM.length; at += size) {
      frames.push(...feed(STREAM.slice(at, at + size)));
    }
    // The last line end may be half of one, until more comes.
    frames.push(...feed("\n"));
    assert.deepEqual(frames.slice(0, 3), FRAMES, `cut at ${size}`);
    assert.equal(frames[3].data, "y");
    assert.equal(frames[3].id, "", "an empty id forgets the place");
  }
});

test("a frame without end is refused", () => {
  const feed = parser();
  const piece = "data: " + "x".repeat(1024 * 1024);
  assert.throws(() => {
    for (let n = 0; n < 5; n += 1) feed(piece);
  }, /too long/);
});

test("pauses grow, have an end, and obey the server", () => {
  assert.equal(pause(0, 0, 0), 1000);
  assert.equal(pause(3, 0, 0), 8000);
  assert.equal(pause(99, 0, 1), 45_000);
  assert.equal(pause(0, 60_000, 0), 60_000);
});

const job = (change = {}) => ({
  id: "a",
  kind: "vm.create",
  state: "running",
  terminal: false,
  epoch: 0,
  attempt: 1,
  max_attempts: 5,
  labels: { team: "web" },
  input: { vm_hostname: "lx1" },
  created_at: "2026-11-30T20:00:00Z",
  started_at: null,
  finished_at: null,
  cancel_requested_at: null,
  progress: null,
  error: null,
  ...change,
});
const event = (word, data, time = "2026-11-30T20:01:00Z") => ({
  id: `${word}-${time}`,
  type: `jobs.${word}.v1`,
  subject: "a",
  time,
  data: { kind: "vm.create", state: "running", epoch: 0, attempt: 1, seq: 0, ...data },
});

test("nothing goes back", () => {
  const now = job({ attempt: 2 });
  for (const [told, older] of [
    [{ epoch: 0, attempt: 1, state: "running" }, true],
    [{ epoch: 0, attempt: 2, state: "retrying" }, true],
    [{ epoch: 0, attempt: 2, state: "waiting" }, false],
    [{ epoch: 0, attempt: 1, state: "failed" }, false],
    [{ epoch: 1, attempt: 1, state: "queued" }, false],
  ]) {
    assert.equal(isOlder(told, now), older, JSON.stringify(told));
  }
  const ended = job({ state: "succeeded" });
  assert.ok(isOlder({ epoch: 0, attempt: 5, state: "running" }, ended));
  assert.ok(!isOlder({ epoch: 0, attempt: 1, state: "succeeded" }, ended));
});

test("events move a job on, once and in any mixture with records", () => {
  const jobs = new Jobs();
  assert.equal(jobs.apply(event("started", {})), "ask");
  assert.equal(jobs.apply(event("progress", {})), "ignored");
  jobs.put(job({ state: "queued" }));
  assert.equal(jobs.apply(event("started", {})), "changed");
  assert.equal(jobs.get("a").started_at, "2026-11-30T20:01:00Z");
  const progress = { percent: 40, step: "boot", at: "2026-11-30T20:01:10Z" };
  jobs.apply(event("progress", { progress }));
  jobs.apply(event("progress", { progress: { ...progress, percent: 10, at: "2026-11-30T20:01:05Z" } }));
  assert.equal(jobs.get("a").progress.percent, 40);
  // A record that was asked for before that.
  jobs.put(job({ progress: { ...progress, percent: 5, at: "2026-11-30T20:01:01Z" } }));
  assert.equal(jobs.get("a").progress.percent, 40);
  assert.equal(jobs.put(job({ state: "queued" })), false);
  assert.equal(jobs.apply(event("cancel_requested", { state: "queued" })), "changed");
  assert.equal(jobs.get("a").state, "running");
  assert.equal(jobs.apply(event("retry", { state: "retrying", attempt: 2 })), "ask");
  assert.equal(jobs.get("a").progress, null);
  assert.equal(jobs.apply(event("failed", { state: "failed", attempt: 2, error: { title: "no" } })), "changed");
  assert.equal(jobs.apply(event("started", { attempt: 3 })), "ignored");
  assert.deepEqual([jobs.get("a").terminal, jobs.get("a").error.title], [true, "no"]);
  assert.equal(jobs.apply(event("redriven", { state: "queued", epoch: 1 })), "ask");
});

test("the page keeps the newest jobs only", () => {
  const jobs = new Jobs();
  for (let n = 0; n < MOST + 20; n += 1) {
    jobs.put(job({ id: String(n), created_at: new Date(n * 1000).toISOString() }));
  }
  assert.equal(jobs.size, MOST);
  assert.equal(jobs.all()[0].id, String(MOST + 19));
  assert.equal(jobs.get("19"), undefined);
});

test("filters choose by state, kind and words", () => {
  const all = { state: "", kind: "", text: "" };
  assert.ok(matches(job(), all));
  for (const [filter, is] of [
    [{ state: "live" }, true],
    [{ state: "ended" }, false],
    [{ state: "running" }, true],
    [{ kind: "vm.delete" }, false],
    [{ text: " LX1 " }, true],
    [{ text: "team:web" }, true],
    [{ text: "lx2" }, false],
  ]) {
    assert.equal(matches(job(), { ...all, ...filter }), is, JSON.stringify(filter));
  }
  assert.deepEqual(statesOf("live"), ["queued", "running", "waiting", "retrying"]);
  assert.deepEqual(statesOf("nonsense"), []);
});

test("a history has each event once, and an end", () => {
  const history = [];
  assert.ok(addEntry(history, entryOf(event("started", {}))));
  assert.ok(!addEntry(history, entryOf(event("started", {}))));
  assert.ok(!addEntry(history, entryOf(event("progress", {}))));
  for (let n = 0; n < 20; n += 1) addEntry(history, { id: `e${n}`, type: "continued" }, 10);
  assert.equal(history.length, 10);
  assert.deepEqual([history[0].type, history.at(-1).id], ["started", "e19"]);
});

test("ends are counted by minute, each run once", () => {
  const ends = new Ends();
  const now = Date.parse("2026-11-30T20:00:00Z");
  const at = (ago) => new Date(now - ago).toISOString();
  ends.note("a", 0, "succeeded", at(1000));
  ends.note("a", 0, "succeeded", at(1000));
  ends.note("a", 1, "failed", at(-5000));
  ends.note("b", 0, "succeeded", at(BAR + 1000));
  ends.note("c", 0, "succeeded", at(SPAN));
  ends.note("d", 0, "succeeded", "nonsense");
  const bars = ends.bars(now);
  assert.deepEqual(bars.slice(-2), [{ all: 1, failed: 0 }, { all: 2, failed: 1 }]);
  assert.equal(bars.reduce((sum, bar) => sum + bar.all, 0), 3);
});

test("samples are those of ten minutes", () => {
  const samples = new Samples();
  samples.note(undefined, 0);
  for (let n = 0; n <= 100; n += 1) samples.note(n, n * 10_000);
  assert.equal(samples.last, 100);
  assert.equal(samples.points[0].value, 40);
  assert.deepEqual([0, 4, 5, 11, 99, 100, 430].map(ceiling), [4, 4, 5, 20, 100, 100, 500]);
});

test("times, names and progress are written for people", () => {
  assert.deepEqual(
    [0, 59, 60, 3599, 3600, 3725, 90_000, -5].map(duration),
    ["0 s", "59 s", "1 min", "59 min", "1 h", "1 h 2 min", "1 d 1 h", "0 s"],
  );
  const now = Date.parse("2026-11-30T20:00:00Z");
  assert.equal(relative("2026-11-30T19:59:00Z", now), "1 min ago");
  assert.equal(relative("2026-11-30T20:00:10Z", now), "in 10 s");
  assert.equal(relative("2026-11-30T20:00:00.400Z", now), "now");
  assert.equal(relative("nonsense", now), "nonsense");
  assert.match(absolute("2026-11-30T20:00:00Z"), /^2026-1[12]-\d\d \d\d:\d\d:\d\d [+-]\d\d:\d\d$/);
  assert.equal(nameOf(job()), "lx1");
  assert.equal(nameOf(job({ input: null })), "team: web");
  assert.equal(nameOf(job({ input: {}, labels: {} })), "a");
  assert.equal(attempt(job({ epoch: 1 })), "1 of 5, run 2");
  assert.equal(step({ percent: 40, step: "boot", step_number: 5, steps: 6 }), "40 %, boot (5 of 6)");
  assert.equal(step(null), "");
  assert.deepEqual([count(1, "job"), count(0, "job")], ["1 job", "0 jobs"]);
  assert.equal(clean("one\ntwo\r\nthree"), "one two three");
  assert.equal(clean("a\tb\u001b[31m\u202egpj\u{e0041}"), "a\tb\ufffd[31m\ufffdgpj\ufffd");
});

test("problems are told in words", () => {
  const body = { title: "No", detail: "why", errors: [{ pointer: "/a", detail: "is missing" }], request_id: "r" };
  assert.deepEqual(problem(422, body, null), {
    title: "No",
    detail: "why",
    fields: ["/a: is missing"],
    wait: 0,
    reference: "r",
  });
  assert.equal(problem(502, null, "7").title, "The server answered 502");
  assert.equal(problem(502, null, "7").wait, 7);
  assert.equal(problem(503, {}, "999999").wait, 3600);
  assert.equal(problem(503, {}, "Wed, 21 Oct 2026 07:28:00 GMT").wait, 0);
});
