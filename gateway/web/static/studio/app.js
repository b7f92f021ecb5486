// @ts-check
import { html, useEffect } from "../vendor/vendor.js";
import { keyWanted, unreachable } from "./api.js";
import { key } from "./session.js";
import { SignIn, SignOut } from "./sign_in.js";
import { announcement } from "./announcements.js";
import { catalogueError, forgetProviders, loadProviders } from "./catalogue.js";
import { Form } from "./form.js";
import { Gallery } from "./gallery.js";
import { forgetJobs } from "./jobs.js";
import { JobDialog } from "./job_dialog.js";
import { startUpdates } from "./updates.js";

/** The whole page: the form, the gallery, and the dialog of one job. */
export function App() {
  const secret = key.value;
  useEffect(() => {
    void loadProviders();
    const stop = startUpdates();
    return () => {
      stop();
      forgetProviders();
      forgetJobs();
    };
  }, [secret]);
  if (keyWanted.value) return html`<${SignIn} why=${keyWanted.value} />`;
  return html`
    <header class="top row">
      <h1>Calotype</h1>
      <nav class="row" aria-label="Pages"><a href="/docs">API</a><a href="/ops">Operations</a><${SignOut} /></nav>
    </header>
    <${Connection} />
    <main class="page">
      <${Form} />
      <${Gallery} />
    </main>
    <${JobDialog} />
    <p class="visually-hidden" role="status">${announcement.value}</p>
  `;
}

function Connection() {
  if (unreachable.value) {
    return html`<p class="notice tone-warning banner" role="alert">
      No connection to the service. Jobs go on without this page, and it continues by itself once the service is back.
    </p>`;
  }
  if (!catalogueError.value) return null;
  return html`<p class="notice tone-error banner" role="alert">
    The providers could not be read: ${catalogueError.value}
    <button type="button" onClick=${loadProviders}>Try again</button>
  </p>`;
}
