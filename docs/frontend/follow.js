// @ts-check

/** Milliseconds before a stream that the service did not open is tried again. */
const RETRY_MS = 5_000;

/**
 * Why nothing arrives at the moment; null once it is over.
 *
 * - `network`: the connection is lost; it worked before.
 * - `unreachable`: there was no response yet that this page may read. The service is down or its address is wrong, the
 *   origin of the page is not in `cors_origins` of the tenant, or the service does not know the token. A page cannot
 *   see which; the console of the browser says it.
 * - `unavailable`: the service responds that it cannot serve the page now.
 *
 * @typedef {"network" | "unreachable" | "unavailable" | null} Trouble
 */

/**
 * Why nothing more will arrive.
 *
 * - `done`: the job is final.
 * - `token`: the token has expired or does not allow to read the job; get another one from your backend.
 * - `gone`: there is no such job, or the token is for another one.
 *
 * @typedef {"done" | "token" | "gone"} End
 */

/** @type {Record<number, End>} */
const ENDS = { 401: "token", 403: "token", 404: "gone", 410: "gone" };

/**
 * Follows one job in a page, from its current state to its end.
 *
 * The browser reconnects by itself after a lost connection and misses no change: it sends the id of the last one. It
 * stops for good when the service responds 204 after the end, and also when the service refuses the connection for any
 * other reason; then this function asks the service for the reason, and tries again unless it is final.
 *
 * @param {string} events address of the job's events: `links.events`
 * @param {string} token client token for this job, from your backend
 * @param {object} show
 * @param {(job: import("./calotype").JobView) => void} show.job called with the job as it is now, then after every change
 * @param {(progress: import("./calotype").ProgressView) => void} [show.progress] called while images are made
 * @param {(reason: Trouble) => void} [show.trouble] called when nothing arrives, and with null once it is over
 * @param {(reason: End) => void} [show.end] called once, when nothing more will arrive
 * @returns {() => void} stops following; nothing is called afterwards
 */
export function follow(events, token, show) {
  const address = new URL(events);
  address.searchParams.set("access_token", token);
  /** @type {import("./calotype").JobView | undefined} */
  let last;
  /** @type {EventSource} */
  let source;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let waiting;
  /** @type {Trouble} */
  let trouble = null;
  let failures = 0;
  let stopped = false;

  function open() {
    if (last) address.searchParams.set("after", String(last.sequence));
    source = new EventSource(address);
    source.addEventListener("job", (event) => show.job((last = JSON.parse(event.data))));
    source.addEventListener("progress", (event) => show.progress?.(JSON.parse(event.data)));
    source.addEventListener("open", () => {
      failures = 0;
      report(null);
    });
    source.addEventListener("error", () => {
      if (source.readyState === EventSource.CLOSED) closed();
      // A stream may end at any time, and the browser opens another one; only a second failure in a row is trouble.
      else if (++failures > 1) report(last ? "network" : "unreachable");
    });
  }

  async function closed() {
    const result = last?.display.poll_after_ms === null ? "done" : await reason();
    if (stopped) return;
    if (result === "done" || result === "token" || result === "gone") {
      show.end?.(result);
    } else {
      report(result);
      waiting = setTimeout(open, RETRY_MS);
    }
  }

  /** @returns {Promise<Trouble | End>} why the service does not open a stream */
  async function reason() {
    try {
      const job = events.replace(/\/events$/, "");
      const response = await fetch(job, { headers: { Authorization: `Bearer ${token}` } });
      return ENDS[response.status] ?? "unavailable";
    } catch {
      return last ? "network" : "unreachable";
    }
  }

  /** @param {Trouble} now */
  function report(now) {
    if (now !== trouble) show.trouble?.((trouble = now));
  }

  open();
  return () => {
    stopped = true;
    clearTimeout(waiting);
    source.close();
  };
}
