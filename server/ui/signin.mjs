// Signing in.

import { ask, signIn } from "./api.mjs";
import { alarm, el, show } from "./dom.mjs";

/** Makes the view; `done` is called when somebody is signed in, `reason` says why nobody is. */
export function signInView(done, reason) {
  const told = el("div", {});
  const hint = el("p", { class: "faint" });
  if (reason) show(told, alarm(reason));

  async function submit(event, read) {
    event.preventDefault();
    const button = event.target.querySelector("button");
    button.disabled = true;
    show(told);
    try {
      await signIn(read(new FormData(event.target)));
      done();
    } catch (failure) {
      show(told, alarm(failure));
      // Nothing is asked again before the server wants it.
      await new Promise((resolve) => setTimeout(resolve, failure.problem.wait * 1000));
    } finally {
      button.disabled = false;
    }
  }

  const byName = el(
    "form",
    { method: "post", class: "card", submit: (event) => submit(event, person) },
    field("User", { name: "login", autocomplete: "username", required: true, autocapitalize: "none", spellcheck: "false" }),
    field("Password", { name: "password", type: "password", autocomplete: "current-password", required: true }),
    el(
      "details",
      {},
      el("summary", {}, "Project and domain"),
      field("Project, if not your default", { name: "project", autocomplete: "off" }),
      field("Domain, if not Default", { name: "domain", autocomplete: "off" }),
    ),
    el("button", { class: "main" }, "Sign in"),
  );
  const byToken = el(
    "form",
    { method: "post", class: "card", submit: (event) => submit(event, token) },
    el(
      "details",
      {},
      el("summary", {}, "Use a token instead"),
      field("Token, scoped to a project", { name: "token", type: "password", autocomplete: "off", required: true }),
      el("button", {}, "Use the token"),
    ),
  );
  introduce(hint);
  const element = el(
    "div",
    { class: "narrow" },
    el("h1", { tabindex: "-1" }, "Sign in"),
    told,
    byName,
    byToken,
    hint,
    el("p", { class: "faint" }, "The token stays in this tab, and goes when you sign out or close it. No cookie is set."),
  );
  return { title: "Sign in", element, close() {} };
}

function person(form) {
  const given = { login: form.get("login"), password: form.get("password") };
  for (const name of ["project", "domain"]) {
    const value = form.get(name).trim();
    if (value) given[name] = value;
  }
  return given;
}

function token(form) {
  return { token: form.get("token").trim() };
}

function field(label, attributes) {
  return el("label", { class: "field" }, el("span", {}, label), el("input", { type: "text", ...attributes }));
}

async function introduce(hint) {
  try {
    const { auth, version } = await ask("", { anonymous: true });
    const keystone = auth.type === "keystone";
    const way = keystone
      ? `The server passes name and password on to Keystone at ${auth.url}. With a token of your own they stay with you.`
      : "";
    show(hint, way, way && " ", `vmctl ${version}.`);
  } catch {
    // It is only a hint.
  }
}
