// @ts-check
import { authorized, pause, problemOf, request, ApiError } from "./api.js";

const RETRY_MS = 1_000;
const LONGEST_RETRY_MS = 10_000;
/** The service sends a comment every 15 s; a connection that is silent for longer is dead, as after a closed lid. */
const SILENCE_MS = 40_000;
/** Statuses after which another try cannot succeed. */
const FINAL = new Set([401, 403, 404, 410]);

/**
 * Follows one job until it is final, over lost connections and restarts of the service.
 *
 * `EventSource` cannot send a key, and a key must not be part of an address; so the stream is read with fetch.
 *
 * @param {string} id
 * @param {number | null} after `sequence` that is known already
 * @param {{job: (job: import("calotype").JobView) => void, progress: (percent: number) => void, end?: () => void}} show
 * @returns {() => void} stops following
 */
export function follow(id, after, show) {
  const stopped = new AbortController();
  let last = after;
  let failures = 0;

  async function run() {
    while (!stopped.signal.aborted) {
      try {
        if (await readOnce()) break;
        failures = 0;
      } catch (error) {
        if (stopped.signal.aborted) return;
        if (error instanceof ApiError && FINAL.has(error.status)) break;
        failures++;
      }
      await pause(Math.min(RETRY_MS * 2 ** failures, LONGEST_RETRY_MS));
    }
    if (!stopped.signal.aborted) show.end?.();
  }

  /** @returns {Promise<boolean>} whether the job is final and nothing more will arrive */
  async function readOnce() {
    const headers = authorized(last === null ? {} : { "Last-Event-ID": String(last) });
    const silence = new AbortController();
    const signal = AbortSignal.any([stopped.signal, silence.signal]);
    const response = await request(`/v1/jobs/${encodeURIComponent(id)}/events`, { headers, signal });
    if (response.status === 204) return true;
    if (!response.ok || !response.body) throw await problemOf(response);
    let final = false;
    await readEvents(response.body, silence, (name, data) => {
      if (name === "progress") show.progress(data.percent);
      if (name !== "job") return;
      last = data.sequence;
      final = data.display.poll_after_ms === null;
      show.job(data);
    });
    return final;
  }

  void run();
  return () => stopped.abort();
}

/**
 * Reads server-sent events to the end of the stream.
 *
 * @param {ReadableStream<Uint8Array>} stream
 * @param {AbortController} silence aborted when nothing arrives for too long
 * @param {(name: string, data: any) => void} handle
 */
export async function readEvents(stream, silence, handle) {
  const reader = stream.pipeThrough(/** @type {any} */ (new TextDecoderStream())).getReader();
  let rest = "";
  for (;;) {
    const timer = setTimeout(() => silence.abort(), SILENCE_MS);
    const { done, value } = await reader.read().finally(() => clearTimeout(timer));
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop() ?? "";
    for (const block of blocks) handleBlock(block, handle);
  }
}

/**
 * @param {string} block
 * @param {(name: string, data: any) => void} handle
 */
function handleBlock(block, handle) {
  let name = "message";
  let data = "";
  for (const line of block.split("\n")) {
    if (line.startsWith("event: ")) name = line.slice(7);
    if (line.startsWith("data: ")) data += line.slice(6);
  }
  if (data) handle(name, JSON.parse(data));
}
