// @ts-check
import { html, useState } from "../vendor/vendor.js";
import { api, messageOf, ApiError } from "./api.js";
import { newKey } from "../shared/idempotency_key.js";
import { announce } from "./announcements.js";
import { reuse } from "./draft.js";
import { forgetJob, isActive, keep, open } from "./jobs.js";
import { tellOtherTabs } from "./updates.js";

/** @typedef {"" | "retry_may_charge_again" | "delete"} Question */

/**
 * What can be done with a job: what `display.actions` names; and with a final one, use its settings or delete it.
 *
 * @param {{job: import("./jobs.js").Job}} props
 */
export function Actions({ job }) {
  const [busy, setBusy] = useState(false);
  const [question, setQuestion] = useState(/** @type {Question} */ (""));
  const [problem, setProblem] = useState("");
  const path = `/v1/jobs/${encodeURIComponent(job.id)}`;

  /** @param {() => Promise<void>} action */
  async function run(action) {
    setBusy(true);
    setProblem("");
    setQuestion("");
    try {
      await action();
      tellOtherTabs();
    } catch (error) {
      if (error instanceof ApiError && error.job) keep(error.job);
      setProblem(messageOf(error));
    } finally {
      setBusy(false);
      setTimeout(restoreFocus);
    }
  }
  const cancel = () => run(async () => keep(await api("POST", `${path}/cancel`, { idempotencyKey: newKey() })));
  /** @param {boolean} mayChargeAgain */
  const retry = (mayChargeAgain) =>
    run(async () => {
      const body = { on_ambiguous: mayChargeAgain ? "retry" : "fail", expected_sequence: job.sequence };
      keep(await api("POST", `${path}/retry`, { body, idempotencyKey: newKey() }));
    });
  const erase = () =>
    run(async () => {
      await api("DELETE", path);
      closeDialog();
      document.getElementById("gallery")?.focus();
      forgetJob(job.id);
      announce("Deleted.");
    });
  const keepAsItIs = () => {
    setQuestion("");
    setTimeout(restoreFocus);
  };
  const actions = new Set(job.display.actions);
  return html`<div class="stack">
    <div class="row">
      ${actions.has("cancel") ? html`<button type="button" disabled=${busy} onClick=${cancel}>Cancel</button>` : null}
      ${actions.has("retry") ? html`<button type="button" class="primary" disabled=${busy} onClick=${() => retry(false)}>Try again</button>` : null}
      ${actions.has("retry_may_charge_again")
        ? html`<button type="button" class="primary" disabled=${busy} onClick=${() => setQuestion("retry_may_charge_again")}>Try again…</button>`
        : null}
      ${job.request ? html`<button type="button" onClick=${() => toForm(job, null)}>Use these settings</button>` : null}
      ${isActive(job) ? null : html`<button type="button" disabled=${busy} onClick=${() => setQuestion("delete")}>Delete…</button>`}
    </div>
    ${question === "retry_may_charge_again"
      ? html`<${Consent} text="The provider may already have made these images, and charged for them. Trying again may charge a second time."
          yes="Try again and accept a second charge" onYes=${() => retry(true)} onNo=${keepAsItIs} />`
      : null}
    ${question === "delete"
      ? html`<${Consent} text="The images, the prompt and all input images are deleted for good, and links to them stop working."
          yes="Delete for good" onYes=${erase} onNo=${keepAsItIs} />`
      : null}
    ${problem ? html`<p class="notice tone-error" role="alert">${problem}</p>` : null}
  </div>`;
}

/**
 * Fills the form with the request of a job, and goes there.
 *
 * @param {import("./jobs.js").Job} job
 * @param {number | null} seed
 */
export function toForm(job, seed) {
  reuse(job, seed);
  closeDialog();
  open("");
  document.getElementById("prompt")?.focus();
}

/** Closes the dialog at once: one that closes later takes the focus away again. */
function closeDialog() {
  document.querySelector("dialog")?.close();
}

/** A button that is gone leaves the focus to the heading above it. */
function restoreFocus() {
  const dialog = document.querySelector("dialog[open]");
  if (!dialog?.contains(document.activeElement)) document.getElementById("job-title")?.focus();
}

/** @param {{text: string, yes: string, onYes: () => void, onNo: () => void}} props */
function Consent({ text, yes, onYes, onNo }) {
  return html`<div class="notice tone-warning stack" role="alert">
    <p>${text}</p>
    <div class="row"><button type="button" onClick=${onYes}>${yes}</button><button type="button" onClick=${onNo}>Keep it as it is</button></div>
  </div>`;
}
