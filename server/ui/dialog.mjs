// Asking before something is done.

import { el } from "./dom.mjs";

/**
 * Asks, and returns null, or what was written into the field if there is one. Escape and the first button,
 * which has the focus, do nothing.
 */
export function confirm({ title, text, yes, no, field }) {
  const input = field && el("input", { type: "text", name: "field", maxlength: "256", autocomplete: "off" });
  const box = el(
    "dialog",
    { "aria-labelledby": "dialog-title" },
    el(
      "form",
      { method: "dialog" },
      el("h2", { id: "dialog-title" }, title),
      el("p", {}, text),
      input && el("label", { class: "field" }, el("span", {}, field), input),
      el(
        "div",
        { class: "actions" },
        el("button", { value: "no", autofocus: true, formnovalidate: true }, no),
        el("button", { value: "yes", class: "danger" }, yes),
      ),
    ),
  );
  // Enter in the field would press the first button.
  input?.addEventListener("keydown", (event) => {
    if (event.key === "Enter") event.preventDefault();
  });
  document.body.append(box);
  box.showModal();
  return new Promise((resolve) => {
    box.addEventListener("close", () => {
      box.remove();
      resolve(box.returnValue === "yes" ? (input?.value.trim() ?? "") : null);
    });
  });
}
