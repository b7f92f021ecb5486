// @ts-check
import { newKey } from "../shared/idempotency_key.js";
import { html } from "../vendor/vendor.js";
import { ask } from "./confirm.js";
import { integer } from "./format.js";
import { useLive } from "./live.js";
import { JobLink, Problem, Table, Time } from "./parts.js";
import { address } from "./routes.js";
import { call, route } from "./state.js";

/** @typedef {import("calotype").components["schemas"]} Schemas */

/** Messages that could not be applied, and their replay. */
export function Dead() {
  const { query } = route.value;
  const [token, parked] = [query.page_token?.[0] ?? "", query.parked?.[0] === "true" ? "true" : ""];
  const live = useLive(async (signal) => /** @type {Schemas["DeadLetterPage"]} */ (
    await call("GET", "/v1/admin/dead", { signal, query: { page_size: "100", page_token: token, parked } })), `${token} ${parked}`);
  const { data, reload } = live;
  const kinds = html`<nav class="row" aria-label="Kind of message">
    <a class="button" href=${address("dead")} aria-current=${parked ? undefined : "page"}>Dead letters</a>
    <a class="button" href=${address("dead", "", { parked: "true" })} aria-current=${parked ? "page" : undefined}>Parked messages</a></nav>`;
  if (!data) return html`${kinds}<${Problem} ...${live} />`;
  const letters = data.dead_letters;
  return html`${kinds}<${Problem} ...${live} />
    <p class="hint">${parked ? "These are tried again for a day." : "Replay a message after the cause of its refusal is removed."} Oldest first.</p>
    ${letters.length > 1 && !parked && html`<button onClick=${() => replay(letters, reload)}>Replay these ${letters.length}…</button>`}
    <${Table} caption=${parked ? "Parked messages" : "Dead letters"} empty="There is none."
      heads=${["Id", "Time", "Job", "Type", "Reason", "Bytes", ""]}
      rows=${letters.map((letter) => ({
        id: letter.id,
        cells: [
          html`<code>${letter.id}</code>`, html`<${Time} at=${letter.died_at} />`, html`<${JobLink} id=${letter.job_id} />`,
          letter.type ?? letter.subject, letter.reason, integer(letter.size_bytes),
          parked ? "" : html`<button onClick=${() => replay([letter], reload)}>Replay<span class="visually-hidden"> ${letter.id}</span></button>`,
        ],
      }))} />
    ${data.next_page_token && html`<a class="button" href=${address("dead", "", { parked, page_token: data.next_page_token })}>Next page</a>`}`;
}

/**
 * Asks, then replays the letters one after the other; ends at the first that cannot be replayed.
 * @param {Schemas["DeadLetterView"][]} letters
 * @param {() => void} reload
 */
function replay(letters, reload) {
  const isOne = letters.length === 1;
  // Kept for a repetition after a failure, so that no letter is replayed twice.
  const keys = new Map(letters.map((letter) => [letter.id, newKey()]));
  ask({
    title: isOne ? `Replay dead letter ${letters[0].id}?` : `Replay ${letters.length} dead letters?`,
    text: html`<p>Each message is published again as it was. One that is refused again becomes a new dead letter.</p>`,
    action: "Replay",
    count: isOne ? undefined : String(letters.length),
    act: async () => {
      try {
        for (const [id, once] of keys) await call("POST", `/v1/admin/dead/${encodeURIComponent(id)}/replay`, { once });
      } finally {
        reload();
      }
      return isOne ? `Replayed dead letter ${letters[0].id}.` : `Replayed ${letters.length} dead letters.`;
    },
  });
}
