// Requests to the API with the token of who is signed in. The token is kept for this tab only.

import { problem } from "./format.mjs";

const KEPT = "vmctl.session";
/** How long an answer may take, in milliseconds. */
const PATIENCE = 20_000;
/** The API lies beside the page, wherever a proxy puts both. */
const BASE = new URL("../v1/", document.baseURI);

let session = null;
let ended = () => {};

/** An answer that is no success, or none at all (`status` 0). */
export class Failure extends Error {
  constructor(status, told) {
    super(told.title);
    this.status = status;
    this.problem = told;
  }
}

/** Returns who is signed in: `{token, user, project, roles, expires}`. */
export function current() {
  return session;
}

/** Says whether the roles of who is signed in include one. */
export function may(role) {
  const roles = session?.roles ?? [];
  return roles.includes("admin") || roles.includes(role);
}

/** Has a function called when the token is not valid any more. */
export function onEnd(callback) {
  ended = callback;
}

/** Takes up the session that this tab had before it was loaded again. */
export function resume() {
  try {
    const kept = JSON.parse(sessionStorage.getItem(KEPT));
    if (kept && Date.parse(kept.expires) > Date.now()) session = kept;
    else forget();
  } catch {
    forget();
  }
  return session;
}

/** Forgets the token. */
export function forget() {
  session = null;
  sessionStorage.removeItem(KEPT);
}

/** Signs in with a name and a password, or with a token of one's own. */
export async function signIn(given) {
  const path = given.token ? "testtoken" : "connect";
  const { access } = await ask(path, { method: "POST", body: given, anonymous: true });
  session = {
    token: access.token.id,
    expires: access.token.expires,
    user: access.user.name,
    project: access.token.tenant?.name ?? "",
    roles: access.user.roles.map((role) => role.name),
  };
  sessionStorage.setItem(KEPT, JSON.stringify(session));
}

/** Asks for a JSON document. */
export async function ask(path, options = {}) {
  const response = await send(path, options);
  if (response.status === 204) return null;
  return await response.json().catch((error) => {
    throw unreachable(error);
  });
}

/** Sends one request; anything but a success is a `Failure`. */
export async function send(path, { method = "GET", body, headers = {}, signal, anonymous, stream } = {}) {
  const all = { Accept: "application/json", ...headers };
  const used = anonymous ? null : session?.token;
  if (used) all["X-TOKEN"] = used;
  if (body !== undefined) all["Content-Type"] = "application/json";
  // A stream has its own watch over silence.
  const bounds = stream ? [] : [AbortSignal.timeout(PATIENCE)];
  if (signal) bounds.push(signal);
  let response;
  try {
    response = await fetch(new URL(path, BASE), {
      method,
      headers: all,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: bounds.length > 0 ? AbortSignal.any(bounds) : undefined,
      cache: "no-store",
      credentials: "omit",
      redirect: "error",
    });
  } catch (error) {
    throw unreachable(error);
  }
  if (response.ok) return response;
  const text = await response.json().catch(() => null);
  const failure = new Failure(response.status, problem(response.status, text, response.headers.get("Retry-After")));
  // An old answer says nothing about a token that was got since.
  if (response.status === 401 && used && used === session?.token) {
    forget();
    ended(failure);
  }
  throw failure;
}

function unreachable(error) {
  const late = error.name === "TimeoutError";
  const title = late ? "The server did not answer in time" : "The server cannot be reached";
  return new Failure(0, { title, detail: "", fields: [], wait: 0, reference: "" });
}
