// @ts-check
import { html } from "../vendor/vendor.js";
import { change, draft } from "./draft.js";

/** Most images of a job. */
const MOST_IMAGES = 10;

/**
 * A line of text of the draft.
 *
 * @param {{name: "seed" | "negative_prompt" | "width" | "height" | "output_compression", label: string, error: string, placeholder?: string, inputmode?: string, pattern?: RegExp}} props
 *   `pattern` matches characters that are not accepted
 */
export function Field({ name, label, error, placeholder = "", inputmode = "text", pattern }) {
  /** @param {any} event */
  function input(event) {
    const text = pattern ? event.target.value.replace(pattern, "").slice(0, 16) : event.target.value;
    event.target.value = text;
    change({ [name]: text });
  }
  return html`<div class="field">
    <label for=${name}>${label}</label>
    <input id=${name} value=${draft.value[name]} placeholder=${placeholder} inputmode=${inputmode} autocomplete="off" onInput=${input} ...${describedBy(name, error)} />
    <${FieldError} name=${name} error=${error} />
  </div>`;
}

/**
 * A choice of the draft.
 *
 * @param {{name: string, label: string, options: {value: string, text: string}[], error: string, value?: string, onChange?: (value: string) => void}} props
 */
export function Choice({ name, label, options, error, value = String(draft.value[/** @type {keyof import("./draft.js").Draft} */ (name)]), onChange = (chosen) => change({ [name]: chosen }) }) {
  return html`<div class="field">
    <label for=${name}>${label}</label>
    <select id=${name} value=${value} onChange=${(/** @type {any} */ event) => onChange(event.target.value)} ...${describedBy(name, error)}>
      ${options.map((option) => html`<option value=${option.value} selected=${option.value === value}>${option.text}</option>`)}
    </select>
    <${FieldError} name=${name} error=${error} />
  </div>`;
}

/** @param {{error: string}} props */
export function Counter({ error }) {
  return html`<div class="field">
    <label for="n">Number of images</label>
    <input id="n" type="number" min="1" max=${MOST_IMAGES} value=${draft.value.n} ...${describedBy("n", error)}
      onInput=${(/** @type {any} */ event) => change({ n: Math.min(MOST_IMAGES, Math.max(1, Math.trunc(event.target.valueAsNumber) || 1)) })} />
    <${FieldError} name="n" error=${error} />
  </div>`;
}

/**
 * Size or ratio; nothing if the model lets one choose neither.
 *
 * @param {{able: import("./catalogue.js").Capabilities, error: string}} props
 */
export function Shape({ able, error }) {
  const isCustom = able.min_side !== null && !able.sizes.length;
  if (!able.sizes.length && !able.aspect_ratios.length && !isCustom) return null;
  const value = draft.value.shape;
  /** @param {string} option @param {string} text */
  const entry = (option, text) => html`<option value=${option} selected=${option === value}>${text}</option>`;
  return html`<div class="field">
      <label for="shape">Size or ratio</label>
      <select id="shape" onChange=${(/** @type {any} */ event) => change({ shape: event.target.value })} ...${describedBy("shape", error)}>
        ${entry("", "automatic")}
        ${able.aspect_ratios.length ? html`<optgroup label="Ratio">${able.aspect_ratios.map((ratio) => entry(`ratio:${ratio}`, ratio))}</optgroup>` : null}
        ${able.sizes.length ? html`<optgroup label="Size">${able.sizes.map((size) => entry(`size:${size}`, size.replace("x", " × ")))}</optgroup>` : null}
        ${isCustom ? entry("custom", "width and height…") : null}
      </select>
      <${FieldError} name="shape" error=${error} />
    </div>
    ${isCustom && value === "custom" ? html`<${Sides} able=${able} />` : null}`;
}

/** @param {{able: import("./catalogue.js").Capabilities}} props */
function Sides({ able }) {
  const range = `${able.min_side} to ${able.max_side}`;
  return html`<${Field} name="width" label="Width in pixels" inputmode="numeric" placeholder=${range} error="" pattern=${/[^0-9]/g} />
    <${Field} name="height" label="Height in pixels" inputmode="numeric" placeholder=${range} error="" pattern=${/[^0-9]/g} />`;
}

/**
 * A yes or no of the draft.
 *
 * @param {{name: "fallback_on_refusal" | "may_charge_again", text: string}} props
 */
export function Checkbox({ name, text }) {
  return html`<label class="check"
    ><input id=${name} type="checkbox" checked=${draft.value[name]} onChange=${(/** @type {any} */ event) => change({ [name]: event.target.checked })} /> ${text}</label
  >`;
}

/**
 * Options of a choice whose first one leaves it to the provider.
 *
 * @param {readonly string[]} values
 */
export function ownChoice(values) {
  return [{ value: "", text: "automatic" }, ...values.map((value) => ({ value, text: value }))];
}

/** @param {{name: string, error: string}} props */
export function FieldError({ name, error }) {
  return error ? html`<small id=${`${name}-error`} class="toned tone-error">${error}</small>` : null;
}

/** @param {string} name @param {string} error */
export function describedBy(name, error) {
  return error ? { "aria-invalid": "true", "aria-describedby": `${name}-error` } : {};
}
