// @ts-check
import { html } from "../vendor/vendor.js";
import { Refusals } from "./bulk_dialog.js";
import { ask } from "./confirm.js";
import { integer } from "./format.js";
import { useLive } from "./live.js";
import { Problem, Table, Time } from "./parts.js";
import { address } from "./routes.js";
import { call } from "./state.js";

/** @typedef {import("calotype").components["schemas"]} Schemas */

/** Bulk actions, newest first, with their progress. */
export function Bulk() {
  const live = useLive(async (signal) => /** @type {Schemas["BulkActionView"][]} */ (
    (await call("GET", "/v1/admin/bulk-actions", { signal })).bulk_actions), "bulk");
  const { data, reload } = live;
  if (!data) return html`<${Problem} ...${live} />`;
  return html`<${Problem} ...${live} />
    <p class="hint">To start one, filter the <a href=${address("jobs")}>jobs</a>. The 50 newest are listed.</p>
    <${Table} caption="Bulk actions" empty="There is none." heads=${["Id", "Action", "Filter", "Status", "Progress", "Refused", "By", "Started", ""]}
      rows=${data.map((action) => ({ id: action.id, cells: cells(action, reload) }))} />`;
}

/**
 * @param {Schemas["BulkActionView"]} action
 * @param {() => void} reload
 */
function cells(action, reload) {
  const over = action.done + action.skipped + action.refused;
  const label = `${integer(action.done)} done, ${integer(action.skipped)} skipped, of ${action.is_matched_exact ? "" : "at least "}${integer(action.matched)}`;
  const filter = Object.entries(action.filter).filter(([, value]) => (Array.isArray(value) ? value.length : value !== null));
  return [
    html`<code>${action.id}</code>`, action.action, filter.map(([name, value]) => `${name}: ${[value].flat().join(", ")}`).join("; "), action.status,
    html`${label}${action.status === "running" && html`<progress max=${Math.max(action.matched, 1)} value=${over} aria-label=${`Progress of ${action.id}`}></progress>`}`,
    action.refusals.length ? html`<${Refusals} refusals=${action.refusals} />` : "0",
    action.requested_by, html`<${Time} at=${action.created_at} />`,
    action.status === "running" ? html`<button onClick=${() => stop(action.id, reload)}>Stop<span class="visually-hidden"> ${action.id}</span></button>` : "",
  ];
}

/**
 * @param {string} id
 * @param {() => void} reload
 */
function stop(id, reload) {
  ask({
    title: "Stop this bulk action?",
    text: html`<p>No further job is touched. What was done stays.</p>`,
    action: "Stop it",
    act: async () => {
      await call("POST", `/v1/admin/bulk-actions/${encodeURIComponent(id)}:cancel`);
      reload();
      return `Stopped ${id}.`;
    },
  });
}
