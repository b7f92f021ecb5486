// @ts-check
import { html, useEffect, useId, useState } from "../vendor/vendor.js";
import { askBulk } from "./bulk_dialog.js";
import { useLive } from "./live.js";
import { JobLink, Problem, Table, Time } from "./parts.js";
import { JOB_FILTERS, STATUSES, address, bulkFilter } from "./routes.js";
import { call, route } from "./state.js";

/** @typedef {import("calotype").components["schemas"]} Schemas */

const PAGE = 100;
/** Pages that one load requests at most, as a page may be short, even empty, before the end. */
const MAX_REQUESTS = 5;

/** @typedef {{jobs: Schemas["TenantJobView"][], token: string}} Found */

/**
 * Returns up to 100 jobs that match, newest first, and the token of the next ones; "" at the end.
 * @param {Record<string, string[]>} query
 * @param {string} token
 * @param {AbortSignal} [signal]
 * @returns {Promise<Found>}
 */
async function load(query, token, signal) {
  /** @type {Found} */
  const found = { jobs: [], token };
  for (let number = 0; number < MAX_REQUESTS; number += 1) {
    const size = PAGE - found.jobs.length;
    const page = await call("GET", "/v1/admin/jobs", { signal, query: { ...query, page_size: String(size), page_token: found.token } });
    found.jobs.push(...page.jobs);
    found.token = page.next_page_token ?? "";
    if (!found.token || found.jobs.length >= PAGE) break;
  }
  return found;
}

/** Jobs of all tenants by filters that the address holds, newest first. */
export function Jobs() {
  const { query } = route.value;
  const name = address("jobs", "", query);
  return html`<${Filters} key=${`filters ${name}`} query=${query} /><${Found} key=${name} name=${name} query=${query} />`;
}

/** @param {{name: string, query: Record<string, string[]>}} properties */
function Found({ name, query }) {
  const live = useLive((signal) => load(query, "", signal), name);
  const [older, setOlder] = useState(/** @type {Found | null} */ (null));
  const [problem, setProblem] = useState("");
  // The list stands still while older jobs are shown, so that none is missed between its pages.
  const shown = older ?? live.data;
  if (!shown) return html`<${Problem} ...${live} />`;
  const showOlder = async () => {
    try {
      const next = await load(query, shown.token);
      setOlder({ jobs: [...shown.jobs, ...next.jobs], token: next.token });
      setProblem("");
    } catch (error) {
      setProblem(error instanceof Error ? error.message : String(error));
    }
  };
  return html`<${Problem} ...${live} />
    <div class="row">
      <button disabled=${!bulkFilter("cancel", query)} onClick=${() => askBulk("cancel", query)}>Cancel all that match…</button>
      <button disabled=${!bulkFilter("retry", query)} onClick=${() => askBulk("retry", query)}>Retry all that match…</button>
      ${older && html`<span class="hint">Not updated while older jobs are shown.</span><button onClick=${() => setOlder(null)}>Back to the newest</button>`}
    </div>
    <${Table} caption="Jobs" empty=${shown.token ? "None among the newest that were searched." : "No job matches."}
      heads=${["Job", "Tenant", "State", "What the user sees", "Provider", "Accepted", "Changed"]}
      rows=${shown.jobs.map(({ tenant, job }) => ({ id: job.id, cells: cells(tenant, job) }))} />
    ${problem && html`<p class="notice tone-error" role="alert">${problem}</p>`}
    ${shown.token && html`<button onClick=${showOlder}>Show older jobs</button>`}`;
}

/**
 * @param {string} tenant
 * @param {Schemas["JobView"]} job
 */
function cells(tenant, job) {
  return [
    html`<${JobLink} id=${job.id} />`, html`<a href=${address("jobs", "", { tenant })}>${tenant}</a>`, job.status,
    html`<span class=${`toned tone-${job.display.tone}`}>${job.display.title}</span>${job.error && html` <span class="hint">${job.error.reason}</span>`}`,
    `${job.provider}${job.model ? `/${job.model}` : ""}`, html`<${Time} at=${job.created_at} />`, html`<${Time} at=${job.updated_at} />`,
  ];
}

/** @param {{query: Record<string, string[]>}} properties */
function Filters({ query }) {
  const id = useId();
  const [isOpen, setOpen] = useState(JOB_FILTERS.slice(1).some((name) => query[name]));
  useEffect(() => { if (JOB_FILTERS.slice(1).some((name) => query[name])) setOpen(true); }, []);
  const submit = (/** @type {any} */ event) => {
    event.preventDefault();
    const values = new FormData(event.target);
    /** @type {Record<string, string[]>} */
    const wanted = { status: /** @type {string[]} */ (values.getAll("status")) };
    for (const name of JOB_FILTERS) wanted[name] = [String(values.get(name) ?? "").trim()];
    location.hash = address("jobs", "", wanted);
  };
  const field = (/** @type {string} */ name) => html`<div key=${name}><label for=${`${id}-${name}`}>${name.replace("_", " ")}</label>
    <input id=${`${id}-${name}`} name=${name} defaultValue=${query[name]?.[0] ?? ""} autocomplete="off"
      placeholder=${name.startsWith("created") ? "2026-01-31T12:00:00Z" : ""} /></div>`;
  return html`<form class="stack filters" onSubmit=${submit} aria-label="Filters">
    <fieldset class="row"><legend>State</legend>${STATUSES.map((status) => html`<label key=${status} class="row"><input type="checkbox" name="status"
      value=${status} defaultChecked=${query.status?.includes(status) ?? false} />${status}</label>`)}</fieldset>
    <details open=${isOpen}><summary>More filters</summary><div class="grid">${JOB_FILTERS.slice(1).map(field)}</div></details>
    <div class="row bottom">${field("tenant")}<button type="submit" class="primary">Search</button><a class="button" href=${address("jobs")}>Clear</a></div>
  </form>`;
}
