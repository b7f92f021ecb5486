import { useEffect, useState, type FormEvent } from "react";
import { createRoot } from "react-dom/client";

import type { JobView } from "../../docs/frontend/calotype";
import { follow, type End, type Trouble } from "../../docs/frontend/follow.js";

/** What the page's own backend returns for a prompt: `examples/nextjs` is such a backend. */
interface Started {
  events: string;
  token: string;
}

/** Asks the page's own backend for a job; the key makes one job of a repeated request. */
async function start(prompt: string, key: string): Promise<Started> {
  const response = await fetch("/api/images", {
    method: "POST",
    headers: { "Content-Type": "application/json", "Idempotency-Key": key },
    body: JSON.stringify({ prompt }),
  });
  const body = await response.json();
  if (!response.ok) throw new Error(body.detail);
  return body;
}

/** Follows a job from its current state to its end. */
function useJob(started: Started | null) {
  const [job, setJob] = useState<JobView | null>(null);
  const [percent, setPercent] = useState<number | null>(null);
  const [trouble, setTrouble] = useState<Trouble>(null);
  const [end, setEnd] = useState<End | null>(null);
  useEffect(() => {
    setJob(null);
    setPercent(null);
    setTrouble(null);
    setEnd(null);
    if (!started) return;
    return follow(started.events, started.token, {
      job: (changed) => {
        setJob(changed);
        setPercent(changed.display.percent);
      },
      progress: (progress) => setPercent(progress.percent),
      trouble: setTrouble,
      end: setEnd,
    });
  }, [started]);
  return { job, percent, trouble, end };
}

function Page() {
  const [started, setStarted] = useState<Started | null>(null);
  const [error, setError] = useState("");
  const { job, percent, trouble, end } = useJob(started);

  async function submit(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    setError("");
    setStarted(null);
    const prompt = String(new FormData(event.currentTarget).get("prompt"));
    try {
      setStarted(await start(prompt, crypto.randomUUID()));
    } catch (reason) {
      setError(reason instanceof Error ? reason.message : String(reason));
    }
  }

  return (
    <>
      <form onSubmit={submit}>
        <label>
          What to draw <input name="prompt" required maxLength={32_000} />
        </label>
        <button>Make it</button>
      </form>
      {error && <p role="alert">{error}</p>}
      {trouble && <p role="status">The connection is interrupted; the job goes on.</p>}
      {end === "token" && <p role="alert">Reload the page to see the job again.</p>}
      {job && (
        <section aria-busy={end === null}>
          <h2>{job.display.title}</h2>
          <p>{job.display.message}</p>
          {percent !== null && <progress max={100} value={percent} />}
          {job.artifacts.map((image) => (
            <img key={image.id} src={image.url} width={image.width} height={image.height} alt="The image" />
          ))}
        </section>
      )}
    </>
  );
}

createRoot(document.getElementById("root")!).render(<Page />);
