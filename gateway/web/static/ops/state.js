// @ts-check
import { computed, signal } from "../vendor/vendor.js";
import { ApiError, request } from "./api.js";
import { parseRoute } from "./routes.js";

const KEY = "calotype.operator_key";
const PAUSED = "calotype.ops_paused";

/** Where the person is. */
export const route = signal(parseRoute(location.hash));
/** The operator's key; "" before the sign-in. It stays in this tab's memory, or in its session storage if asked. */
export const key = signal(stored(KEY));
/** Whether live updates are paused. Only the person's own click changes that: neither focus nor another panel. */
export const isPaused = signal(stored(PAUSED) === "yes");
/** Whether the tab cannot be seen; nothing is requested then. */
export const isHidden = signal(document.hidden);
/** Whether panels request nothing by themselves. */
export const isHeld = computed(() => isPaused.value || isHidden.value);
/** Milliseconds since 1970, for relative times; advances while updates are shown. */
export const now = signal(Date.now());
/** When a panel was updated last, in milliseconds since 1970; 0 before. */
export const updatedAt = signal(0);
/** What the last action did, for people; "" for nothing. */
export const notice = signal("");
/** Why the page asks for a key again; "" for nothing. */
export const signInProblem = signal("");

addEventListener("hashchange", () => { route.value = parseRoute(location.hash); notice.value = ""; });
document.addEventListener("visibilitychange", () => { isHidden.value = document.hidden; });
setInterval(() => { if (!isHeld.value) now.value = Date.now(); }, 1_000);

/** @param {string} name */
function stored(name) {
  try {
    return sessionStorage.getItem(name) ?? "";
  } catch {
    return "";
  }
}

/**
 * @param {string} name
 * @param {string} value "" removes it.
 */
function store(name, value) {
  try {
    if (value) sessionStorage.setItem(name, value);
    else sessionStorage.removeItem(name);
  } catch {
    // A browser without storage: the page forgets on reload.
  }
}

/** @param {boolean} value */
export function setPaused(value) {
  isPaused.value = value;
  store(PAUSED, value ? "yes" : "");
}

/**
 * Keeps a key; `isKept` also over a reload of this tab.
 * @param {string} value
 * @param {boolean} isKept
 */
export function signIn(value, isKept) {
  signInProblem.value = "";
  key.value = value;
  store(KEY, isKept ? value : "");
}

/** @param {string} [problem] Why, for people. */
export function signOut(problem = "") {
  signInProblem.value = problem;
  key.value = "";
  store(KEY, "");
}

/**
 * Sends a request with the key; a key that is refused ends the session.
 * @param {string} method
 * @param {string} path
 * @param {Parameters<typeof request>[3]} [options]
 * @returns {Promise<any>}
 */
export async function call(method, path, options) {
  const used = key.value;
  try {
    return await request(used, method, path, options);
  } catch (error) {
    const isRefused = error instanceof ApiError && (error.status === 401 || error.status === 403);
    if (isRefused && key.value === used) signOut(error.message);
    throw error;
  }
}
