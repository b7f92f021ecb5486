// @ts-check
import { signal } from "../vendor/vendor.js";

/** What screen readers are told next. */
export const announcement = signal("");

/** @param {string} text */
export function announce(text) {
  announcement.value = text;
}
