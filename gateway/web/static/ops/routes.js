// @ts-check
/** Names of the panels, in the order of the navigation. */
export const PANELS = /** @type {const} */ (["queue", "jobs", "providers", "webhooks", "dead", "bulk", "spend"]);

/** Filters of a list of jobs that are single values. */
export const JOB_FILTERS = /** @type {const} */ ([
  "tenant", "id", "operation_id", "end_user", "reason", "code", "provider", "created_after", "created_before",
]);
export const OPEN_STATUSES = ["queued", "processing", "generating", "uploading"];
export const STATUSES = [...OPEN_STATUSES, "completed", "failed", "canceled"];

/**
 * @typedef {object} Route
 * @property {string} panel Name of the panel.
 * @property {string} id Object of the panel, such as a job; "" for the list.
 * @property {Record<string, string[]>} query Filters, each with its values.
 */

/**
 * Reads the part of an address after `#`; whatever it is, a panel is shown.
 * @param {string} hash Such as `#/jobs?status=failed`.
 * @returns {Route}
 */
export function parseRoute(hash) {
  const [path = "", search = ""] = hash.replace(/^#\/?/, "").split("?", 2);
  const [panel = "", id = ""] = path.split("/", 2);
  /** @type {Record<string, string[]>} */
  const query = {};
  for (const [name, value] of new URLSearchParams(search)) if (value) (query[name] ??= []).push(value);
  const known = PANELS.find((name) => name === panel);
  return known ? { panel: known, id: safely(id), query } : { panel: "queue", id: "", query: {} };
}

/** @param {string} text */
function safely(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/**
 * Returns the address of a panel, an object of it, or a filtered list.
 * @param {string} panel
 * @param {string} [id]
 * @param {Record<string, string | string[] | undefined>} [query]
 */
export function address(panel, id = "", query = {}) {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const one of [value ?? []].flat()) if (one) parameters.append(name, one);
  }
  const search = parameters.toString();
  return `#/${panel}${id ? `/${encodeURIComponent(id)}` : ""}${search ? `?${search}` : ""}`;
}

/**
 * Returns the filter of a bulk action for a list with these filters; null if the action applies to none of its states.
 * @param {"cancel" | "retry"} action
 * @param {Record<string, string[]>} query
 * @returns {Record<string, string | string[]> | null}
 */
export function bulkFilter(action, query) {
  const allowed = action === "cancel" ? OPEN_STATUSES : ["failed"];
  const chosen = query.status ?? [];
  const status = chosen.length ? chosen.filter((one) => allowed.includes(one)) : allowed;
  if (!status.length) return null;
  /** @type {Record<string, string | string[]>} */
  const filter = { status };
  for (const name of JOB_FILTERS) if (query[name]?.[0]) filter[name] = query[name][0];
  return filter;
}
