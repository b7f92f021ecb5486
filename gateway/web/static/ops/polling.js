// @ts-check
/** Milliseconds between the end of a request and the next one, and the longest such pause after failures. */
export const INTERVAL_MS = 5_000;
export const LONGEST_MS = 60_000;

/**
 * Loads again and again, one request at a time; after failures less often. While it is held, nothing is requested, and
 * what is in progress still counts.
 */
export class Poller {
  /**
   * @param {(signal: AbortSignal) => Promise<unknown>} load
   * @param {(error: unknown) => void} onEnd Called after each request with null, or with what it failed with.
   */
  constructor(load, onEnd) {
    this.load = load;
    this.onEnd = onEnd;
    this.failures = 0;
    this.isHeld = false;
    this.isLoading = false;
    this.isWanted = false;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined;
    this.abort = new AbortController();
  }

  /** Loads now; while a request is in progress, once more after it. Works also while held. */
  async now() {
    clearTimeout(this.timer);
    if (this.isLoading) {
      this.isWanted = true;
      return;
    }
    this.isLoading = true;
    this.isWanted = false;
    let failure = null;
    try {
      await this.load(this.abort.signal);
    } catch (error) {
      failure = error ?? "failed";
    }
    this.isLoading = false;
    if (this.abort.signal.aborted) return;
    this.failures = failure ? this.failures + 1 : 0;
    this.onEnd(failure);
    if (this.isWanted) await this.now();
    else this.schedule();
  }

  /** @param {boolean} isHeld Whether to request nothing by itself; the end of a hold loads at once. */
  hold(isHeld) {
    if (this.isHeld === isHeld) return;
    this.isHeld = isHeld;
    if (isHeld) clearTimeout(this.timer);
    else this.now();
  }

  /** Ends for good; a request in progress is given up. */
  stop() {
    clearTimeout(this.timer);
    this.abort.abort();
  }

  schedule() {
    if (this.isHeld) return;
    const pause = Math.min(INTERVAL_MS * 2 ** Math.min(this.failures, 5), LONGEST_MS);
    this.timer = setTimeout(() => this.now(), pause);
  }
}
