// @ts-check
import { html } from "../vendor/vendor.js";
import { duration, integer, rates, share } from "./format.js";
import { useLive } from "./live.js";
import { Figure, Problem, Table, Time } from "./parts.js";
import { PauseButton, Pauses, loadPauses, pauseOf } from "./pauses.js";
import { address } from "./routes.js";
import { call } from "./state.js";

/** @typedef {import("calotype").components["schemas"]} Schemas */

const STAGES = /** @type {const} */ (["queued", "waiting", "processing", "generating", "uploading"]);
/** Height of the chart; each minute is 10 wide. */
const HEIGHT = 100;

/** Jobs by stage and age, throughput, failures, tenants and pauses. */
export function Queue() {
  const live = useLive(async (signal) => {
    const [queue, throughput, pauses] = await Promise.all([
      call("GET", "/v1/admin/queue", { signal }), call("GET", "/v1/admin/throughput", { signal }), loadPauses(signal),
    ]);
    return {
      queue: /** @type {Schemas["QueueView"]} */ (queue),
      throughput: /** @type {Schemas["ThroughputView"]} */ (throughput),
      pauses,
    };
  }, "queue");
  const { data, reload } = live;
  if (!data) return html`<${Problem} ...${live} />`;
  return html`<${Problem} ...${live} />
    <section aria-labelledby="stages"><div class="row"><h2 id="stages">Jobs by stage</h2>
      <${PauseButton} kind="queue" name=${null} pause=${pauseOf(data.pauses, "queue", null)} reload=${reload} /></div>
      <${Stages} ...${data} /></section>
    <section aria-labelledby="throughput"><h2 id="throughput">Throughput</h2><${Throughput} found=${data.throughput} /></section>
    <section aria-labelledby="tenants"><h2 id="tenants">Tenants</h2><${Tenants} ...${data} reload=${reload} /></section>
    <section aria-labelledby="pauses"><h2 id="pauses">Pauses</h2><${Pauses} pauses=${data.pauses} reload=${reload} /></section>`;
}

/** @param {{queue: Schemas["QueueView"], throughput: Schemas["ThroughputView"]}} properties */
function Stages({ queue, throughput }) {
  const ages = new Map(throughput.stages.map((stage) => [/** @type {string} */ (stage.status), stage.oldest_seconds]));
  const number = (/** @type {number} */ jobs) => `${queue.jobs.is_exact ? "" : "≥ "}${integer(jobs)}`;
  const age = (/** @type {string} */ stage) => {
    // One age for jobs that are due and those that wait: it stands beside the first of them that there is any of.
    if (stage === (queue.jobs.queued ? "queued" : "waiting")) return html`<${Time} at=${queue.oldest_queued_at} />`;
    if (stage === "queued" || stage === "waiting") return html`<span class="hint">–</span>`;
    return ages.get(stage) ? duration(ages.get(stage) ?? 0) : html`<span class="hint">–</span>`;
  };
  return html`<${Table} caption="Jobs by stage" heads=${["Stage", "Jobs", "Oldest"]} empty=""
      rows=${STAGES.map((stage) => ({
        id: stage,
        cells: [
          html`<a href=${address("jobs", "", { status: stage === "waiting" ? "queued" : stage })}>${stage}</a>`,
          number(queue.jobs[stage]), age(stage),
        ],
      }))} />
    <dl class="figures">
      <${Figure} label="Unpublished messages" value=${integer(queue.unpublished_messages)} />
      <${Figure} label="Open settlements" value=${integer(queue.open_settlements)} />
      <${Figure} label="Open deletions" value=${integer(queue.open_deletions)} />
      <${Figure} label="Missing objects" value=${integer(queue.missing_objects)} tone=${queue.missing_objects ? "tone-error" : ""} />
    </dl>`;
}

/** @param {{found: Schemas["ThroughputView"]}} properties */
function Throughput({ found }) {
  const [short, long] = [rates(found, 5), rates(found, 60)];
  const ended = short.completed + short.failed;
  return html`<dl class="figures">
      <${Figure} label="Jobs per minute, last 5 minutes" value=${Math.round(short.perMinute * 10) / 10} />
      <${Figure} label="Failed, last 5 minutes" value=${share(short.failed, ended)} tone=${short.failed ? "tone-error" : ""} />
      <${Figure} label="Jobs per minute, last hour" value=${Math.round(long.perMinute * 10) / 10} />
      <${Figure} label="Failed, last hour" value=${share(long.failed, long.completed + long.failed)} />
    </dl>
    ${long.seconds < 3_500 && html`<p class="hint">Only the 2,000 jobs that ended last are counted: ${duration(long.seconds)}.</p>`}
    <${Chart} found=${found} />
    ${found.failures.length > 0 && html`<h3>Reasons of failures</h3><ul>${found.failures.map((failure) => html`<li key=${failure.reason}>
      <a href=${address("jobs", "", { reason: failure.reason })}>${failure.reason}</a>: ${integer(failure.jobs)}</li>`)}</ul>`}`;
}

/** @param {{found: Schemas["ThroughputView"]}} properties */
function Chart({ found }) {
  const end = Math.floor(Date.parse(found.now) / 60_000);
  const most = Math.max(1, ...found.minutes.map((minute) => minute.completed + minute.failed));
  const bars = found.minutes.flatMap((minute) => {
    const x = (60 + Math.floor(Date.parse(minute.starts_at) / 60_000) - end) * 10;
    const [done, failed] = [(minute.completed * HEIGHT) / most, (minute.failed * HEIGHT) / most];
    return [
      html`<rect class="done" x=${x} y=${HEIGHT - done} width="8" height=${done} />`,
      html`<rect class="failed" x=${x} y=${HEIGHT - done - failed} width="8" height=${failed} />`,
    ];
  });
  const label = `Jobs that ended in each minute of the last hour; at most ${integer(most)} in one minute.`;
  return html`<svg class="chart" viewBox="0 0 610 ${HEIGHT}" preserveAspectRatio="none" role="img" aria-label=${label}>${bars}</svg>`;
}

/** @param {{queue: Schemas["QueueView"], pauses: import("./pauses.js").Pause[], reload: () => void}} properties */
function Tenants({ queue, pauses, reload }) {
  return html`<${Table} caption="Unfinished jobs by tenant" heads=${["Tenant", ...STAGES, "Oldest queued", ""]} empty="No tenant has unfinished jobs."
    rows=${queue.tenants.map(({ tenant, jobs, oldest_queued_at: oldest }) => ({
      id: tenant,
      cells: [
        html`<a href=${address("jobs", "", { tenant })}>${tenant}</a>`,
        ...STAGES.map((stage) => `${jobs.is_exact ? "" : "≥ "}${integer(jobs[stage])}`),
        html`<${Time} at=${oldest} />`,
        html`<${PauseButton} kind="tenant" name=${tenant} pause=${pauseOf(pauses, "tenant", tenant)} reload=${reload} />`,
      ],
    }))} />`;
}
