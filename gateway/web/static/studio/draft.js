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
  background: "",
  /** A whole number as text, 0 to 100; "" for the provider's own choice. */
  output_compression: "",
  moderation: "",
  input_fidelity: "",
  /** Providers that are tried in this order when the chosen one fails. */
  fallback: /** @type {string[]} */ ([]),
  fallback_on_refusal: false,
  /** Consent to call again when a paid call has an unknown outcome. */
  may_charge_again: false,
  /** JSON as it was typed. */
  provider_options: "",
};

/** @typedef {typeof EMPTY} Draft */
/**
 * @typedef {{name: string, type: string, data: string, url: string, preview: string}} InputFile
 *   `data` is base64; with a `url`, which the service fetches, `data` and `preview` are ""
 */

/** What the form holds; it survives a reload of this tab. */
export const draft = signal(stored());
/** Input images of the form; they do not survive a reload. */
export const inputFiles = signal(/** @type {InputFile[]} */ ([]));
/** The mask for the first input image. */
export const maskFile = signal(/** @type {InputFile | null} */ (null));
/** Number of uploaded images of the job whose settings are used: the service keeps them to itself. */
export const imagesToAddAgain = signal(0);
/** The chosen provider; null until the providers are read. */
export const provider = computed(() => providerOf(draft.value.provider) ?? providerOf(""));
/** What the chosen model supports; null until the providers are read. */
export const capabilities = computed(() => (provider.value ? capabilitiesOf(provider.value, draft.value.model) : null));

/** @param {Partial<Draft>} changes */
export function change(changes) {
  draft.value = { ...draft.value, ...changes };
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
    background: request.background ?? "",
    output_compression: request.output_compression === null ? "" : String(request.output_compression),
    moderation: request.moderation ?? "",
    input_fidelity: request.input_fidelity ?? "",
    fallback: request.fallback.filter((name) => providerOf(name)),
    fallback_on_refusal: request.fallback_on_refusal,
    may_charge_again: request.on_ambiguous === "retry",
    provider_options: Object.keys(request.provider_options).length ? JSON.stringify(request.provider_options, null, 2) : "",
  };
  reuseInputs(request);
}

/** @param {import("calotype").RequestView} request */
function reuseInputs(request) {
  for (const file of [...inputFiles.value, maskFile.value]) if (file?.preview) URL.revokeObjectURL(file.preview);
  const images = [...request.input_images, ...(request.mask ? [request.mask] : [])];
  inputFiles.value = request.input_images.flatMap((image) => (image.url === null ? [] : [linked(image.url)]));
  maskFile.value = request.mask?.url ? linked(request.mask.url) : null;
  imagesToAddAgain.value = images.filter((image) => image.url === null).length;
}

/**
 * @param {string} url
 * @returns {InputFile}
 */
function linked(url) {
  return { name: url, type: "", data: "", url, preview: "" };
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
