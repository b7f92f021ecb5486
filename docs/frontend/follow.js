// @ts-check

/**
 * Follows one job in a page, from its state now to its end.
 *
 * The browser reconnects by itself and misses nothing: it tells the service which change it saw last. After the end the
 * service answers 204, and the browser stops for good.
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
  const source = new EventSource(address);
  source.addEventListener("job", (event) => show.job(JSON.parse(event.data)));
  source.addEventListener("progress", (event) => show.progress?.(JSON.parse(event.data)));
  source.addEventListener("error", () => {
    if (source.readyState === EventSource.CLOSED) show.end?.();
  });
  return () => source.close();
}
