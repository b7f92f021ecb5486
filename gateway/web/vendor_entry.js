// Everything of other projects that the pages import; `make vendor` bundles it into static/vendor/vendor.js.
import htm from "htm";
import { h } from "preact";

export { batch, computed, effect, signal } from "@preact/signals";
export { render } from "preact";
export { useEffect, useId, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";

/** Makes elements from a template: html`<p class=${name}>${text}</p>`. Texts are escaped. */
export const html = htm.bind(h);
