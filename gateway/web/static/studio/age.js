// @ts-check
import { html, signal } from "../vendor/vendor.js";
import { absolute, relative } from "./time.js";

const TICK_MS = 30_000;
/** Milliseconds since 1970, of the last tick. */
const now = signal(Date.now());
setInterval(() => {
  if (!document.hidden) now.value = Date.now();
}, TICK_MS);

/**
 * How long ago a moment was, kept up to date.
 *
 * @param {{moment: string}} props RFC 3339
 */
export function Age({ moment }) {
  void now.value;
  return html`<time datetime=${moment} title=${absolute(moment)}>${relative(moment)}</time>`;
}
