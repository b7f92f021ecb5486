// @ts-check
import { announce } from "./announcements.js";

/**
 * Copies a text.
 *
 * @param {string} text
 * @param {string} done what screen readers are told then
 */
export async function copy(text, done) {
  if (navigator.clipboard) await navigator.clipboard.writeText(text);
  else copySelected(text);
  announce(done);
}

/**
 * For pages without TLS on another machine, where browsers offer no clipboard.
 *
 * @param {string} text
 */
function copySelected(text) {
  const area = document.createElement("textarea");
  area.value = text;
  // A modal dialog makes everything outside of it inert, the selection included.
  (document.querySelector("dialog[open]") ?? document.body).append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

/**
 * Saves an image under a name; opens it in a tab of its own if its store does not let pages read it.
 *
 * @param {string} url
 * @param {string} name
 */
export async function saveImage(url, name) {
  try {
    // The copy that the browser keeps of an image that it has shown may lack the header that lets a page read it.
    const response = await fetch(url, { credentials: "omit", cache: "no-store" });
    if (!response.ok) throw new Error(`status ${response.status}`);
    const address = URL.createObjectURL(await response.blob());
    Object.assign(document.createElement("a"), { href: address, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(address), 60_000);
  } catch {
    window.open(url, "_blank", "noopener,noreferrer");
  }
}
