// @ts-check
import { html, useEffect, useId, useState } from "../vendor/vendor.js";
import { DeliveryTable } from "./deliveries.js";
import { useLive } from "./live.js";
import { Problem, Table, Time } from "./parts.js";
import { address } from "./routes.js";
import { call, route } from "./state.js";

/** @typedef {import("calotype").components["schemas"]} Schemas */

const TONES = /** @type {Record<string, string>} */ ({ healthy: "tone-success", failing: "tone-warning", degraded: "tone-warning", disabled: "tone-error" });
const STATES = ["pending", "sending", "delivered", "superseded", "failed", "held"];

/** Webhook endpoints of a tenant with their health, and deliveries of one of them. */
export function Webhooks() {
  const { id, query } = route.value;
  const tenant = query.tenant?.[0] ?? "";
  return html`<${TenantForm} key=${tenant} tenant=${tenant} />
    ${!tenant && html`<${Unhealthy} />`}
    ${tenant && html`<${Endpoints} key=${`endpoints of ${tenant}`} tenant=${tenant} />`}
    ${tenant && id && html`<${Deliveries} key=${address("webhooks", id, query)} tenant=${tenant} id=${id} query=${query} />`}`;
}

/** @param {{tenant: string}} properties */
function TenantForm({ tenant }) {
  const id = useId();
  const [names, setNames] = useState(/** @type {string[]} */ ([]));
  useEffect(() => {
    // Suggestions: the form works without them.
    call("GET", "/v1/admin/queue").then((/** @type {Schemas["QueueView"]} */ queue) => setNames(queue.tenants.map((one) => one.tenant)), () => {});
  }, []);
  const submit = (/** @type {any} */ event) => {
    event.preventDefault();
    location.hash = address("webhooks", "", { tenant: String(new FormData(event.target).get("tenant") ?? "").trim() });
  };
  return html`<form class="row bottom" onSubmit=${submit} aria-label="Tenant">
    <div><label for=${id}>Tenant</label><input id=${id} name="tenant" list=${`${id}-names`} defaultValue=${tenant} required autocomplete="off" />
      <datalist id=${`${id}-names`}>${names.map((name) => html`<option key=${name} value=${name}></option>`)}</datalist></div>
    <button type="submit" class="primary">Show webhooks</button></form>`;
}

/** Endpoints of all tenants that get few or no deliveries. */
function Unhealthy() {
  const live = useLive(async (signal) => /** @type {Schemas["UnhealthyWebhookList"]} */ (await call("GET", "/v1/admin/webhooks", { signal })), "unhealthy");
  const { data } = live;
  if (!data) return html`<${Problem} ...${live} />`;
  return html`<${Problem} ...${live} /><section aria-labelledby="unhealthy"><h2 id="unhealthy">Unhealthy endpoints of all tenants</h2>
    <${Table} caption="Unhealthy endpoints" empty="Every endpoint gets its deliveries." heads=${["URL", "Tenant", ...FATES]}
      rows=${data.webhooks.map(({ tenant, id, url, health }) => ({
        id: id ?? `${tenant} ${url}`,
        cells: [
          html`<a class="url" href=${address("webhooks", id ?? "callbacks", { tenant })}>${url}</a>${id ? "" : html` <span class="hint">callback URLs</span>`}`,
          html`<a href=${address("webhooks", "", { tenant })}>${tenant}</a>`, ...fates(health),
        ],
      }))} />
    ${data.has_more && html`<p class="hint">The first 100 are shown.</p>`}</section>`;
}

/** Columns of the health of an endpoint. */
const FATES = ["Health", "Failing since", "Last error", "Next attempt", "Will be disabled"];

/** @param {Schemas["WebhookHealthView"]} health */
function fates(health) {
  return [
    html`<span class=${`toned ${TONES[health.state]}`}>${health.state}</span>${health.disabled_reason && html` <span class="hint">${health.disabled_reason}</span>`}`,
    html`<${Time} at=${health.failing_since} />`, [health.last_status, health.last_error].filter(Boolean).join(" ") || "–",
    html`<${Time} at=${health.next_attempt_at} />`, html`<${Time} at=${health.will_disable_at} />`,
  ];
}

/** @param {{tenant: string}} properties */
function Endpoints({ tenant }) {
  const live = useLive(async (signal) => /** @type {Schemas["WebhookPage"]} */ (
    await call("GET", `/v1/admin/tenants/${encodeURIComponent(tenant)}/webhooks`, { signal, query: { page_size: "100" } })), tenant);
  const { data } = live;
  if (!data) return html`<${Problem} ...${live} />`;
  return html`<${Problem} ...${live} /><section aria-labelledby="endpoints"><h2 id="endpoints">Endpoints</h2>
    <p><a href=${address("webhooks", "callbacks", { tenant })}>Deliveries to callback URLs of jobs</a></p>
    <${Table} caption="Endpoints" empty="The tenant has no endpoint." heads=${["URL", ...FATES]}
      rows=${data.webhooks.map(({ id, url, health }) => ({
        id,
        cells: [html`<a class="url" href=${address("webhooks", id, { tenant })}>${url}</a>`, ...fates(health)],
      }))} />
    ${data.next_page_token && html`<p class="hint">The first 100 endpoints are shown.</p>`}</section>`;
}

/** @param {{tenant: string, id: string, query: Record<string, string[]>}} properties */
function Deliveries({ tenant, id, query }) {
  const [state, token] = [query.state?.[0] ?? "", query.page_token?.[0] ?? ""];
  const path = `/v1/admin/tenants/${encodeURIComponent(tenant)}/webhooks/${encodeURIComponent(id)}/deliveries`;
  const live = useLive(async (signal) => /** @type {Schemas["DeliveryPage"]} */ (
    await call("GET", path, { signal, query: { page_size: "100", state, page_token: token } })), address("webhooks", id, query));
  const { data, reload } = live;
  const states = html`<nav class="row" aria-label="State of deliveries">${["", ...STATES].map((name) => html`<a key=${name} class="button"
    aria-current=${name === state ? "page" : undefined} href=${address("webhooks", id, { tenant, state: name })}>${name || "all"}</a>`)}</nav>`;
  return html`<section aria-labelledby="sent"><h2 id="sent">Deliveries to ${id === "callbacks" ? "callback URLs" : html`<code>${id}</code>`}</h2>
    ${states}<${Problem} ...${live} />
    ${data && html`<${DeliveryTable} tenant=${tenant} deliveries=${data.deliveries} reload=${reload} />`}
    ${data?.next_page_token && html`<a class="button" href=${address("webhooks", id, { tenant, state, page_token: data.next_page_token })}>Older deliveries</a>`}</section>`;
}
