// @ts-check
import { html } from "../vendor/vendor.js";
import { newKey } from "./api.js";
import { ask } from "./confirm.js";
import { JobLink, Table, Time } from "./parts.js";
import { call } from "./state.js";

/** @typedef {import("calotype").components["schemas"]["DeliveryView"]} Delivery */

const TONES = /** @type {Record<string, string>} */ ({ delivered: "tone-success", failed: "tone-error", held: "tone-warning" });
/** States in which a delivery is or will be sent anyway. */
const UNDER_WAY = ["pending", "sending"];

/**
 * Deliveries of a tenant, each with a button that sends it again.
 * @param {{tenant: string, deliveries: Delivery[], reload: () => void}} properties
 */
export function DeliveryTable({ tenant, deliveries, reload }) {
  return html`<${Table} caption="Deliveries" empty="There is none." heads=${["Delivery", "Event", "Job", "To", "State", "Attempts", "Last attempt", "Created", ""]}
    rows=${deliveries.map((one) => ({
      id: one.id,
      cells: [
        html`<code>${one.id}</code>`, one.event_type, html`<${JobLink} id=${one.job_id} />`, html`<span class="url">${one.url}</span>`,
        html`<span class=${`toned ${TONES[one.state] ?? ""}`}>${one.state}</span>${one.next_attempt_at && html` <span class="hint">next <${Time} at=${one.next_attempt_at} /></span>`}`,
        one.attempt_count, one.last_attempt ? `${one.last_attempt.status ?? ""} ${one.last_attempt.message ?? ""}` : "–", html`<${Time} at=${one.created_at} />`,
        UNDER_WAY.includes(one.state) ? "" : html`<button onClick=${() => redeliver(tenant, one, reload)}>Redeliver<span class="visually-hidden"> ${one.id}</span></button>`,
      ],
    }))} />`;
}

/**
 * @param {string} tenant
 * @param {Delivery} delivery
 * @param {() => void} reload
 */
function redeliver(tenant, delivery, reload) {
  ask({
    title: "Send this event again?",
    text: html`<p>${delivery.event_type} to <span class="url">${delivery.url}</span>, with the same id: a receiver that has it already can ignore it.</p>`,
    action: "Redeliver",
    act: async () => {
      await call("POST", `/v1/admin/tenants/${encodeURIComponent(tenant)}/deliveries/${encodeURIComponent(delivery.id)}:redeliver`, { once: newKey() });
      reload();
      return `${delivery.id} is due now.`;
    },
  });
}
