// @ts-check
import { html, useState } from "../vendor/vendor.js";
import { copy } from "./clipboard.js";

/** @typedef {import("calotype").RequestView} Request */

const DEFAULTS = /** @type {Record<string, unknown>} */ ({ n: 1, priority: "normal", on_ambiguous: "fail", fallback_on_refusal: false });
const WRITERS = /** @type {Record<string, (body: object, origin: string) => string>} */ ({ curl, Python: python, JavaScript: javascript });

/**
 * The request as a program in several languages.
 *
 * @param {{request: Request}} props
 */
export function Snippets({ request }) {
  const [language, setLanguage] = useState("curl");
  const text = WRITERS[language](bodyOf(request), location.origin);
  const hasUpload = request.input_images.some((image) => image.url === null);
  return html`<details class="stack">
    <summary>Copy this request as a program</summary>
    <div class="row snippet-head">
      ${Object.keys(WRITERS).map(
        (name) => html`<button type="button" aria-pressed=${name === language} onClick=${() => setLanguage(name)}>${name}</button>`,
      )}
      <button type="button" class="primary" onClick=${() => copy(text, `Copied as ${language}.`)}>Copy as ${language}</button>
    </div>
    ${hasUpload ? html`<p class="hint">Images that were uploaded are left out: add them as <code>input_images</code>.</p>` : null}
    <pre tabindex="0" aria-label=${`Request in ${language}`}>${text}</pre>
  </details>`;
}

/**
 * The fields that the caller gave.
 *
 * @param {Request} request
 */
export function bodyOf(request) {
  const given = Object.entries(request).filter(([name, value]) => !isEmpty(value) && value !== DEFAULTS[name]);
  const body = /** @type {Record<string, unknown>} */ (Object.fromEntries(given));
  const images = request.input_images.flatMap((image) => (image.url === null ? [] : [{ url: image.url }]));
  delete body.input_images;
  delete body.mask;
  if (images.length) body.input_images = images;
  if (images.length && request.mask?.url) body.mask = { url: request.mask.url };
  return body;
}

/** @param {unknown} value */
function isEmpty(value) {
  return value === null || (typeof value === "object" && Object.keys(value).length === 0);
}

/** @param {object} body @param {string} origin */
function curl(body, origin) {
  // Inside single quotes a shell reads everything as it is, but for the quote itself.
  const json = JSON.stringify(body, null, 2).replaceAll("'", "'\\''");
  return `curl ${origin}/v1/jobs \\
  -H "Authorization: Bearer $CALOTYPE_API_KEY" \\
  -H "Content-Type: application/json" \\
  -H "Prefer: wait=60" \\
  -d '${json}'`;
}

/** @param {object} body @param {string} origin */
function python(body, origin) {
  return `import json
import os

import httpx

request = json.loads(${JSON.stringify(JSON.stringify(body))})
headers = {"Authorization": f"Bearer {os.environ['CALOTYPE_API_KEY']}", "Prefer": "wait=60"}
job = httpx.post("${origin}/v1/jobs", json=request, headers=headers, timeout=90).raise_for_status().json()
print(job["display"]["title"], [image["url"] for image in job["artifacts"]])`;
}

/** @param {object} body @param {string} origin */
function javascript(body, origin) {
  return `const response = await fetch("${origin}/v1/jobs", {
  method: "POST",
  headers: {
    Authorization: \`Bearer \${process.env.CALOTYPE_API_KEY}\`,
    "Content-Type": "application/json",
    Prefer: "wait=60",
  },
  body: JSON.stringify(${JSON.stringify(body, null, 2).replaceAll("\n", "\n  ")}),
});
if (!response.ok) throw new Error((await response.json()).detail);
const job = await response.json();
console.log(job.display.title, job.artifacts.map((image) => image.url));`;
}
