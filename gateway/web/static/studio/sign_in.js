// @ts-check
import { html, useRef, useState } from "../vendor/vendor.js";
import { keyWanted } from "./api.js";
import { key, signIn, signOut } from "./session.js";

/**
 * A form for the API key; shown in place of the page while the service wants one.
 *
 * @param {{why: string}} props
 */
export function SignIn({ why }) {
  const [remember, setRemember] = useState(false);
  const input = useRef(/** @type {HTMLInputElement | null} */ (null));
  /** @param {Event} event */
  function submit(event) {
    event.preventDefault();
    if (!input.current?.value.trim()) return;
    signIn(input.current.value, remember);
    keyWanted.value = "";
  }
  return html`<main class="sign-in">
    <form class="stack" onSubmit=${submit}>
      <h1>Sign in</h1>
      <p class="notice tone-warning" role="alert">${why.split(". ")[0].replace(/\.$/, "")}.</p>
      <label for="key">API key</label>
      <input id="key" type="password" autocomplete="off" spellcheck="false" required ref=${input} />
      <label class="check"
        ><input type="checkbox" checked=${remember} onChange=${() => setRemember(!remember)} /> Keep it in this tab over reloads</label
      >
      <p class="hint">Whoever runs this service gives you a key. With <code>calotype up</code>, the command <code>calotype keys show</code> prints it: <code>CALOTYPE_API_KEY</code>.</p>
      <p class="hint">The key stays in this tab and is forgotten when the tab is closed.</p>
      <button class="primary" type="submit">Sign in</button>
    </form>
  </main>`;
}

/** A button that forgets the key; nothing while there is none. */
export function SignOut() {
  return key.value ? html`<button class="plain" type="button" onClick=${signOut}>Sign out</button>` : null;
}
