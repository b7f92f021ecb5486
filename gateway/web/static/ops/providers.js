// @ts-check
import { html } from "../vendor/vendor.js";
import { dollars, integer } from "./format.js";
import { useLive } from "./live.js";
import { Problem, Table, Time } from "./parts.js";
import { PauseButton, loadPauses, pauseOf } from "./pauses.js";
import { address } from "./routes.js";
import { call } from "./state.js";

/** @typedef {import("calotype").components["schemas"]} Schemas */

const TONES = /** @type {Record<string, string>} */ ({ ok: "tone-success", degraded: "tone-warning", down: "tone-error" });

/** Providers with health, breakers, the use of their limits, prices and pauses. */
export function Providers() {
  const live = useLive(async (signal) => {
    const [use, pauses] = await Promise.all([call("GET", "/v1/admin/providers", { signal }), loadPauses(signal)]);
    return { providers: /** @type {Schemas["ProviderUseView"][]} */ (use.providers), pauses };
  }, "providers");
  const { data, reload } = live;
  if (!data) return html`<${Problem} ...${live} />`;
  return html`<${Problem} ...${live} />
    <p class="hint">Today is the day in UTC. What tenants with a budget spend is at <a href=${address("spend")}>Spend</a>.</p>
    <${Table} caption="Providers" heads=${["Provider", "Health", "Breakers", "In use", "Calls per minute", "Price of an image", "Spent today", "Registered", ""]}
      empty="No generator has registered a provider."
      rows=${data.providers.map((use) => ({ id: use.provider.name, cells: cells(use, data.pauses, reload) }))} />`;
}

/**
 * @param {Schemas["ProviderUseView"]} use
 * @param {import("./pauses.js").Pause[]} pauses
 * @param {() => void} reload
 */
function cells(use, pauses, reload) {
  const { provider } = use;
  const pause = pauseOf(pauses, "provider", provider.name);
  return [
    html`<a href=${address("jobs", "", { provider: provider.name })}>${provider.name}</a> <span class="hint">${provider.kind}</span>`,
    html`<span class="toned ${TONES[provider.health.status]}">${provider.health.status}</span>${pause && html` <span class="toned tone-warning">paused</span>`}`,
    html`<${Outages} outages=${provider.health.outages} />`,
    limited(use.in_use, provider.max_concurrency),
    limited(use.calls_in_last_minute, provider.requests_per_minute),
    price(provider),
    html`<${Spent} ...${use} />`,
    html`<${Time} at=${use.registered_at} /> <span class="hint">by ${use.registered_by}</span>`,
    html`<${PauseButton} kind="provider" name=${provider.name} pause=${pause} reload=${reload} />`,
  ];
}

/** @param {Schemas["ProviderUseView"]} use */
function Spent({ spent_micros, calls_without_cost, spent_since }) {
  if (!spent_since) return html`<span class="hint">not known</span>`;
  const isPart = !spent_since.includes("T00:00:00");
  return html`${dollars(spent_micros)}
    ${isPart && html` <span class="hint">since <${Time} at=${spent_since} /></span>`}
    ${!!Number(calls_without_cost) && html` <span class="hint">calls of unknown cost: ${integer(calls_without_cost)}</span>`}`;
}

/**
 * @param {number} used
 * @param {number | null} limit
 */
function limited(used, limit) {
  return limit === null ? html`${integer(used)} <span class="hint">no limit</span>` : `${integer(used)} of ${integer(limit)}`;
}

/** @param {Schemas["ProviderView"]} provider */
function price(provider) {
  if (provider.capabilities.free) return "free";
  const known = provider.models.map((model) => model.price_micros_per_image).filter((micros) => micros !== null);
  if (!known.length) return "not known";
  const [least, most] = [known.reduce((a, b) => (a < b ? a : b)), known.reduce((a, b) => (a > b ? a : b))];
  return least === most ? dollars(least) : `${dollars(least)} to ${dollars(most)}`;
}

/** @param {{outages: Schemas["OutageView"][]}} properties */
function Outages({ outages }) {
  if (!outages.length) return html`<span class="hint">closed</span>`;
  return html`<ul class="plain-list">${outages.map((outage) => html`<li key=${outage.model}>
    <code>${outage.model}</code>: ${outage.reason}, since <${Time} at=${outage.since} />, next try <${Time} at=${outage.next_try_at} /></li>`)}</ul>`;
}
