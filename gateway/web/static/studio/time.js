// @ts-check
const UNITS = /** @type {const} */ ([
  ["day", 86_400],
  ["hour", 3_600],
  ["minute", 60],
]);
const RELATIVE = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const ABSOLUTE = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "medium" });

/**
 * "5 minutes ago", or "in 2 hours".
 *
 * @param {string} moment RFC 3339
 * @param {number} [now] milliseconds since 1970
 */
export function relative(moment, now = Date.now()) {
  const seconds = (Date.parse(moment) - now) / 1000;
  for (const [unit, length] of UNITS) {
    if (Math.abs(seconds) >= length) return RELATIVE.format(Math.trunc(seconds / length), unit);
  }
  return seconds > 5 ? RELATIVE.format(Math.trunc(seconds), "second") : "just now";
}

/** @param {string} moment RFC 3339 */
export function absolute(moment) {
  return ABSOLUTE.format(new Date(moment));
}
