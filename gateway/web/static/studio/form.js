// @ts-check
import { html, useEffect, useRef, useState } from "../vendor/vendor.js";
import { api, messageOf, ApiError } from "./api.js";
import { newKey } from "../shared/idempotency_key.js";
import { announce } from "./announcements.js";
import { capabilitiesOf, priceOf, providers } from "./catalogue.js";
import { capabilities, change, draft, imagesToAddAgain, inputFiles, maskFile, provider } from "./draft.js";
import { Choice, Counter, Field, Shape, ownChoice } from "./fields.js";
import { InputImages } from "./input_images.js";
import { prepend } from "./jobs.js";
import { MoreOptions } from "./more_options.js";
import { WrongValue, requestOf } from "./request.js";
import { tellOtherTabs } from "./updates.js";

/** The form for a new job; it offers what the chosen model supports. */
export function Form() {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState(/** @type {ApiError | Error | null} */ (null));
  // The key of a request whose outcome is unknown: sending the same again makes no second job.
  const sent = useRef({ body: "", key: "" });
  const prompt = useRef(/** @type {HTMLTextAreaElement | null} */ (null));
  const values = draft.value;
  const able = capabilities.value;
  const section = useRef(/** @type {HTMLElement | null} */ (null));
  useEffect(() => {
    const wrong = /** @type {HTMLElement | null | undefined} */ (section.current?.querySelector('[aria-invalid="true"]'));
    wrong?.closest("details")?.setAttribute("open", "");
    if (wrong) wrong.focus();
    else section.current?.querySelector(".problem")?.scrollIntoView({ block: "nearest" });
  }, [problem]);

  /** The request; null, and the error is shown at its field, if what was typed is none. */
  function checkedRequest() {
    try {
      const inputs = { images: inputFiles.value, mask: maskFile.value };
      return requestOf(values, inputs, /** @type {import("./catalogue.js").Provider} */ (provider.value), /** @type {import("./catalogue.js").Capabilities} */ (able));
    } catch (error) {
      if (!(error instanceof WrongValue)) throw error;
      const { field, message } = error;
      setProblem(new ApiError(0, { title: "Not submitted", detail: message, errors: [{ field, message }] }));
      return null;
    }
  }

  /** @param {Event} event */
  async function submit(event) {
    event.preventDefault();
    if (busy || !able) return;
    if (!values.prompt.trim()) {
      setProblem(new Error("Describe the image first."));
      prompt.current?.focus();
      return;
    }
    const body = checkedRequest();
    if (!body) return;
    const written = JSON.stringify(body);
    if (sent.current.body !== written) sent.current = { body: written, key: newKey() };
    setBusy(true);
    setProblem(null);
    try {
      prepend(await api("POST", "/v1/jobs", { body, idempotencyKey: sent.current.key }));
      sent.current = { body: "", key: "" };
      imagesToAddAgain.value = 0;
      announce("Submitted.");
      // On a phone the gallery is below the form.
      setTimeout(() => document.querySelector(".card")?.scrollIntoView({ block: "nearest" }));
      tellOtherTabs();
    } catch (error) {
      setProblem(error instanceof Error ? error : new Error(messageOf(error)));
    } finally {
      setBusy(false);
    }
  }

  const errors = problem instanceof ApiError ? problem.errors : [];
  /** @param {string} name */
  const errorOf = (name) => errors.find((error) => error.field.split(".")[0] === name)?.message ?? "";
  return html`<section aria-labelledby="new" class="form-part" ref=${section}>
    <h2 id="new">New images</h2>
    <form class="stack" onSubmit=${submit} noValidate>
      <${Prompt} input=${prompt} error=${errorOf("prompt")} submit=${submit} />
      ${able?.negative_prompt ? html`<${Field} name="negative_prompt" label="What not to show" error=${errorOf("negative_prompt")} />` : null}
      <${Source} errorOf=${errorOf} />
      ${able ? html`<${Options} errorOf=${errorOf} />` : null}
      ${able?.max_input_images ? html`<${InputImages} able=${able} errorOf=${errorOf} />` : null}
      ${able ? html`<${MoreOptions} errorOf=${errorOf} />` : null}
      ${problem ? html`<${Problem} problem=${problem} />` : null}
      <div class="row submit">
        <button class="primary" type="submit" aria-busy=${busy} disabled=${!able}>${busy ? "Submitting…" : "Make images"}</button>
        <span class="price">${provider.value ? priceOf(provider.value, values.model, values.n) : ""}</span>
      </div>
    </form>
  </section>`;
}

