// @ts-check
import { html, render } from "../vendor/vendor.js";
import { Bulk } from "./bulk.js";
import { Dead } from "./dead.js";
import { Job } from "./job.js";
import { Jobs } from "./jobs.js";
import { Providers } from "./providers.js";
import { Queue } from "./queue.js";
import { Shell } from "./shell.js";
import { Spend } from "./spend.js";
import { route } from "./state.js";
import { Webhooks } from "./webhooks.js";

const JobsOrJob = () => (route.value.id ? html`<${Job} key=${route.value.id} id=${route.value.id} />` : html`<${Jobs} />`);
const panels = { queue: Queue, jobs: JobsOrJob, providers: Providers, webhooks: Webhooks, dead: Dead, bulk: Bulk, spend: Spend };
const root = document.getElementById("root");
if (root) {
  root.replaceChildren();
  render(html`<${Shell} panels=${panels} />`, root);
}
