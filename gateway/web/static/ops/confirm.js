// @ts-check
import { html, signal, useEffect, useId, useRef, useState } from "../vendor/vendor.js";
import { notice } from "./state.js";

/**
 * @typedef {object} Question
 * @property {string} title What will be done.
 * @property {import("../vendor/vendor.js").View} text Consequences.
 * @property {string} action Label of the button that does it.
 * @property {string} [count] What has to be entered before; undefined for nothing.
 * @property {string} [note] Label of a field for a note; undefined for none.
 * @property {string} [option] Label of a checkbox; undefined for none.
 * @property {(answer: {note: string, isChecked: boolean}) => Promise<string>} act Does it; returns what was done.
 */

/** @type {import("../vendor/vendor.js").Signal<Question | null>} */
const question = signal(/** @type {Question | null} */ (null));

/** @param {Question} asked */
export function ask(asked) {
  question.value = asked;
}

/** The dialog of the question that is asked; nothing while there is none. */
export function Confirmation() {
  const asked = question.value;
  return asked ? html`<${Dialog} key=${asked.title} asked=${asked} />` : null;
}

/** @param {{asked: Question}} properties */
function Dialog({ asked }) {
  const dialog = useRef(/** @type {HTMLDialogElement | null} */ (null));
  const id = useId();
  const [note, setNote] = useState("");
  const [count, setCount] = useState("");
  const [isChecked, setChecked] = useState(false);
  const [isBusy, setBusy] = useState(false);
  const [problem, setProblem] = useState("");
  useEffect(() => {
    const before = document.activeElement;
    dialog.current?.showModal();
    return () => { if (before instanceof HTMLElement && before.isConnected) before.focus(); };
  }, []);
  const close = () => { if (!isBusy) question.value = null; };
  const act = async (/** @type {Event} */ event) => {
    event.preventDefault();
    if (isBusy || (asked.count !== undefined && count.trim() !== asked.count)) return;
    setBusy(true);
    setProblem("");
    try {
      notice.value = await asked.act({ note, isChecked });
      question.value = null;
    } catch (error) {
      setProblem(error instanceof Error ? error.message : String(error));
      setBusy(false);
    }
  };
  // A second Escape in a row closes the dialog without asking. What is being done is shown to its end.
  const onClose = () => { if (isBusy) dialog.current?.showModal(); else close(); };
  const isReady = asked.count === undefined || count.trim() === asked.count;
  return html`<dialog ref=${dialog} aria-labelledby=${`${id}-title`} onCancel=${(/** @type {Event} */ event) => { event.preventDefault(); close(); }} onClose=${onClose}>
    <form class="stack" onSubmit=${act}>
      <h2 id=${`${id}-title`}>${asked.title}</h2>
      <div class="stack">${asked.text}</div>
      ${asked.note !== undefined && html`<div><label for=${`${id}-note`}>${asked.note}</label>
        <input id=${`${id}-note`} maxlength="500" value=${note} onInput=${(/** @type {any} */ event) => setNote(event.target.value)} /></div>`}
      ${asked.option !== undefined && html`<label class="row"><input type="checkbox" checked=${isChecked}
        onChange=${(/** @type {any} */ event) => setChecked(event.target.checked)} />${asked.option}</label>`}
      ${asked.count !== undefined && html`<div><label for=${`${id}-count`}>Enter ${asked.count} to confirm</label>
        <input id=${`${id}-count`} inputmode="numeric" autocomplete="off" value=${count} onInput=${(/** @type {any} */ event) => setCount(event.target.value)} /></div>`}
      ${problem && html`<p class="notice tone-error" role="alert">${problem}</p>`}
      <div class="row">
        <button type="submit" class="primary" disabled=${isBusy || !isReady}>${asked.action}</button>
        <button type="button" disabled=${isBusy} onClick=${close}>Keep as it is</button>
      </div>
    </form>
  </dialog>`;
}