/** @param {{input: import("../vendor/vendor.js").RefObject<HTMLTextAreaElement>, error: string, submit: (event: Event) => void}} props */
function Prompt({ input, error, submit }) {
  const most = capabilities.value?.max_prompt_characters ?? 32_000;
  useEffect(() => {
    if (matchMedia("(hover: hover)").matches) input.current?.focus();
  }, []);
  return html`<div class="stack field">
    <label for="prompt">Describe the image</label>
    <textarea id="prompt" rows="4" maxlength=${most} ref=${input} value=${draft.value.prompt} placeholder="A lighthouse at dusk, gouache"
      aria-invalid=${error ? "true" : "false"} aria-describedby="prompt-hint"
      onInput=${(/** @type {any} */ event) => change({ prompt: event.target.value })}
      onKeyDown=${(/** @type {KeyboardEvent} */ event) => event.key === "Enter" && (event.ctrlKey || event.metaKey) && submit(event)}></textarea>
    <small id="prompt-hint">${error || html`<span class="with-keyboard">Ctrl+Enter submits.</span>`}</small>
  </div>`;
}

/** @param {{errorOf: (name: string) => string}} props */
function Source({ errorOf }) {
  const known = providers.value;
  const chosen = provider.value;
  if (known === null) return html`<p class="hint" role="status">Reading what can be made here…</p>`;
  if (!chosen) return html`<p class="notice tone-warning">No provider is available yet. Start a generator, then reload this page.</p>`;
  const names = known.map((one) => ({ value: one.name, text: one.health.status === "ok" ? one.name : `${one.name} (${one.health.status})` }));
  const models = chosen.models.map((model) => ({ value: model.name, text: model.name }));
  return html`<div class="columns">
    ${known.length > 1
      ? html`<${Choice} name="provider" label="Provider" options=${names} value=${chosen.name} error=${errorOf("provider")}
          onChange=${(/** @type {string} */ name) => change({ provider: name, model: "" })} />`
      : null}
    ${models.length > 1
      ? html`<${Choice} name="model" label="Model" options=${models} value=${draft.value.model || chosen.default_model} error=${errorOf("model")} />`
      : null}
  </div>
  ${chosen.health.status === "ok" ? null : html`<p class="notice tone-warning">This provider has an outage; jobs wait until it is over.</p>`}`;
}

/** @param {{errorOf: (name: string) => string}} props */
function Options({ errorOf }) {
  const chosen = /** @type {import("./catalogue.js").Provider} */ (provider.value);
  const able = capabilitiesOf(chosen, draft.value.model);
  return html`<div class="columns">
    <${Shape} able=${able} error=${errorOf("size") || errorOf("aspect_ratio")} />
    <${Counter} error=${errorOf("n")} />
    ${able.qualities.length ? html`<${Choice} name="quality" label="Quality" options=${ownChoice(able.qualities)} error=${errorOf("quality")} />` : null}
    ${able.seed ? html`<${Field} name="seed" label="Seed" inputmode="numeric" placeholder="random" error=${errorOf("seed")} pattern=${/[^0-9]/g} />` : null}
  </div>`;
}

/** @param {{problem: Error}} props */
function Problem({ problem }) {
  const errors = problem instanceof ApiError ? problem.errors : [];
  return html`<div class="notice tone-error problem" role="alert">
    ${problem instanceof ApiError ? html`<strong>${problem.title}</strong>` : null}
    ${errors.length
      ? html`<ul>${errors.map((error) => html`<li><code>${error.field}</code>: ${error.message}</li>`)}</ul>`
      : html`<p>${problem.message}</p>`}
  </div>`;
}
