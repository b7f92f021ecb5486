// @ts-check
import { effect } from "../vendor/vendor.js";
import { api, messageOf, unreachable } from "./api.js";
import { follow } from "./events.js";
import { activeJobs, forgetJob, isActive, jobOf, keep, keepProgress, opened, order, refresh } from "./jobs.js";

/** A browser opens six connections to a host, over all tabs; other active jobs are polled together. */
const MOST_STREAMS = 2;
const ACTIVE_PAUSE_MS = 3_000;
const IDLE_PAUSE_MS = 15_000;
/** Jobs that are read one by one in a round, because the first page no longer has them. */
const MOST_READS = 5;

const tabs = "BroadcastChannel" in window ? new BroadcastChannel("calotype.jobs") : null;

/** Tells the other tabs of this page that there are news. */
export function tellOtherTabs() {
  tabs?.postMessage("changed");
}

/**
 * Keeps the jobs of the page up to date while it is visible; a hidden page holds no connection.
 *
 * @returns {() => void} stops it
 */
export function startUpdates() {
  const streams = /** @type {Map<string, () => void>} */ (new Map());
  const ended = /** @type {Set<string>} */ (new Set());
  let timer = /** @type {ReturnType<typeof setTimeout> | undefined} */ (undefined);
  let running = false;
  let idle = false;
  let stopped = false;

  function choose() {
    const wanted = document.hidden || stopped ? [] : wantedStreams(ended);
    for (const [id, stop] of streams) {
      if (!wanted.includes(id)) {
        stop();
        streams.delete(id);
      }
    }
    for (const id of wanted) if (!streams.has(id)) streams.set(id, start(id));
  }

  /** @param {string} id */
  function start(id) {
    // Without a last sequence, so that the first event says what the job waits for.
    return follow(id, null, {
      job: keep,
      progress: (percent) => keepProgress(id, percent),
      end: () => {
        ended.add(id);
        setTimeout(choose);
      },
    });
  }

  async function round() {
    clearTimeout(timer);
    if (running || stopped || document.hidden) return;
    running = true;
    try {
      await readOthers(new Set([...(await refresh()), ...streams.keys()]));
      ended.clear();
      choose();
    } finally {
      running = false;
      plan();
    }
  }

  function plan() {
    clearTimeout(timer);
    idle = !activeJobs().length;
    if (!stopped) timer = setTimeout(round, idle ? IDLE_PAUSE_MS : ACTIVE_PAUSE_MS);
  }

  const stopEffect = effect(() => {
    void [opened.value, order.value];
    choose();
    // A job was submitted during the long pause.
    if (idle && !running && activeJobs().length) plan();
  });
  const offline = () => {
    unreachable.value = true;
  };
  const again = () => {
    choose();
    void round();
  };
  document.addEventListener("visibilitychange", again);
  window.addEventListener("online", again);
  window.addEventListener("offline", offline);
  tabs?.addEventListener("message", again);
  void round();
  return () => {
    stopped = true;
    clearTimeout(timer);
    stopEffect();
    choose();
    document.removeEventListener("visibilitychange", again);
    window.removeEventListener("online", again);
    window.removeEventListener("offline", offline);
    tabs?.removeEventListener("message", again);
  };
}

/**
 * Ids of the jobs to follow live: the one in the dialog, then the newest.
 *
 * @param {Set<string>} ended streams that have ended and are not opened again in this round
 */
function wantedStreams(ended) {
  const shown = jobOf(opened.peek())?.peek();
  const ids = [...(shown && isActive(shown) ? [shown.id] : []), ...activeJobs().map((job) => job.id)];
  return [...new Set(ids)].filter((id) => !ended.has(id)).slice(0, MOST_STREAMS);
}

/**
 * Reads active jobs that nothing else updates, those first that were not updated for longest.
 *
 * @param {Set<string>} updated ids of the jobs of the first page and of the streams
 */
async function readOthers(updated) {
  const others = activeJobs()
    .filter((job) => !updated.has(job.id))
    .sort((one, other) => one.updated_at.localeCompare(other.updated_at));
  await Promise.all(others.slice(0, MOST_READS).map((job) => readJob(job.id)));
}

/**
 * Reads one job; forgets it if it is deleted.
 *
 * @param {string} id
 * @returns {Promise<string>} why there is nothing to show; "" if it was read
 */
export async function readJob(id) {
  try {
    keep(await api("GET", `/v1/jobs/${encodeURIComponent(id)}`));
    return "";
  } catch (error) {
    const status = error instanceof Error && "status" in error ? error.status : 0;
    if (status !== 404 && status !== 410) return `The job could not be read: ${messageOf(error)}`;
    if (jobOf(id)) forgetJob(id);
    return "There is no such job. It may have been deleted.";
  }
}
