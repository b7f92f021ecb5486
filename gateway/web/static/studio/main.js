// @ts-check
import { html, render } from "../vendor/vendor.js";
import { App } from "./app.js";

const root = /** @type {HTMLElement} */ (document.getElementById("root"));
root.replaceChildren();
render(html`<${App} />`, root);
