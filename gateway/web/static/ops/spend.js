// @ts-check
import { html } from "../vendor/vendor.js";
import { dollars } from "./format.js";
import { useLive } from "./live.js";
import { Problem, Table } from "./parts.js";
import { address } from "./routes.js";
import { call, route } from "./state.js";

/** @typedef {import("calotype").components["schemas"]} Schemas */

/** Budgets of tenants and what they have spent. */
export function Spend() {
  const token = route.value.query.page_token?.[0] ?? "";
  const live = useLive(async (signal) => /** @type {Schemas["SpendPage"]} */ (
    await call("GET", "/v1/admin/spend", { signal, query: { page_size: "100", page_token: token } })), token);
  const { data } = live;
  if (!data) return html`<${Problem} ...${live} />`;
  return html`<${Problem} ...${live} />
    <p class="hint">Amounts in US dollars, by the day and month in UTC. Reserved: calls in progress or of unknown outcome.</p>
    <${Table} caption="Spend of tenants" empty="No tenant has a budget."
      heads=${["Tenant", "Spent today", "Reserved", "Budget of a day", "Spent this month", "Reserved", "Budget of a month"]}
      rows=${data.tenants.map((tenant) => ({
        id: tenant.tenant,
        cells: [
          html`<a href=${address("jobs", "", { tenant: tenant.tenant })}>${tenant.tenant}</a>`,
          dollars(tenant.day.spent_micros), dollars(tenant.day.reserved_micros), budget(tenant.budget_micros_per_day),
          dollars(tenant.month.spent_micros), dollars(tenant.month.reserved_micros), budget(tenant.budget_micros_per_month),
        ],
      }))} />
    ${data.next_page_token && html`<a class="button" href=${address("spend", "", { page_token: data.next_page_token })}>Next tenants</a>`}`;
}

/** @param {number | null} micros */
function budget(micros) {
  return micros === null ? "no limit" : dollars(micros);
}
