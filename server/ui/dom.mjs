// Elements. Whatever comes from the API becomes text here, and never markup.

import { absolute, clean, relative } from "./format.mjs";

const SVG = "http://www.w3.org/2000/svg";

/**
 * Makes an element. Functions are listeners (`{click: …}`), `true` is an attribute without value,
 * `false` and `null` none. Children are elements, or texts that are cleaned.
 */
export function el(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/** The same in SVG. */
export function svg(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) {
      element.setAttribute(name, clean(value));
    }
  }
  element.append(...nodes(children));
  return element;
}

function nodes(children) {
  const wanted = children.flat().filter((child) => child !== null && child !== undefined && child !== false);
  return wanted.map((child) => (child instanceof Node ? child : clean(child)));
}

/** Gives an element other children. */
export function show(element, ...children) {
  element.replaceChildren(...nodes(children));
}

/** Gives an element another text; one that has it stays, so that nothing is read out twice. */
export function write(element, text) {
  const cleaned = clean(text);
  if (element.textContent !== cleaned) element.textContent = cleaned;
}

/** Writes an instant as seen from now, and in full for who points at it. */
export function when(instant) {
  if (!instant) return el("span", {}, "–");
  const title = absolute(instant);
  return el("time", { datetime: instant, title }, relative(instant, Date.now()));
}

/** Brings all instants on the page up to date. */
export function refreshTimes() {
  for (const time of document.querySelectorAll("time:not([data-fixed])")) {
    write(time, relative(time.dateTime, Date.now()));
  }
}

/** A state: a mark whose shape says the same as the word. */
export function badge(state) {
  return el("span", { class: "state", "data-state": state }, el("span", { class: "mark", "aria-hidden": "true" }), state);
}

/** A table that stays one for who hears it when a narrow screen shows its rows as cards. */
export function table(caption, heads, body) {
  const cells = heads.map((head) => el("th", { role: "columnheader", scope: "col" }, head));
  return el(
    "table",
    { role: "table" },
    el("caption", { class: "hidden" }, caption),
    el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, cells)),
    body,
  );
}

/** A row of it; `heads` name the cells on a narrow screen. */
export function row(heads, cells) {
  const made = cells.map((cell, n) => el("td", { role: "cell", "data-head": heads[n] }, cell));
  return el("tr", { role: "row" }, made);
}

/** The rows of a table. */
export function rows(...children) {
  return el("tbody", { role: "rowgroup" }, ...children);
}

/** Says something to those who hear the page. */
export function say(text) {
  write(document.getElementById("said"), text);
}

/** Shows what the server refused. */
export function alarm(failure) {
  const { title, detail, fields, wait, reference } = failure.problem;
  const again = wait > 0 ? ` Try again in ${wait} s.` : "";
  return el(
    "div",
    { class: "alarm", role: "alert" },
    el("p", {}, el("strong", {}, title), detail ? `: ${detail}.` : ".", again),
    fields.length > 0 && el("ul", {}, fields.map((field) => el("li", {}, field))),
    reference && el("p", { class: "faint" }, `Request ${reference}`),
  );
}
