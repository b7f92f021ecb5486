// @ts-check
import { html } from "../vendor/vendor.js";
import { relative } from "./format.js";
import { address } from "./routes.js";
import { isPaused, now } from "./state.js";

/** @typedef {import("../vendor/vendor.js").View} View */

/**
 * A time relative to now; the absolute one is in its title.
 * @param {{at: string | null | undefined}} properties
 */
export function Time({ at }) {
  if (!at) return html`<span class="hint">–</span>`;
  return html`<time datetime=${at} title=${at}>${relative(at, now.value)}</time>`;
}

/**
 * A table that scrolls by itself on narrow screens. Cells of the first column are row headers.
 * @param {{caption: string, heads: string[], rows: {id: string, cells: unknown[]}[], empty: string}} properties
 */
export function Table({ caption, heads, rows, empty }) {
  if (!rows.length) return html`<p class="hint">${empty}</p>`;
  const cells = (/** @type {unknown[]} */ all) =>
    all.map((cell, column) => (column ? html`<td>${cell}</td>` : html`<th scope="row">${cell}</th>`));
  return html`<div class="scroll" tabindex="0" role="group" aria-label=${caption}>
    <table>
      <caption class="visually-hidden">${caption}</caption>
      <thead><tr>${heads.map((head) => html`<th scope="col">${head || html`<span class="visually-hidden">Action</span>`}</th>`)}</tr></thead>
      <tbody>${rows.map((row) => html`<tr key=${row.id} data-id=${row.id}>${cells(row.cells)}</tr>`)}</tbody>
    </table>
  </div>`;
}

/**
 * What a panel shows before its first data, and above data that could not be updated.
 * @param {{data: unknown, problem: string}} properties
 */
export function Problem({ data, problem }) {
  if (problem) {
    const old = data ? " What is shown is from before." : "";
    return html`<p class="notice tone-error" role="alert">${problem}${old}${isPaused.value ? "" : " It is tried again."}</p>`;
  }
  return data ? null : html`<p class="hint" role="status">Loading…</p>`;
}

/** @param {{id: string | null | undefined}} properties */
export function JobLink({ id }) {
  return id ? html`<a href=${address("jobs", id)}><code>${id}</code></a>` : html`<span class="hint">–</span>`;
}

/**
 * @param {{label: string, value: unknown, href?: string, tone?: string}} properties
 */
export function Figure({ label, value, href, tone = "" }) {
  const number = html`<strong class=${tone ? `toned ${tone}` : ""}>${value}</strong>`;
  return html`<div class="figure"><dt>${href ? html`<a href=${href}>${label}</a>` : label}</dt><dd>${number}</dd></div>`;
}
