// @ts-check
import { signal } from "../vendor/vendor.js";
import { api, messageOf, ApiError } from "./api.js";

/** @typedef {import("calotype").ProviderView} Provider */
/** @typedef {import("calotype").CapabilitiesView} Capabilities */

/** Providers of the tenant; null until they are read. */
export const providers = signal(/** @type {Provider[] | null} */ (null));
/** Why the providers could not be read; "" if they could. */
export const catalogueError = signal("");

export async function loadProviders() {
  try {
    providers.value = (await api("GET", "/v1/providers")).providers;
    catalogueError.value = "";
  } catch (error) {
    // A missing key is asked for in place of the whole page.
    catalogueError.value = error instanceof ApiError && error.status === 401 ? "" : messageOf(error);
  }
}

/** For another key, which may be another tenant's. */
export function forgetProviders() {
  providers.value = null;
  catalogueError.value = "";
}

/**
 * The provider with this name; the default one for "".
 *
 * @param {string} name
 * @returns {Provider | null} null if there is none
 */
export function providerOf(name) {
  const known = providers.value ?? [];
  return known.find((provider) => (name ? provider.name === name : provider.is_default)) ?? null;
}

/**
 * What the model supports.
 *
 * @param {Provider} provider
 * @param {string} model "" for the default model
 */
export function capabilitiesOf(provider, model) {
  return modelOf(provider, model)?.capabilities ?? provider.capabilities;
}

/**
 * Price of `n` images in words.
 *
 * @param {Provider} provider
 * @param {string} model "" for the default model
 * @param {number} n
 */
export function priceOf(provider, model, n) {
  if (capabilitiesOf(provider, model).free) return "Free";
  const micros = modelOf(provider, model)?.price_micros_per_image ?? null;
  return micros === null ? "Price unknown" : `About ${dollars(micros * n)}`;
}

/**
 * @param {number} micros millionths of a dollar
 */
export function dollars(micros) {
  const digits = micros % 10_000 === 0 ? 2 : 4;
  return `$${(micros / 1_000_000).toFixed(digits)}`;
}

/**
 * @param {Provider} provider
 * @param {string} model
 */
function modelOf(provider, model) {
  return provider.models.find((known) => known.name === (model || provider.default_model));
}
