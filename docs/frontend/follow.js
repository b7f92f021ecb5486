// @ts-check

/** Pause before a stream that could not be opened is tried again. */
const AGAIN_MS = 5_000;

/**
 * Follows one job in a page, from its state now to its end.
 *
 * The browser takes up a broken connection by itself and misses nothing: it tells the service which change it saw last.
 * After the end the service answers 204, and the browser stops for good. It stops, too, when the service is away at the
 * wrong moment; then this asks why, and tries again unless the service says that it is over.
 *
 * @param {string} events the address of the job's events: `links.events`
 * @param {string} token a client token for this job, which your backend asked for
 * @param {object} show
 * @param {(job: import("./calotype").JobView) => void} show.job called with the job as it is now, then after every change
 * @param {(progress: import("./calotype").ProgressView) => void} [show.progress] called while pictures are made
 * @param {() => void} [show.end] called when there is nothing to come; or the token has expired: ask for another then
 * @returns {() => void} stops following
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
  let stopped = false;

  function open() {
    if (last) address.searchParams.set("after", String(last.sequence));
    source = new EventSource(address);
    source.addEventListener("job", (event) => show.job((last = JSON.parse(event.data))));
    source.addEventListener("progress", (event) => show.progress?.(JSON.parse(event.data)));
    source.addEventListener("error", () => {
      if (source.readyState === EventSource.CLOSED) closed();
    });
  }

  async function closed() {
    if (await isOver()) show.end?.();
    else if (!stopped) waiting = setTimeout(open, AGAIN_MS);
  }

  async function isOver() {
    if (last?.display.poll_after_ms === null) return true;
    const job = events.replace(/\/events$/, "");
    const answer = await fetch(job, { headers: { Authorization: `Bearer ${token}` } }).catch(() => undefined);
    return answer !== undefined && [401, 403, 404, 410].includes(answer.status);
  }

  open();
  return () => {
    stopped = true;
    clearTimeout(waiting);
    source.close();
  };
}
