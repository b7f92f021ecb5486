// @ts-check
import { signal } from "../vendor/vendor.js";
import { key } from "./session.js";

/** Whether the last request got no response from the service. */
export const unreachable = signal(false);
/** Why the service asks for a key; "" while it does not. */
export const keyWanted = signal("");

const TRIES = 4;
const FIRST_PAUSE_MS = 500;
/** Statuses of a proxy or a service that is about to restart; a later try of the same request is safe. */
const AWAY = new Set([502, 503, 504]);

/** A response with an error, or no response at all (`status` 0). */
export class ApiError extends Error {
  /**
   * @param {number} status
   * @param {Partial<import("calotype").ProblemView>} problem
   */
  constructor(status, problem) {
    super(problem.detail ?? "The service cannot be reached.");
    this.status = status;
    this.reason = problem.reason ?? "UNREACHABLE";
    this.title = problem.title ?? "No connection";
    this.errors = problem.errors ?? [];
    this.job = problem.job ?? null;
  }
}

/**
 * Calls the API and returns the JSON of the response, null without one. Throws `ApiError`.
 *
 * GET is repeated while the service is away, and so is every request with an Idempotency-Key.
 *
 * @param {string} method
 * @param {string} path
 * @param {{body?: unknown, idempotencyKey?: string, abort?: AbortSignal}} [options]
 * @returns {Promise<any>}
 */
export async function api(method, path, { body, idempotencyKey, abort } = {}) {
  const repeatable = method === "GET" || idempotencyKey !== undefined;
  for (let tried = 1; ; tried++) {
    try {
      return await call(method, path, body, idempotencyKey, abort);
    } catch (error) {
      const away = error instanceof ApiError && (error.status === 0 || AWAY.has(error.status));
      if (!away || !repeatable || tried === TRIES) throw error;
      await pause(FIRST_PAUSE_MS * 2 ** (tried - 1));
    }
  }
}

/**
 * @param {string} method
 * @param {string} path
 * @param {unknown} body
 * @param {string | undefined} idempotencyKey
 * @param {AbortSignal | undefined} abort
 */
async function call(method, path, body, idempotencyKey, abort) {
  const headers = authorized({});
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (idempotencyKey !== undefined) headers["Idempotency-Key"] = idempotencyKey;
  const sent = body === undefined ? undefined : JSON.stringify(body);
  const response = await request(path, { method, headers, body: sent, signal: abort });
  if (!response.ok) throw await problemOf(response);
  return response.status === 204 ? null : response.json();
}

/**
 * Sends a request; notes whether the service responds. Throws `ApiError` with status 0 if it does not.
 *
 * @param {string} path
 * @param {RequestInit} options
 */
export async function request(path, options) {
  try {
    const response = await fetch(path, { ...options, cache: "no-store", credentials: "omit" });
    unreachable.value = false;
    return response;
  } catch (error) {
    if (options.signal?.aborted) throw error;
    unreachable.value = true;
    throw new ApiError(0, {});
  }
}

/**
 * The error of a response; notes that a key is needed.
 *
 * @param {Response} response
 */
export async function problemOf(response) {
  const problem = await response.json().catch(() => ({ title: `Status ${response.status}`, detail: response.statusText }));
  if (response.status === 401) keyWanted.value = problem.detail;
  return new ApiError(response.status, problem);
}

/** @param {Record<string, string>} headers */
export function authorized(headers) {
  return key.value ? { ...headers, Authorization: `Bearer ${key.value}` } : headers;
}

/** @param {number} ms */
export function pause(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** @param {unknown} error */
export function messageOf(error) {
  return error instanceof Error ? error.message : String(error);
}
