// @ts-check
import { batch, computed, signal } from "../vendor/vendor.js";
import { api, messageOf, ApiError } from "./api.js";
import { announce } from "./announcements.js";

/** @typedef {import("calotype").JobView} Job */
/** @typedef {import("../vendor/vendor.js").Signal<Job>} JobSignal */

const PAGE_SIZE = 50;
/** Statuses by filter; "" is no filter. */
export const STATUSES = /** @type {Record<string, string[]>} */ ({
  "": [],
  active: ["queued", "processing", "generating", "uploading"],
  completed: ["completed"],
  failed: ["failed"],
  canceled: ["canceled"],
});

/** All known jobs by id; one signal each, so that a change of a job renders this job alone. */
const known = /** @type {Map<string, JobSignal>} */ (new Map());
/** Ids of the jobs in the gallery, newest first. */
export const order = signal(/** @type {string[]} */ ([]));
/** Position of the progress bar by job; it never goes back before a retry. */
export const percents = /** @type {Map<string, import("../vendor/vendor.js").Signal<number | null>>} */ (new Map());
/** Token of the next page; null on the last one, undefined until the first one is read. */
export const nextPage = signal(/** @type {string | null | undefined} */ (undefined));
/** Why the gallery could not be read; "" if it could. */
export const galleryError = signal("");
export const filters = signal({ status: "", provider: "" });
/** The job in the dialog: another object for each time that it is opened. Its id is "" while the dialog is closed. */
export const opening = signal({ id: openedInAddress() });
/** Id of the job in the dialog; "" while it is closed. */
export const opened = computed(() => opening.value.id);

/** @param {string} id */
export function jobOf(id) {
  return known.get(id);
}

/** @param {Job} job */
export function isActive(job) {
  return job.display.poll_after_ms !== null;
}

/** Jobs of the gallery that are not final, newest first. */
export function activeJobs() {
  return order.value.flatMap((id) => known.get(id)?.value ?? []).filter(isActive);
}

/**
 * Keeps the newest state of a job.
 *
 * @param {Job} job
 * @param {{isComplete?: boolean}} [source] whether it says what the job waits for, which lists do not
 */
export function keep(job, { isComplete = true } = {}) {
  const before = known.get(job.id)?.value;
  if (before && (job.sequence < before.sequence || (job.sequence === before.sequence && !isComplete))) return;
  batch(() => {
    keepPercent(job, before);
    if (!before) {
      known.set(job.id, signal(job));
      return;
    }
    // Later events of a stream leave the request out.
    const kept = /** @type {JobSignal} */ (known.get(job.id));
    kept.value = { ...job, request: job.request ?? before.request };
    if (before.display.key !== job.display.key) announce(`${job.display.title}. ${job.display.message}`);
  });
}

/**
 * @param {Job} job
 * @param {Job | undefined} before
 */
function keepPercent(job, before) {
  const percent = percents.get(job.id);
  if (!percent) percents.set(job.id, signal(job.display.percent));
  else if (before?.retry_count !== job.retry_count || job.display.percent === null) percent.value = job.display.percent;
  else percent.value = Math.max(percent.value ?? 0, job.display.percent);
}

/**
 * @param {string} id
 * @param {number} percent live progress, on the scale of `display.percent`
 */
export function keepProgress(id, percent) {
  const kept = percents.get(id);
  if (kept) kept.value = Math.max(kept.value ?? 0, percent);
}

/** @param {Job} job a new one, or an older one that is shown first */
export function prepend(job) {
  keep(job);
  if (!order.value.includes(job.id)) order.value = [job.id, ...order.value];
}

/** @param {string} id */
export function forgetJob(id) {
  order.value = order.value.filter((other) => other !== id);
  known.delete(id);
  percents.delete(id);
  if (opened.value === id) open("");
}

/**
 * Reads the first page; adds new jobs above those that are shown.
 *
 * @returns {Promise<string[]>} ids of the jobs of the page
 */
export async function refresh() {
  const wanted = filters.value;
  const page = await readPage("");
  if (!page || wanted !== filters.value) return [];
  const ids = page.jobs.map((job) => job.id);
  batch(() => {
    for (const job of page.jobs) keep(job, { isComplete: false });
    const shown = new Set(order.value);
    const isFirst = nextPage.value === undefined;
    // Older pages stay. If none of the known jobs is on the page, there may be others in between: start again.
    const joins = !isFirst && ids.some((id) => shown.has(id));
    if (joins) order.value = [...ids.filter((id) => !shown.has(id)), ...order.value];
    else [order.value, nextPage.value] = [ids, page.next_page_token];
  });
  return ids;
}

export async function loadMore() {
  const wanted = filters.value;
  const page = await readPage(nextPage.value ?? "");
  if (!page || wanted !== filters.value) return;
  batch(() => {
    for (const job of page.jobs) keep(job, { isComplete: false });
    order.value = [...new Set([...order.value, ...page.jobs.map((job) => job.id)])];
    nextPage.value = page.next_page_token;
  });
}

/** For another key, which may be another tenant's. */
export function forgetJobs() {
  batch(() => {
    order.value = [];
    nextPage.value = undefined;
    galleryError.value = "";
    filters.value = { status: "", provider: "" };
    known.clear();
    percents.clear();
  });
}

/** @param {Partial<typeof filters.value>} changes */
export function filterBy(changes) {
  batch(() => {
    filters.value = { ...filters.value, ...changes };
    order.value = [];
    nextPage.value = undefined;
  });
  return refresh();
}

/**
 * @param {string} token "" for the first page
 * @returns {Promise<import("calotype").JobPage | null>} null if it could not be read
 */
async function readPage(token) {
  const query = new URLSearchParams({ page_size: String(PAGE_SIZE) });
  for (const status of STATUSES[filters.value.status]) query.append("status", status);
  if (filters.value.provider) query.set("provider", filters.value.provider);
  if (token) query.set("page_token", token);
  try {
    const page = await api("GET", `/v1/jobs?${query}`);
    galleryError.value = "";
    return page;
  } catch (error) {
    // A missing key is asked for in place of the whole page.
    galleryError.value = error instanceof ApiError && error.status === 401 ? "" : messageOf(error);
    return null;
  }
}

/** @param {string} id "" closes the dialog */
export function open(id) {
  opening.value = { id };
  history.replaceState(null, "", id ? `#job=${encodeURIComponent(id)}` : location.pathname);
}

function openedInAddress() {
  return new URLSearchParams(location.hash.slice(1)).get("job") ?? "";
}
