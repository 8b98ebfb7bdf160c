// The page: who is signed in, which view is open, and what is around it.

import { current, forget, onEnd, resume } from "./api.mjs";
import { el, refreshTimes, say, show, write } from "./dom.mjs";
import { jobView } from "./job.mjs";
import { listView } from "./list.mjs";
import { Live } from "./live.mjs";
import { serviceView } from "./service.mjs";
import { signInView } from "./signin.mjs";

/** How often relative times are written anew, in milliseconds. */
const TICK = 5000;

const main = document.getElementById("main");
const nav = document.getElementById("nav");
let view = null;
let live = null;

/** Finds the view that the address names. */
function route() {
  const [path, query] = location.hash.replace(/^#/, "").split("?");
  const id = /^\/jobs\/([\w-]{1,64})$/.exec(path);
  if (id) return jobView(live, id[1]);
  if (path === "/service") return serviceView(live);
  return listView(live, new URLSearchParams(query));
}

/** Shows the view of the address, or asks who is there. */
function open(reason) {
  const isFirst = view === null;
  view?.close();
  view = current() ? route() : signInView(enter, reason);
  show(main, view.element);
  document.title = `${view.title} – vmctl`;
  frame();
  // Who hears the page is told where it is now; who has just come is not moved.
  if (!isFirst) main.querySelector("h1").focus();
}

function frame() {
  const session = current();
  nav.hidden = !session;
  document.getElementById("who").hidden = !session;
  if (!session) return;
  write(document.getElementById("user"), `${session.user}${session.project ? ` in ${session.project}` : ""}`);
  const here = location.hash.startsWith("#/service") ? "#/service" : "#/jobs";
  for (const link of nav.querySelectorAll("a")) {
    if (link.getAttribute("href") === here) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  status();
}

function status() {
  const place = document.getElementById("live");
  place.dataset.is = live.isLive ? "live" : "other";
  show(place, el("span", { class: "mark", "aria-hidden": "true" }), live.words);
}

function enter() {
  live = new Live();
  live.join({ state: status });
  live.start();
  open();
}

function leave(reason) {
  view?.close();
  live?.stop();
  live = null;
  forget();
  open(reason);
}

onEnd(leave);
document.getElementById("out").addEventListener("click", () => {
  leave();
  say("Signed out.");
});
document.getElementById("skip").addEventListener("click", (event) => {
  // The address names a view, not a place on the page.
  event.preventDefault();
  main.focus();
});
window.addEventListener("hashchange", () => open());
setInterval(refreshTimes, TICK);

if (resume()) enter();
else open();
