// @ts-check
/** @typedef {import("calotype").components["schemas"]} Schemas */

/**
 * @typedef {object} Entry
 * @property {string} at Time, RFC 3339.
 * @property {"change" | "attempt" | "call" | "delivery"} kind
 * @property {string} title
 * @property {string} detail
 * @property {string} tone Class of its colour.
 */

/**
 * Returns all that happened to a job, newest first; of one moment, what is listed later in its list comes first.
 * @param {Schemas["AnyJobView"]} found
 * @returns {Entry[]}
 */
export function timeline(found) {
  const entries = [
    ...[...found.events].reverse().map(change),
    ...found.attempts.flatMap(attempt),
    ...[...found.deliveries.deliveries].reverse().flatMap(delivery),
  ];
  return entries
    .map((entry, index) => ({ entry, index, at: Date.parse(entry.at) }))
    .sort((left, right) => right.at - left.at || right.index - left.index)
    .map(({ entry }) => entry);
}

/**
 * @param {Schemas["JobEventView"]} event
 * @returns {Entry}
 */
function change(event) {
  const tones = { completed: "tone-success", failed: "tone-error", canceled: "tone-warning" };
  const tone = /** @type {Record<string, string>} */ (tones)[event.status] ?? "tone-info";
  return { at: event.occurred_at, kind: "change", title: event.type, detail: `${event.status}, sequence ${event.sequence}`, tone };
}

/**
 * @param {Schemas["AttemptView"]} one
 * @returns {Entry[]}
 */
function attempt(one) {
  const name = `Attempt ${one.number}`;
  /** @type {Entry[]} */
  const entries = [];
  if (one.started_at) {
    entries.push({ at: one.started_at, kind: "attempt", title: `${name} began`, detail: `${one.stage ?? ""} by ${one.worker}`, tone: "tone-progress" });
  }
  for (const call of one.provider_calls) entries.push(...providerCall(call));
  if (one.ended_at) {
    const detail = one.error ? `${one.error.reason}: ${one.error.message}` : "";
    const tones = { succeeded: "tone-success", failed: "tone-error", rescued: "tone-warning", canceled: "tone-warning" };
    const tone = /** @type {Record<string, string>} */ (tones)[one.outcome ?? ""] ?? "tone-info";
    entries.push({ at: one.ended_at, kind: "attempt", title: `${name} ${one.outcome ?? "ended"}`, detail, tone });
  }
  return entries;
}

/**
 * @param {Schemas["ProviderCallView"]} call
 * @returns {Entry[]}
 */
function providerCall(call) {
  const name = `Call of ${call.provider}/${call.model}`;
  /** @type {Entry[]} */
  const entries = [];
  if (call.created_at) {
    const detail = call.operation_id ? `${call.id}, operation ${call.operation_id}` : call.id;
    entries.push({ at: call.created_at, kind: "call", title: `${name} began`, detail, tone: "tone-progress" });
  }
  if (call.settled_at) {
    const said = call.provider_error;
    const detail = said ? [said.http_status, said.code, said.message].filter(Boolean).join(" ") : call.id;
    const tone = call.phase === "succeeded" ? "tone-success" : "tone-warning";
    entries.push({ at: call.settled_at, kind: "call", title: `${name}: ${call.phase}`, detail, tone });
  }
  return entries;
}

/**
 * @param {Schemas["DeliveryView"]} one
 * @returns {Entry[]}
 */
function delivery(one) {
  /** @type {Entry[]} */
  const entries = [{ at: one.created_at, kind: "delivery", title: `${one.event_type} to be delivered`, detail: one.url, tone: "tone-info" }];
  if (one.delivered_at) {
    entries.push({ at: one.delivered_at, kind: "delivery", title: `${one.event_type} delivered`, detail: one.url, tone: "tone-success" });
  } else if (one.last_attempt?.error && one.last_attempt.started_at) {
    const detail = one.last_attempt.message ?? one.last_attempt.error;
    entries.push({ at: one.last_attempt.started_at, kind: "delivery", title: `${one.event_type} not delivered`, detail, tone: "tone-error" });
  }
  return entries;
}
