// @ts-check
import { html, useEffect, useRef, useState } from "../vendor/vendor.js";
import { absolute, relative } from "./time.js";
import { capabilitiesOf, dollars, providerOf } from "./catalogue.js";
import { copy, saveImage } from "./clipboard.js";
import { Bar } from "./gallery.js";
import { Actions, toForm } from "./job_actions.js";
import { isActive, jobOf, open, opened, opening, order } from "./jobs.js";
import { Picture } from "./picture.js";
import { Snippets } from "./snippets.js";
import { readJob } from "./updates.js";

/** The dialog of the job that is opened. */
export function JobDialog() {
  const current = opening.value;
  const { id } = current;
  const shown = useRef(current);
  // A job of the address may not be in the gallery yet; `order` renders this again once it is known.
  void order.value;
  const [missing, setMissing] = useState("");
  const dialog = useRef(/** @type {HTMLDialogElement | null} */ (null));
  const job = id ? jobOf(id)?.value : undefined;

  useEffect(() => {
    if (id && !dialog.current?.open) dialog.current?.showModal();
    if (!id) dialog.current?.close();
    shown.current = current;
    setMissing("");
    if (id && !jobOf(id)) void readJob(id).then(setMissing);
  }, [current]);
  // The browser tells late that it closed the dialog; by then a job may have been opened again.
  const onClose = () => {
    if (opened.value && opening.value === shown.current) open("");
  };
  return html`<dialog ref=${dialog} aria-labelledby="job-title" class="job" onClose=${onClose}>
    <form method="dialog" class="row job-head">
      <h2 id="job-title" tabindex="-1">${job ? job.display.title : "Job"}</h2>
      <button type="button" onClick=${() => open("")}>Close</button>
    </form>
    ${job ? html`<${Job} job=${job} />` : html`<p role="status">${missing || "Reading the job…"}</p>`}
  </dialog>`;
}

/** @param {{job: import("./jobs.js").Job}} props */
function Job({ job }) {
  const { display } = job;
  return html`<div class="stack">
    <p class=${`notice tone-${display.tone}`}>${display.message}${" "}
      ${display.next_try_at ? html`<span>Next try ${relative(display.next_try_at)}.</span>` : null}
      ${job.queue_position ? html`<span>Position ${job.queue_position}${job.queue_position_is_exact ? "" : " or later"} in the queue.</span>` : null}
    </p>
    <${Bar} id=${job.id} label=${display.title} />
    ${job.error && job.error.message !== display.message ? html`<p><strong>Details:</strong> ${job.error.message} <code>${job.error.reason}</code></p>` : null}
    ${job.warnings.length ? html`<ul class="warnings">${job.warnings.map((warning) => html`<li>${warning.message}</li>`)}</ul>` : null}
    ${job.artifacts.length ? null : html`<${Actions} job=${job} />`}
    <div class="pictures">${job.artifacts.map((artifact) => html`<${Artifact} key=${artifact.id} job=${job} artifact=${artifact} />`)}</div>
    ${job.artifacts.length ? html`<${Actions} job=${job} />` : null}
    <${Facts} job=${job} />
    ${job.request ? html`<${Snippets} request=${job.request} />` : null}
  </div>`;
}

/** @param {{job: import("./jobs.js").Job, artifact: import("calotype").ArtifactView}} props */
function Artifact({ job, artifact }) {
  const known = providerOf(job.request?.provider ?? "");
  const hasSeed = artifact.seed !== null && known && capabilitiesOf(known, job.request?.model ?? "").seed;
  const name = `${job.id}-${artifact.index}.${artifact.content_type.split("/")[1]}`;
  return html`<figure>
    <a href=${artifact.url} target="_blank" rel="noopener noreferrer"><${Picture} artifact=${artifact} alt=${`${job.request?.prompt ?? "Image"} (${artifact.index + 1})`} /></a>
    <figcaption class="row">
      <button type="button" onClick=${() => saveImage(artifact.url, name)}>Download</button>
      <button type="button" onClick=${() => copy(artifact.url, "Link copied.")}>Copy link</button>
      ${hasSeed ? html`<button type="button" onClick=${() => toForm(job, artifact.seed)}>Again with this seed</button>` : null}
      ${artifact.revised_prompt ? html`<small>The provider drew: ${artifact.revised_prompt}</small>` : null}
    </figcaption>
  </figure>`;
}

/** @param {{job: import("./jobs.js").Job}} props */
function Facts({ job }) {
  const cost = job.cost.amount_micros;
  const none = isActive(job) ? "not known yet" : "unknown";
  const known = cost === null ? none : `${dollars(cost)}${job.cost.complete ? "" : " so far"}`;
  const facts = [
    ["Prompt", job.request?.prompt],
    ["Not to show", job.request?.negative_prompt],
    ["Provider", job.model === job.provider ? job.provider : `${job.provider} (${job.model})`],
    ["Quality", job.request?.quality],
    ["Input images", inputsOf(job.request)],
    ["Fallbacks", job.request?.fallback.join(", ")],
    ["Options", optionsOf(job.request)],
    ["Size", job.artifacts[0] ? `${job.artifacts[0].width} × ${job.artifacts[0].height}` : (job.request?.size ?? job.request?.aspect_ratio)],
    ["Seeds", job.artifacts.flatMap((artifact) => artifact.seed ?? []).join(", ")],
    ["Cost", known],
    ["Tried again", job.retry_count ? `${job.retry_count} ${job.retry_count === 1 ? "time" : "times"}` : ""],
    ["Submitted", absolute(job.created_at)],
    ["Job", job.id],
  ];
  return html`<dl class="facts">
    ${facts.map(([name, value]) => (value ? html`<dt>${name}</dt><dd>${value}</dd>` : null))}
  </dl>`;
}

/** @param {import("calotype").RequestView | null} request */
function inputsOf(request) {
  const count = request?.input_images.length;
  return count ? `${count}${request?.mask ? ", with a mask" : ""}` : "";
}

/**
 * The options of the request that have no line of their own.
 *
 * @param {import("calotype").RequestView | null} request
 */
function optionsOf(request) {
  if (!request) return "";
  const { output_format, background, output_compression, moderation, input_fidelity } = request;
  const declared = Object.entries({ output_format, background, output_compression, moderation, input_fidelity });
  const given = [...declared, ...Object.entries(request.provider_options)].filter(([, value]) => value !== null);
  return given.map(([name, value]) => `${name}: ${typeof value === "string" ? value : JSON.stringify(value)}`).join("\n");
}
