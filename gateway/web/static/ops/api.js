// @ts-check
import { parseJson } from "./json.js";

/** Milliseconds after which a request is given up. */
const TIMEOUT_MS = 15_000;

/** A refusal by the API, or a request without a response. */
export class ApiError extends Error {
  /**
   * @param {number} status HTTP status; 0 without a response.
   * @param {string} reason Reason of the catalogue of errors; `NETWORK` without a response.
   * @param {string} message What happened, for people.
   */
  constructor(status, reason, message) {
    super(message);
    this.status = status;
    this.reason = reason;
  }
}

/**
 * Sends a request with an operator's key, and returns the parsed body; null for a response without one.
 * @param {string} key
 * @param {string} method
 * @param {string} path
 * @param {{query?: Record<string, string | string[]>, body?: unknown, signal?: AbortSignal, once?: string}} [options]
 *   `once`: the Idempotency-Key of the request.
 * @returns {Promise<any>} Rejects with `ApiError`.
 */
export async function request(key, method, path, options = {}) {
  const response = await send(key, method, path, options);
  const text = await response.text().catch(() => "");
  const isJson = (response.headers.get("Content-Type") ?? "").includes("json");
  const body = isJson && text ? parseJson(text) : null;
  if (response.ok) return body;
  const detail = body?.detail || response.statusText || `Status ${response.status}.`;
  const fields = /** @type {{field: string, message: string}[]} */ (body?.errors ?? []).map((one) => `${one.field}: ${one.message}`);
  const message = [detail, ...fields.filter((text) => !detail.includes(text))].join(" ");
  throw new ApiError(response.status, body?.reason ?? `HTTP_${response.status}`, message);
}

/**
 * @param {string} key
 * @param {string} method
 * @param {string} path
 * @param {{query?: Record<string, string | string[]>, body?: unknown, signal?: AbortSignal, once?: string}} options
 */
async function send(key, method, path, { query = {}, body, signal, once }) {
  /** @type {Record<string, string>} */
  const headers = { Accept: "application/json" };
  if (key) headers.Authorization = `Bearer ${key}`;
  if (once) headers["Idempotency-Key"] = once;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const limit = AbortSignal.timeout(TIMEOUT_MS);
  try {
    return await fetch(withQuery(path, query), {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: signal ? AbortSignal.any([signal, limit]) : limit,
      cache: "no-store",
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(0, "NETWORK", "The gateway does not respond.");
  }
}

/**
 * Returns the path with the query parameters that have a value.
 * @param {string} path
 * @param {Record<string, string | string[]>} query
 */
export function withQuery(path, query) {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const one of [value].flat()) if (one) parameters.append(name, one);
  }
  const text = parameters.toString();
  return text ? `${path}?${text}` : path;
}
