// @ts-check
import { newKey } from "../shared/idempotency_key.js";
import { html } from "../vendor/vendor.js";
import { ask } from "./confirm.js";
import { JobLink, Table, Time } from "./parts.js";
import { call } from "./state.js";

/** @typedef {import("calotype").components["schemas"]["DeliveryView"]} Delivery */

const TONES = /** @type {Record<string, string>} */ ({ delivered: "tone-success", failed: "tone-error", held: "tone-warning" });
/** States in which a delivery is or will be sent anyway. */
const UNDER_WAY = ["pending", "sending"];
/** States of an event that its receiver never got. */
const UNDELIVERED = ["failed", "held"];

/**
 * Deliveries of a tenant, each with a button that sends it again.
 * @param {{tenant: string, deliveries: Delivery[], reload: () => void}} properties
 */
export function DeliveryTable({ tenant, deliveries, reload }) {
  const undelivered = deliveries.filter((one) => UNDELIVERED.includes(one.state));
  return html`${undelivered.length > 1 && html`<button onClick=${() => redeliver(tenant, undelivered, reload)}>Redeliver the ${undelivered.length} undelivered…</button>`}
    <${Table} caption="Deliveries" empty="There is none." heads=${["Delivery", "Event", "Job", "To", "State", "Attempts", "Last attempt", "Created", ""]}
    rows=${deliveries.map((one) => ({
      id: one.id,
      cells: [
        html`<code>${one.id}</code>`, one.event_type, html`<${JobLink} id=${one.job_id} />`, html`<span class="url">${one.url}</span>`,
        html`<span class=${`toned ${TONES[one.state] ?? ""}`}>${one.state}</span>${one.next_attempt_at && html` <span class="hint">next <${Time} at=${one.next_attempt_at} /></span>`}`,
        one.attempt_count, one.last_attempt ? `${one.last_attempt.status ?? ""} ${one.last_attempt.message ?? ""}` : "–", html`<${Time} at=${one.created_at} />`,
        UNDER_WAY.includes(one.state) ? "" : html`<button onClick=${() => redeliver(tenant, [one], reload)}>Redeliver<span class="visually-hidden"> ${one.id}</span></button>`,
      ],
    }))} />`;
}

/**
 * Asks, then makes the deliveries due one after the other, oldest first; ends at the first that is refused.
 * @param {string} tenant
 * @param {Delivery[]} deliveries Newest first.
 * @param {() => void} reload
 */
function redeliver(tenant, deliveries, reload) {
  const [first] = deliveries;
  const isOne = deliveries.length === 1;
  const left = [...deliveries];
  ask({
    title: isOne ? "Send this event again?" : `Send ${deliveries.length} events again?`,
    text: html`<p>${isOne ? html`${first.event_type} to <span class="url">${first.url}</span>, with` : "Each with"} the same id: a receiver that has it already can ignore it.</p>`,
    action: "Redeliver",
    count: isOne ? undefined : String(deliveries.length),
    act: async () => {
      try {
        for (let one = left.at(-1); one; one = left.at(-1)) {
          await call("POST", `/v1/admin/tenants/${encodeURIComponent(tenant)}/deliveries/${encodeURIComponent(one.id)}:redeliver`, { once: newKey() });
          left.pop();
        }
      } finally {
        reload();
      }
      return isOne ? `${first.id} is due now.` : `${deliveries.length} deliveries are due now.`;
    },
  });
}
