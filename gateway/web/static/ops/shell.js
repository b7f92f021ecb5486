// @ts-check
import { html, useEffect, useId, useRef, useState } from "../vendor/vendor.js";
import { Confirmation } from "./confirm.js";
import { relative } from "./format.js";
import { PANELS, address } from "./routes.js";
import { isPaused, key, notice, now, route, setPaused, signIn, signInProblem, signOut, updatedAt } from "./state.js";

/** Titles of the panels in the navigation. */
const TITLES = /** @type {Record<string, string>} */ ({
  queue: "Queue", jobs: "Jobs", providers: "Providers", webhooks: "Webhooks", dead: "Dead letters", bulk: "Bulk actions", spend: "Spend",
});

/**
 * The page around a panel; the sign-in without a key.
 * @param {{panels: Record<string, () => unknown>}} properties
 */
export function Shell({ panels }) {
  const heading = useRef(/** @type {HTMLElement | null} */ (null));
  const { panel, id } = route.value;
  const isFirst = useRef(true);
  useEffect(() => {
    document.title = `${id || TITLES[panel]} · Operations · Calotype`;
    // Whoever follows a link by keyboard or screen reader continues at the new panel.
    if (!isFirst.current) heading.current?.focus();
    isFirst.current = false;
  }, [panel, id]);
  if (!key.value) return html`<${SignIn} />`;
  const Panel = panels[panel];
  return html`
    <a class="skip" href="#content" onClick=${(/** @type {Event} */ event) => { event.preventDefault(); heading.current?.focus(); }}>Skip to the content</a>
    <header>
      <p class="brand"><strong>Calotype</strong> operations</p>
      <nav aria-label="Panels">${PANELS.map((name) => html`<a key=${name} href=${address(name)}
        aria-current=${name === panel ? "page" : undefined}>${TITLES[name]}</a>`)}</nav>
      <${Updates} />
      <button class="plain" onClick=${() => signOut()}>Sign out</button>
    </header>
    <main id="content">
      <h1 ref=${heading} tabindex="-1">${TITLES[panel]}</h1>
      <div role="status" aria-live="polite">${notice.value && html`<p class="notice tone-success">${notice.value}</p>`}</div>
      <${Panel} key=${panel} />
    </main>
    <${Confirmation} />`;
}

/** Whether updates are live, and the button that pauses them. */
function Updates() {
  const paused = isPaused.value;
  const at = updatedAt.value;
  const age = at ? relative(new Date(at).toISOString(), now.value) : "never";
  return html`<div class="row updates">
    <span class="hint">${paused ? "Paused" : "Live"}; updated ${age}</span>
    <button aria-pressed=${paused ? "true" : "false"} onClick=${() => setPaused(!paused)}>Pause updates</button>
  </div>`;
}

/** Asks for the key of an operator. */
function SignIn() {
  const id = useId();
  const [value, setValue] = useState("");
  const [isKept, setKept] = useState(false);
  const submit = (/** @type {Event} */ event) => {
    event.preventDefault();
    if (value.trim()) signIn(value.trim(), isKept);
  };
  return html`<main class="loading"><form class="stack" onSubmit=${submit}>
    <h1>Operations</h1>
    <p>This page needs the key of an operator. With <code>calotype up</code> it is <code>operator_key</code> in the file <code>stack.json</code> of the data folder.</p>
    ${signInProblem.value && html`<p class="notice tone-error" role="alert">${signInProblem.value}</p>`}
    <div><label for=${`${id}-key`}>Operator key</label>
      <input id=${`${id}-key`} type="password" autocomplete="off" required value=${value}
        onInput=${(/** @type {any} */ event) => setValue(event.target.value)} /></div>
    <label class="row"><input type="checkbox" checked=${isKept}
      onChange=${(/** @type {any} */ event) => setKept(event.target.checked)} />Keep it until this tab is closed</label>
    <button class="primary" type="submit">Sign in</button>
  </form></main>`;
}
