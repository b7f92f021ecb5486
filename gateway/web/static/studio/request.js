// @ts-check
/** @typedef {import("./draft.js").Draft} Draft */
/** @typedef {import("./draft.js").InputFile} InputFile */
/** @typedef {import("./catalogue.js").Capabilities} Capabilities */
/** @typedef {Partial<import("calotype").CreateJob>} Request */

/** What was typed into a field is no value of it. */
export class WrongValue extends Error {
  /**
   * @param {string} field field of the request
   * @param {string} message
   */
  constructor(field, message) {
    super(message);
    this.field = field;
  }
}

/**
 * The request of the form: only what the chosen model supports.
 *
 * @param {Draft} values
 * @param {{images: InputFile[], mask: InputFile | null}} inputs
 * @param {import("./catalogue.js").Provider} provider
 * @param {Capabilities} able capabilities of the chosen model
 * @returns {Request}
 * @throws {WrongValue}
 */
export function requestOf(values, inputs, provider, able) {
  /** @type {Request} */
  const request = { prompt: values.prompt.trim(), n: values.n };
  if (values.provider) request.provider = values.provider;
  if (values.model) request.model = values.model;
  if (able.negative_prompt && values.negative_prompt.trim()) request.negative_prompt = values.negative_prompt.trim();
  if (able.seed && values.seed) request.seed = parsedSeed(values.seed);
  if (able.qualities.includes(values.quality)) request.quality = values.quality;
  return { ...request, ...shapeOf(values, able), ...outputOf(values, able), ...inputsOf(values, inputs, able), ...routeOf(values, provider) };
}

/**
 * @param {Draft} values
 * @param {Capabilities} able
 * @returns {Request}
 */
function shapeOf(values, able) {
  const [kind, value] = [values.shape.split(":", 1)[0], values.shape.slice(values.shape.indexOf(":") + 1)];
  if (kind === "size" && able.sizes.includes(value)) return { size: value };
  if (kind === "ratio" && able.aspect_ratios.includes(value)) return { aspect_ratio: value };
  const custom = kind === "custom" && able.min_side !== null && values.width && values.height;
  return custom ? { size: `${values.width}x${values.height}` } : {};
}

/**
 * @param {Draft} values
 * @param {Capabilities} able
 * @returns {Request}
 */
function outputOf(values, able) {
  const output = /** @type {Record<string, string | number>} */ ({});
  if (able.output_formats.includes(values.output_format)) output.output_format = values.output_format;
  if (able.backgrounds.includes(values.background)) output.background = values.background;
  if (able.moderations.includes(values.moderation)) output.moderation = values.moderation;
  if (able.output_compression && values.output_compression) output.output_compression = Number(values.output_compression);
  return output;
}

/**
 * @param {Draft} values
 * @param {{images: InputFile[], mask: InputFile | null}} inputs
 * @param {Capabilities} able
 * @returns {Request}
 */
function inputsOf(values, { images, mask }, able) {
  if (!images.length || !able.max_input_images) return {};
  /** @type {Request} */
  const request = { input_images: images.map(sentImage) };
  if (mask && able.mask) request.mask = sentImage(mask);
  if (able.input_fidelities.includes(values.input_fidelity)) {
    request.input_fidelity = /** @type {import("calotype").InputFidelity} */ (values.input_fidelity);
  }
  return request;
}

/** @param {InputFile} file */
function sentImage({ url, data, type }) {
  return url ? { url } : { data, content_type: type };
}

/**
 * What becomes of the job when a provider fails, and the options that only this provider knows.
 *
 * @param {Draft} values
 * @param {import("./catalogue.js").Provider} provider
 * @returns {Request}
 */
function routeOf(values, provider) {
  /** @type {Request} */
  const request = {};
  const fallback = values.fallback.filter((name) => name !== provider.name);
  if (fallback.length) Object.assign(request, { fallback, fallback_on_refusal: values.fallback_on_refusal });
  if (values.may_charge_again) request.on_ambiguous = "retry";
  if (takesOptions(provider) && values.provider_options.trim()) request.provider_options = parsedOptions(values.provider_options);
  return request;
}

/**
 * Whether a job may set options of the provider.
 *
 * @param {import("./catalogue.js").Provider} provider
 */
export function takesOptions(provider) {
  return provider.options === null || provider.options.length > 0;
}

/**
 * @param {string} text JSON
 * @returns {Record<string, never>}
 * @throws {WrongValue} if it is not a JSON object
 */
function parsedOptions(text) {
  let options;
  try {
    options = JSON.parse(text);
  } catch (error) {
    throw new WrongValue("provider_options", /** @type {Error} */ (error).message);
  }
  const isObject = options !== null && typeof options === "object" && !Array.isArray(options);
  if (!isObject) throw new WrongValue("provider_options", 'Write an object, such as {"steps": 20}.');
  return options;
}

/**
 * @param {string} text digits
 * @throws {WrongValue} for a seed that JavaScript would round, which would make another image
 */
function parsedSeed(text) {
  const seed = Number(text);
  if (!Number.isSafeInteger(seed)) throw new WrongValue("seed", `Must be at most ${Number.MAX_SAFE_INTEGER} on this page.`);
  return seed;
}
