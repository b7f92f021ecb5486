// @ts-check
import { newKey } from "../shared/idempotency_key.js";
import { html } from "../vendor/vendor.js";
import { ask } from "./confirm.js";
import { integer } from "./format.js";
import { JobLink } from "./parts.js";
import { address, bulkFilter } from "./routes.js";
import { call, notice } from "./state.js";

/** @typedef {import("calotype").components["schemas"]} Schemas */

const VERBS = { cancel: "Cancel", retry: "Retry" };

/**
 * Counts the jobs of a filter, shows how many and which, and starts the bulk action once their number was entered.
 * @param {"cancel" | "retry"} action
 * @param {Record<string, string[]>} query Filters of the list.
 */
export async function askBulk(action, query) {
  const filter = bulkFilter(action, query);
  if (!filter) return;
  /** @type {Schemas["BulkPreviewView"]} */
  let preview;
  notice.value = "Counting the jobs…";
  try {
    preview = await call("POST", "/v1/admin/bulk-actions:preview", { body: { action, filter } });
  } catch (error) {
    notice.value = "";
    ask(failedPreview(error));
    return;
  }
  notice.value = "";
  const count = `${preview.is_matched_exact ? "" : "at least "}${integer(preview.matched)} ${preview.matched === 1 ? "job" : "jobs"}`;
  const once = newKey();
  ask({
    title: `${VERBS[action]} ${count}?`,
    text: html`<${Preview} action=${action} filter=${filter} preview=${preview} />`,
    action: `${VERBS[action]} them`,
    count: String(preview.matched),
    option: action === "retry" ? "Pay again for images whose paid call has an unknown outcome" : undefined,
    act: async ({ isChecked }) => {
      const body = { action, filter, on_ambiguous: isChecked ? "retry" : "fail" };
      const created = /** @type {Schemas["BulkActionView"]} */ (await call("POST", "/v1/admin/bulk-actions", { body, once }));
      location.hash = address("bulk");
      return `Started ${created.id}.`;
    },
  });
}

/** @param {unknown} error */
function failedPreview(error) {
  const text = error instanceof Error ? error.message : String(error);
  return { title: "The jobs could not be counted", text: html`<p>${text}</p>`, action: "Close", act: async () => "" };
}

/** @param {{action: string, filter: Record<string, string | string[]>, preview: Schemas["BulkPreviewView"]}} properties */
function Preview({ action, filter, preview }) {
  return html`<p>${action === "cancel" ? "Each is canceled as its user would." : "Each is queued again as its user would."} It runs on the server, also
      if this page is closed. Jobs that are created from now on are not touched.</p>
    <dl class="filter">${Object.entries(filter).map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${[value].flat().join(", ")}</dd></div>`)}</dl>
    ${preview.job_ids.length > 0 && html`<p>The newest of them:</p>
      <ul class="plain-list">${preview.job_ids.map((id) => html`<li key=${id}><code>${id}</code></li>`)}</ul>`}
    ${!preview.matched && html`<p>No job matches now.</p>`}`;
}

/**
 * @param {{refusals: Schemas["BulkRefusalView"][]}} properties
 */
export function Refusals({ refusals }) {
  return html`<ul class="plain-list">${refusals.map((refusal) => html`<li key=${refusal.reason}>${refusal.reason}: ${integer(refusal.count)}, such as
    <${JobLink} id=${refusal.job_id} /></li>`)}</ul>`;
}
