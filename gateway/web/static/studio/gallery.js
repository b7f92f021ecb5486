// @ts-check
import { html, useState } from "../vendor/vendor.js";
import { Age } from "./age.js";
import { providers } from "./catalogue.js";
import { change } from "./draft.js";
import { filterBy, filters, galleryError, jobOf, loadMore, nextPage, open, opened, order, percents } from "./jobs.js";
import { Picture } from "./picture.js";

const STATUS_NAMES = { "": "All states", active: "In progress", completed: "Done", failed: "Failed", canceled: "Canceled" };
const EXAMPLES = ["A lighthouse at dusk, gouache", "A fox in the snow, paper cut", "An old town by the sea, pen and ink"];

/** All jobs of the tenant, newest first. */
export function Gallery() {
  const ids = order.value;
  return html`<section aria-labelledby="gallery" class="gallery-part">
    <div class="row gallery-head"><h2 id="gallery" tabindex="-1">Your images</h2><${Filters} /></div>
    ${galleryError.value ? html`<p class="notice tone-error" role="alert">The list could not be read: ${galleryError.value}</p>` : null}
    ${nextPage.value === undefined && !galleryError.value ? html`<p class="hint" role="status">Reading the list…</p>` : null}
    ${nextPage.value === null && !ids.length ? html`<${Empty} />` : null}
    <ul class="gallery">${ids.map((id) => html`<li key=${id}><${Card} id=${id} /></li>`)}</ul>
    <${More} />
  </section>`;
}

function Filters() {
  const names = (providers.value ?? []).map((provider) => provider.name);
  return html`<div class="row">
    <label for="status" class="visually-hidden">Filter by state</label>
    <select id="status" onChange=${(/** @type {any} */ event) => filterBy({ status: event.target.value })}>
      ${Object.entries(STATUS_NAMES).map(([value, text]) => html`<option value=${value} selected=${value === filters.value.status}>${text}</option>`)}
    </select>
    ${names.length > 1
      ? html`<label for="by-provider" class="visually-hidden">Filter by provider</label>
          <select id="by-provider" onChange=${(/** @type {any} */ event) => filterBy({ provider: event.target.value })}>
            <option value="">All providers</option>
            ${names.map((name) => html`<option value=${name} selected=${name === filters.value.provider}>${name}</option>`)}
          </select>`
      : null}
  </div>`;
}

function Empty() {
  if (filters.value.status || filters.value.provider) {
    return html`<div class="notice stack">
      <p>No job matches the filter.</p>
      <div><button type="button" onClick=${() => filterBy({ status: "", provider: "" })}>Show all</button></div>
    </div>`;
  }
  return html`<div class="notice stack">
    <p>There are no images yet. Describe one in the form, or begin with an example:</p>
    <div class="row">
      ${EXAMPLES.map((prompt) => html`<button type="button" onClick=${() => example(prompt)}>${prompt}</button>`)}
    </div>
  </div>`;
}

/** @param {string} prompt */
function example(prompt) {
  change({ prompt });
  document.getElementById("prompt")?.focus();
}

function More() {
  const [busy, setBusy] = useState(false);
  if (!nextPage.value) return null;
  const load = () => {
    setBusy(true);
    void loadMore().finally(() => setBusy(false));
  };
  return html`<p class="more"><button type="button" disabled=${busy} onClick=${load}>${busy ? "Reading…" : "Show older images"}</button></p>`;
}

/** @param {{id: string}} props */
function Card({ id }) {
  const job = jobOf(id)?.value;
  if (!job) return null;
  const { display } = job;
  const prompt = job.request?.prompt ?? "";
  return html`<button type="button" class="card" aria-haspopup="dialog" aria-expanded=${opened.value === id} onClick=${() => open(id)}>
    <span class="card-picture">
      ${job.artifacts[0] ? html`<${Picture} artifact=${job.artifacts[0]} alt="" />` : html`<span class=${`card-state toned tone-${display.tone}`}>${display.title}</span>`}
      ${job.artifacts.length > 1 ? html`<span class="count">${job.artifacts.length} images</span>` : null}
    </span>
    <${Bar} id=${id} label=${display.title} />
    <span class="card-prompt">${prompt}</span>
    <span class="card-foot">${job.artifacts[0] ? html`<span class=${`toned tone-${display.tone}`}>${display.title}</span>` : html`<span>${job.provider}</span>`} <${Age} moment=${job.created_at} /></span>
  </button>`;
}

/**
 * The progress bar of a job that is under way.
 *
 * @param {{id: string, label: string}} props
 */
export function Bar({ id, label }) {
  const percent = percents.get(id)?.value ?? null;
  const job = jobOf(id)?.value;
  if (percent === null || !job || job.display.poll_after_ms === null) return null;
  return html`<progress max="100" value=${percent} aria-label=${label}>${Math.round(percent)} %</progress>`;
}
