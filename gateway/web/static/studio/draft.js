// @ts-check
import { computed, effect, signal } from "../vendor/vendor.js";
import { capabilitiesOf, providerOf } from "./catalogue.js";

const NAME = "calotype.draft";
const EMPTY = {
  prompt: "",
  negative_prompt: "",
  provider: "",
  model: "",
  /** "", "custom", "size:WIDTHxHEIGHT" or "ratio:WIDTH:HEIGHT" */
  shape: "",
  width: "",
  height: "",
  n: 1,
  seed: "",
  quality: "",
  output_format: "",
};

/** @typedef {typeof EMPTY} Draft */
/** @typedef {{name: string, type: string, data: string, preview: string}} InputFile `data` is base64 */

/** What the form holds; it survives a reload of this tab. */
export const draft = signal(stored());
/** Input images of the form; they do not survive a reload. */
export const inputFiles = signal(/** @type {InputFile[]} */ ([]));
/** The chosen provider; null until the providers are read. */
export const provider = computed(() => providerOf(draft.value.provider) ?? providerOf(""));
/** What the chosen model supports; null until the providers are read. */
export const capabilities = computed(() => (provider.value ? capabilitiesOf(provider.value, draft.value.model) : null));

/** @param {Partial<Draft>} changes */
export function change(changes) {
  draft.value = { ...draft.value, ...changes };
}

/**
 * The request of the form: only what the chosen model supports.
 *
 * @param {Draft} values
 * @param {InputFile[]} files
 * @param {import("./catalogue.js").Capabilities} able
 * @returns {Partial<import("calotype").CreateJob>}
 */
export function requestOf(values, files, able) {
  /** @type {Partial<import("calotype").CreateJob>} */
  const request = { prompt: values.prompt.trim(), n: values.n };
  if (values.provider) request.provider = values.provider;
  if (values.model) request.model = values.model;
  if (able.negative_prompt && values.negative_prompt.trim()) request.negative_prompt = values.negative_prompt.trim();
  if (able.seed && values.seed) request.seed = Number(values.seed);
  if (able.qualities.includes(values.quality)) request.quality = values.quality;
  if (able.output_formats.includes(values.output_format)) {
    request.output_format = /** @type {import("calotype").OutputFormat} */ (values.output_format);
  }
  if (files.length && able.max_input_images) {
    request.input_images = files.map(({ data, type }) => ({ data, content_type: type }));
  }
  return { ...request, ...shapeOf(values, able) };
}

/**
 * @param {Draft} values
 * @param {import("./catalogue.js").Capabilities} able
 * @returns {{size?: string, aspect_ratio?: string}}
 */
function shapeOf(values, able) {
  const [kind, value] = [values.shape.split(":", 1)[0], values.shape.slice(values.shape.indexOf(":") + 1)];
  if (kind === "size" && able.sizes.includes(value)) return { size: value };
  if (kind === "ratio" && able.aspect_ratios.includes(value)) return { aspect_ratio: value };
  const custom = kind === "custom" && able.min_side !== null && values.width && values.height;
  return custom ? { size: `${values.width}x${values.height}` } : {};
}

/**
 * Fills the form from an earlier request.
 *
 * @param {import("calotype").JobView} job
 * @param {number | null} seed
 */
export function reuse(job, seed) {
  const request = job.request;
  if (!request) return;
  const [width, height] = request.size?.split("x") ?? ["", ""];
  const able = providerOf(request.provider ?? "");
  const listed = able && request.size && capabilitiesOf(able, request.model ?? "").sizes.includes(request.size);
  const shape = request.aspect_ratio ? `ratio:${request.aspect_ratio}` : listed ? `size:${request.size}` : "";
  draft.value = {
    prompt: request.prompt,
    negative_prompt: request.negative_prompt ?? "",
    provider: request.provider ?? "",
    model: request.model ?? "",
    shape: shape || (request.size ? "custom" : ""),
    width,
    height,
    n: seed === null ? request.n : 1,
    seed: seed === null ? "" : String(seed),
    quality: request.quality ?? "",
    output_format: request.output_format ?? "",
  };
}

effect(() => {
  try {
    sessionStorage.setItem(NAME, JSON.stringify(draft.value));
  } catch {
    // A browser without storage: a reload empties the form.
  }
});

/** @returns {Draft} */
function stored() {
  try {
    return { ...EMPTY, ...JSON.parse(sessionStorage.getItem(NAME) ?? "{}") };
  } catch {
    return EMPTY;
  }
}
