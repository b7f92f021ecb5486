// @ts-check
const MICROS = 1_000_000n;
const UNITS = /** @type {const} */ ([["d", 86_400], ["h", 3_600], ["min", 60]]);

/**
 * Returns a duration such as `2 h 5 min`; less than a minute in seconds.
 * @param {number} seconds
 */
export function duration(seconds) {
  const whole = Math.max(0, seconds);
  if (whole < 60) return `${whole < 10 ? Math.round(whole * 10) / 10 : Math.round(whole)} s`;
  const parts = [];
  let left = Math.round(whole / 60) * 60;
  for (const [unit, size] of UNITS) {
    if (left >= size) parts.push(`${Math.floor(left / size)} ${unit}`);
    left %= size;
  }
  return parts.slice(0, 2).join(" ");
}

/**
 * Returns a time relative to `now`, such as `5 min ago` or `in 20 s`.
 * @param {string} at RFC 3339.
 * @param {number} now Milliseconds since 1970.
 */
export function relative(at, now) {
  const seconds = Math.round((now - Date.parse(at)) / 1000);
  if (Math.abs(seconds) < 1) return "now";
  return seconds > 0 ? `${duration(seconds)} ago` : `in ${duration(-seconds)}`;
}

/**
 * Returns an integer with thousands separators; a string of digits beyond 2^53 keeps all of them.
 * @param {number | string} value
 */
export function integer(value) {
  return BigInt(value).toLocaleString("en-US");
}

/**
 * Returns an amount in US dollars, exact to the millionth, and with at least two decimals.
 * @param {number | string} micros Millionths of a US dollar.
 */
export function dollars(micros) {
  const amount = BigInt(micros);
  const size = amount < 0n ? -amount : amount;
  const decimals = (size % MICROS).toString().padStart(6, "0").replace(/0{1,4}$/, "");
  return `${amount < 0n ? "-" : ""}$${(size / MICROS).toLocaleString("en-US")}.${decimals}`;
}

/**
 * Returns a share such as `2.5 %`; `–` of nothing.
 * @param {number} part
 * @param {number} whole
 */
export function share(part, whole) {
  return whole ? `${Math.round((part / whole) * 1000) / 10} %` : "–";
}

/**
 * @typedef {object} Rates
 * @property {number} perMinute Jobs that ended, completed or failed, per minute.
 * @property {number} completed
 * @property {number} failed
 * @property {number} canceled
 * @property {number} seconds Time that the numbers are of.
 */

/**
 * Returns the rates of the last minutes: less time where not all jobs of it were counted.
 * @param {import("calotype").components["schemas"]["ThroughputView"]} throughput
 * @param {number} minutes
 * @returns {Rates}
 */
export function rates(throughput, minutes) {
  const now = Date.parse(throughput.now);
  const begin = Math.max(Math.floor((now - minutes * 60_000) / 60_000) * 60_000, Date.parse(throughput.counted_since));
  const sums = { completed: 0, failed: 0, canceled: 0 };
  for (const minute of throughput.minutes) {
    if (Date.parse(minute.starts_at) + 60_000 <= begin) continue;
    sums.completed += minute.completed;
    sums.failed += minute.failed;
    sums.canceled += minute.canceled;
  }
  const seconds = Math.max((now - begin) / 1000, 1);
  return { ...sums, seconds, perMinute: ((sums.completed + sums.failed) * 60) / seconds };
}
