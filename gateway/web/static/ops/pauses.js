// @ts-check
import { html } from "../vendor/vendor.js";
import { ask } from "./confirm.js";
import { Table, Time } from "./parts.js";
import { call } from "./state.js";

/** @typedef {import("calotype").components["schemas"]["PauseView"]} Pause */

/**
 * Returns the pauses in effect.
 * @param {AbortSignal} signal
 * @returns {Promise<Pause[]>}
 */
export async function loadPauses(signal) {
  return (await call("GET", "/v1/admin/pauses", { signal })).pauses;
}

/**
 * @param {Pause[]} pauses
 * @param {Pause["kind"]} kind
 * @param {string | null} name
 */
export function pauseOf(pauses, kind, name) {
  return pauses.find((pause) => pause.kind === kind && pause.name === name);
}

/**
 * The button that pauses or resumes something.
 * @param {{kind: Pause["kind"], name: string | null, pause: Pause | undefined, reload: () => void}} properties
 */
export function PauseButton({ kind, name, pause, reload }) {
  const what = name === null ? "the queue" : `${kind} ${name}`;
  const path = name === null ? "/v1/admin/queue" : `/v1/admin/${kind}s/${encodeURIComponent(name)}`;
  const resume = () => ask({
    title: `Resume ${what}?`,
    text: html`<p>Waiting jobs are claimed again at once.</p>`,
    action: "Resume",
    act: async () => {
      const { resumed } = await call("POST", `${path}:resume`);
      reload();
      return resumed ? `Resumed ${what}.` : `Nothing was paused: ${what}.`;
    },
  });
  const stop = () => ask({
    title: `Pause ${what}?`,
    text: html`<p>Waiting jobs of it are not claimed until it is resumed. Jobs that a worker holds go on; new jobs are accepted and wait.</p>`,
    action: "Pause",
    note: "Note for other operators",
    act: async ({ note }) => {
      await call("POST", `${path}:pause`, { body: { note } });
      reload();
      return `Paused ${what}.`;
    },
  });
  return html`<button onClick=${pause ? resume : stop}>${pause ? "Resume" : "Pause"}<span class=${name === null ? "" : "visually-hidden"}>${what}</span></button>`;
}

/** @param {{pauses: Pause[], reload: () => void}} properties */
export function Pauses({ pauses, reload }) {
  return html`<${Table} caption="Pauses in effect" heads=${["Paused", "Since", "By", "Note", ""]} empty="Nothing is paused."
    rows=${pauses.map((pause) => ({
      id: `${pause.kind}/${pause.name ?? ""}`,
      cells: [
        pause.name === null ? "queue" : `${pause.kind} ${pause.name}`,
        html`<${Time} at=${pause.paused_at} />`,
        pause.paused_by,
        pause.note ?? "",
        html`<${PauseButton} kind=${pause.kind} name=${pause.name} pause=${pause} reload=${reload} />`,
      ],
    }))} />`;
}
