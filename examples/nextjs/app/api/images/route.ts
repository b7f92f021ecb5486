import type { ClientTokenView, JobView } from "../../../../../docs/frontend/calotype";

/** What a page needs to follow its job: the address of the job's events, and a token for this job alone. */
export interface Started {
  events: string;
  token: string;
}

/**
 * Submits a job for a page and returns `Started`, or the problem of the service with its status.
 *
 * The API key stays on the server. The page sends an `Idempotency-Key`, so that a repeated click makes one job.
 */
export async function POST(request: Request): Promise<Response> {
  const { prompt } = (await request.json()) as { prompt: string };
  const key = request.headers.get("idempotency-key");
  const submitted = await call("/v1/jobs", { prompt }, key ? { "Idempotency-Key": key } : {});
  if (!submitted.ok) return submitted;
  const job = (await submitted.json()) as JobView;
  const granted = await call("/v1/client-tokens", { job_id: job.id, actions: ["read", "cancel"] });
  if (!granted.ok) return granted;
  const { token } = (await granted.json()) as ClientTokenView;
  return Response.json({ events: job.links.events, token } satisfies Started, { status: 201 });
}

/** Posts JSON to Calotype; a service that does not respond is a 503, as the page sees it. */
async function call(path: string, body: unknown, headers: Record<string, string> = {}): Promise<Response> {
  const { CALOTYPE_URL, CALOTYPE_API_KEY } = process.env;
  const response = await fetch(`${CALOTYPE_URL}${path}`, {
    method: "POST",
    headers: { ...headers, Authorization: `Bearer ${CALOTYPE_API_KEY}`, "Content-Type": "application/json" },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(30_000),
  }).catch(() => Response.json({ detail: "The image service does not respond." }, { status: 503 }));
  // Headers of a response that fetch decoded must not be passed on.
  return new Response(await response.text(), {
    status: response.status,
    headers: { "Content-Type": response.headers.get("content-type") ?? "application/json" },
  });
}
