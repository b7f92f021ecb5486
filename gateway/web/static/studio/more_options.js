// @ts-check
import { html } from "../vendor/vendor.js";
import { capabilitiesOf, priceOf, providers } from "./catalogue.js";
import { capabilities, change, draft, inputFiles, provider } from "./draft.js";
import { Checkbox, Choice, Field, FieldError, describedBy, ownChoice } from "./fields.js";
import { takesOptions } from "./request.js";

/** Most fallbacks of a job. */
const MOST_FALLBACKS = 5;

/**
 * What is seldom needed, folded away.
 *
 * @param {{errorOf: (name: string) => string}} props
 */
export function MoreOptions({ errorOf }) {
  const chosen = /** @type {import("./catalogue.js").Provider} */ (provider.value);
  const able = /** @type {import("./catalogue.js").Capabilities} */ (capabilities.value);
  const others = (providers.value ?? []).filter((one) => one.name !== chosen.name);
  const output = outputChoices(able, errorOf);
  if (!output.length && !others.length && !takesOptions(chosen) && able.free) return null;
  const count = [...output.map(({ key }) => draft.value[/** @type {keyof import("./draft.js").Draft} */ (key)]), draft.value.fallback.length,
    mayCharge(able) && draft.value.may_charge_again, takesOptions(chosen) && draft.value.provider_options.trim()].filter(Boolean).length;
  return html`<details>
    <summary>More options${count ? html` <span class="hint">(${count} set)</span>` : null}</summary>
    <div class="stack more-options">
      ${output.length ? html`<div class="columns">${output}</div>` : null}
      ${others.length ? html`<${Fallbacks} others=${others} error=${errorOf("fallback")} />` : null}
      ${mayCharge(able) ? html`<${Checkbox} name="may_charge_again" text="If it is unknown whether a paid call worked, call again and accept a second charge" />` : null}
      ${takesOptions(chosen) ? html`<${ProviderOptions} rules=${chosen.options} error=${errorOf("provider_options")} />` : null}
    </div>
  </details>`;
}

/**
 * Fields for the options that the model declares.
 *
 * @param {import("./catalogue.js").Capabilities} able
 * @param {(name: string) => string} errorOf
 */
function outputChoices(able, errorOf) {
  const choices = /** @type {const} */ ([
    ["output_format", "File format", able.output_formats.length > 1 ? able.output_formats : []],
    ["background", "Background", able.backgrounds],
    ["moderation", "Moderation", able.moderations],
    ["input_fidelity", "Likeness to the input", inputFiles.value.length && able.max_input_images ? able.input_fidelities : []],
  ]);
  const shown = choices.filter(([, , values]) => values.length);
  const fields = shown.map(([name, label, values]) => html`<${Choice} key=${name} name=${name} label=${label} options=${ownChoice(values)} error=${errorOf(name)} />`);
  if (!able.output_compression || draft.value.output_format === "png") return fields;
  return [
    ...fields,
    html`<${Field} key="output_compression" name="output_compression" label="File quality" inputmode="numeric" placeholder="0 to 100" pattern=${/[^0-9]/g} error=${errorOf("output_compression")} />`,
  ];
}

/**
 * Whether the chosen provider or a fallback may charge.
 *
 * @param {import("./catalogue.js").Capabilities} able
 */
function mayCharge(able) {
  const used = (providers.value ?? []).filter((one) => draft.value.fallback.includes(one.name));
  return !able.free || used.some((one) => !capabilitiesOf(one, "").free);
}

/**
 * Other providers in the order in which they are tried.
 *
 * @param {{others: import("./catalogue.js").Provider[], error: string}} props
 */
function Fallbacks({ others, error }) {
  const names = draft.value.fallback.filter((name) => others.some((one) => one.name === name));
  /** @param {number} at @param {string} name "" for none */
  const choose = (at, name) => change({ fallback: [...names.slice(0, at), ...(name ? [name] : []), ...names.slice(at + 1)] });
  const places = names.length < Math.min(MOST_FALLBACKS, others.length) ? [...names, ""] : names;
  return html`<div class="stack">
    ${places.map((chosen, at) => {
      const free = others.filter((one) => one.name === chosen || !names.includes(one.name));
      const options = free.map((one) => ({ value: one.name, text: `${one.name} (${priceOf(one, "", draft.value.n).toLowerCase()})` }));
      return html`<${Choice} key=${at} name=${`fallback-${at}`} label=${at ? "Then" : "If it fails, make the images with"} value=${chosen}
        options=${[{ value: "", text: "no other provider" }, ...options]} error=${at ? "" : error} onChange=${(/** @type {string} */ name) => choose(at, name)} />`;
    })}
    ${names.length ? html`<${Checkbox} name="fallback_on_refusal" text="Also if the provider refuses the content" />` : null}
  </div>`;
}

/** @param {{rules: import("calotype").OptionRuleView[] | null, error: string}} props */
function ProviderOptions({ rules, error }) {
  const hint = rules === null ? "As JSON; this provider takes any option." : `As JSON: ${rules.map(ruleText).join("; ")}.`;
  const invalid = describedBy("provider_options", error);
  return html`<div class="field">
    <label for="provider_options">Options of this provider</label>
    <textarea id="provider_options" class="code" rows="3" spellcheck="false" autocomplete="off" placeholder="{}" value=${draft.value.provider_options}
      onInput=${(/** @type {any} */ event) => change({ provider_options: event.target.value })} aria-describedby="provider_options-hint" ...${invalid}></textarea>
    <${FieldError} name="provider_options" error=${error} />
    <small id="provider_options-hint">${hint}</small>
  </div>`;
}

/** @param {import("calotype").OptionRuleView} rule */
function ruleText(rule) {
  if (rule.values.length) return `${rule.path} (${rule.values.join(", ")})`;
  const range = [rule.minimum === null ? "" : `from ${rule.minimum}`, rule.maximum === null ? "" : `to ${rule.maximum}`].filter(Boolean).join(" ");
  return `${rule.path} (${[rule.type, range].filter(Boolean).join(" ")})`;
}
