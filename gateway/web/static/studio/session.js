// @ts-check
import { signal } from "../vendor/vendor.js";

const NAME = "calotype.key";

/** The API key; "" while none is given. It stays in this tab and is never part of an address. */
export const key = signal(stored());

/**
 * Keeps the key in the memory of this page.
 *
 * @param {string} value
 * @param {boolean} remember whether a reload of this tab keeps it, too, in session storage
 */
export function signIn(value, remember) {
  forget();
  key.value = value.trim();
  try {
    if (remember) sessionStorage.setItem(NAME, key.value);
  } catch {
    // A browser without storage: the key is in memory only.
  }
}

export function signOut() {
  forget();
  key.value = "";
}

function forget() {
  try {
    sessionStorage.removeItem(NAME);
  } catch {
    // A browser without storage has nothing to forget.
  }
}

function stored() {
  try {
    return sessionStorage.getItem(NAME) ?? "";
  } catch {
    return "";
  }
}
