// @ts-check
import { html, useLayoutEffect, useRef, useState } from "../vendor/vendor.js";
import { paint } from "./blurhash.js";

/**
 * An image: its placeholder first, then the image itself.
 *
 * @param {{artifact: import("calotype").ArtifactView, alt: string}} props
 */
export function Picture({ artifact, alt }) {
  const [state, setState] = useState(/** @type {"loading" | "loaded" | "failed"} */ ("loading"));
  const canvas = useRef(/** @type {HTMLCanvasElement | null} */ (null));
  useLayoutEffect(() => {
    if (canvas.current) paint(canvas.current, artifact.blurhash);
  }, [artifact.blurhash]);
  return html`<span class=${`picture ${state}`}>
    <canvas ref=${canvas} width="32" height="24" aria-hidden="true"></canvas>
    ${state === "failed"
      ? html`<span class="picture-failed">The image cannot be loaded.</span>`
      : html`<img src=${artifact.url} width=${artifact.width} height=${artifact.height} alt=${alt} loading="lazy" decoding="async"
          onLoad=${() => setState("loaded")} onError=${() => setState("failed")} />`}
  </span>`;
}
