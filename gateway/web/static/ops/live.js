// @ts-check
import { effect, signal, useEffect, useMemo } from "../vendor/vendor.js";
import { Poller } from "./polling.js";
import { isHeld, now, updatedAt } from "./state.js";

/**
 * @template T
 * @typedef {object} Live
 * @property {T | null} data What was loaded last; null before.
 * @property {string} problem Why the last request failed, for people; "" if it did not.
 * @property {() => void} reload Loads now, also while updates are paused.
 */

/**
 * Keeps data of a panel up to date while the panel is shown, and updates are not paused.
 * @template T
 * @param {(signal: AbortSignal) => Promise<T>} load
 * @param {string} name Of what is loaded: another name starts anew.
 * @returns {Live<T>}
 */
export function useLive(load, name) {
  const state = useMemo(() => signal(/** @type {{data: T | null, problem: string}} */ ({ data: null, problem: "" })), [name]);
  const poller = useMemo(() => new Poller(
    async (abort) => {
      const data = await load(abort);
      if (!abort.aborted) state.value = { data, problem: "" };
    },
    (error) => {
      if (error) state.value = { data: state.value.data, problem: error instanceof Error ? error.message : String(error) };
      else updatedAt.value = now.value = Date.now();
    },
  ), [name]);
  useEffect(() => {
    poller.isHeld = isHeld.value;
    poller.now();
    const unsubscribe = effect(() => poller.hold(isHeld.value));
    return () => { unsubscribe(); poller.stop(); };
  }, [poller]);
  return { ...state.value, reload: () => { poller.now(); } };
}
