// @ts-check
import { html, useState } from "../vendor/vendor.js";
import { askBulk } from "./bulk_dialog.js";
import { DeliveryTable } from "./deliveries.js";
import { dollars } from "./format.js";
import { useLive } from "./live.js";
import { Problem, Table, Time } from "./parts.js";
import { OPEN_STATUSES, address } from "./routes.js";
import { call } from "./state.js";
import { timeline } from "./timeline.js";

/** @typedef {import("calotype").components["schemas"]} Schemas */

/**
 * One job with all that happened to it.
 * @param {{id: string}} properties
 */
export function Job({ id }) {
  const live = useLive(async (signal) => /** @type {Schemas["AnyJobView"]} */ (
    await call("GET", `/v1/admin/jobs/${encodeURIComponent(id)}`, { signal })), id);
  const { data, reload } = live;
  if (!data) return html`<${Problem} ...${live} />`;
  const { job, summary } = data;
  return html`<${Problem} ...${live} />
    <section aria-labelledby="job"><h2 id="job"><code>${job.id}</code></h2>
      <p class=${`notice tone-${job.display.tone}`}><strong>${job.display.title}.</strong>${" "}
        ${summary.reason && html`${summary.reason}: ${summary.message}${" "}`}${summary.next_step}</p>
      <${Facts} found=${data} />
      <div class="row">
        <button disabled=${!OPEN_STATUSES.includes(job.status)} onClick=${() => askBulk("cancel", { id: [id] })}>Cancel…</button>
        <button disabled=${job.status !== "failed"} onClick=${() => askBulk("retry", { id: [id] })}>Retry…</button>
        ${data.links.trace && html`<a class="button" href=${data.links.trace}>Trace</a>`}
        ${data.links.board && html`<a class="button" href=${data.links.board}>Dashboard</a>`}
      </div></section>
    <section aria-labelledby="timeline"><h2 id="timeline">Timeline</h2><p class="hint">Newest first.</p><${Timeline} found=${data} /></section>
    <section aria-labelledby="calls"><h2 id="calls">Provider calls</h2><${Calls} attempts=${data.attempts} /></section>
    <section aria-labelledby="deliveries"><h2 id="deliveries">Deliveries</h2>
      ${data.deliveries.available
        ? html`<${DeliveryTable} tenant=${data.tenant} deliveries=${data.deliveries.deliveries} reload=${reload} />`
        : html`<p class="notice tone-warning">${data.deliveries.problem}</p>`}</section>`;
}

/** @param {{found: Schemas["AnyJobView"]}} properties */
function Facts({ found }) {
  const { job, lease } = found;
  const facts = /** @type {[string, unknown][]} */ ([
    ["Tenant", html`<a href=${address("jobs", "", { tenant: found.tenant })}>${found.tenant}</a>`],
    ["State", `${job.status}${job.wait ? `, waits for ${job.wait.reason}` : ""}`],
    ["Provider", `${job.provider}${job.model ? `/${job.model}` : ""}`],
    ["Attempts", job.attempt_count],
    ["Cost", job.cost.amount_micros === null ? "not known" : `${job.cost.complete ? "" : "at least "}${dollars(job.cost.amount_micros)}`],
    ["Accepted", html`<${Time} at=${job.created_at} />`],
    ["Changed", html`<${Time} at=${job.updated_at} />`],
    ["Lease", lease ? html`${lease.worker}, ends <${Time} at=${lease.expires_at} />` : "none"],
    ["Trace", found.trace_id ?? "none"],
  ]);
  return html`<dl class="facts">${facts.map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`;
}

/** @param {{found: Schemas["AnyJobView"]}} properties */
function Timeline({ found }) {
  const [older, setOlder] = useState(/** @type {Schemas["AnyJobView"][]} */ ([]));
  const [problem, setProblem] = useState("");
  const last = older.at(-1) ?? found;
  const showOlder = async () => {
    const before = String(Math.min(...last.events.map((event) => event.sequence)));
    try {
      const next = await call("GET", `/v1/admin/jobs/${encodeURIComponent(found.job.id)}`, { query: { events_before: before } });
      setOlder([...older, next]);
      setProblem("");
    } catch (error) {
      setProblem(error instanceof Error ? error.message : String(error));
    }
  };
  const known = new Map([found, ...older].flatMap((page) => page.events).map((event) => [event.sequence, event]));
  const entries = timeline({ ...found, events: [...known.values()].sort((a, b) => b.sequence - a.sequence) });
  return html`<ol class="timeline">${entries.map((entry) => html`<li key=${`${entry.at} ${entry.title} ${entry.detail}`} class=${`${entry.kind} ${entry.tone}`}>
      <${Time} at=${entry.at} /> <strong class="toned">${entry.title}</strong> <span>${entry.detail}</span></li>`)}</ol>
    ${problem && html`<p class="notice tone-error" role="alert">${problem}</p>`}
    ${last.has_older_events && html`<button onClick=${showOlder}>Show older changes</button>`}`;
}

/** @param {{attempts: Schemas["AttemptView"][]}} properties */
function Calls({ attempts }) {
  const calls = attempts.flatMap((attempt) => attempt.provider_calls.map((call) => ({ attempt, call }))).reverse();
  return html`<${Table} caption="Provider calls" empty="No provider was called."
    heads=${["Call", "Attempt", "Provider", "Phase", "Operation", "Cost", "Provider's error", "Began", "Ended"]}
    rows=${calls.map(({ attempt, call: one }) => ({
      id: one.id,
      cells: [
        html`<code>${one.id}</code>`, attempt.number, `${one.provider}/${one.model}`, one.phase, one.operation_id ?? "–",
        one.cost?.amount_micros == null ? "not known" : dollars(one.cost.amount_micros),
        [one.provider_error?.http_status, one.provider_error?.code, one.provider_error?.message].filter(Boolean).join(" ") || "–",
        html`<${Time} at=${one.created_at} />`, html`<${Time} at=${one.settled_at} />`,
      ],
    }))} />`;
}
