"""A stack that runs, as a frontend and an operator see it."""

import threading
import time
from dataclasses import dataclass
from typing import Any

import httpx

FINAL = ("completed", "failed", "canceled")


@dataclass(frozen=True)
class Client:
    """A frontend: submits, follows, reads."""

    http: httpx.Client

    def submit(self, prompt: str, **body: Any) -> dict[str, Any]:
        """A new job."""
        answer = self.http.post("/v1/jobs", json={"prompt": prompt} | body)
        assert answer.status_code in (200, 202), answer.text
        job: dict[str, Any] = answer.json()
        return job

    def get(self, job_id: str) -> dict[str, Any]:
        """The job as it is now."""
        job: dict[str, Any] = self.http.get(f"/v1/jobs/{job_id}").json()
        return job

    def wait_for_call(self, job_id: str, *, phase: str, seconds: float = 20.0) -> None:
        """Wait until a provider call of the job has the phase."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            attempts = self.http.get(f"/v1/jobs/{job_id}/attempts").json()["attempts"]
            if any(call["phase"] == phase for attempt in attempts for call in attempt["provider_calls"]):
                return
            threading.Event().wait(0.05)
        raise AssertionError(f"no call of {job_id} became {phase}")

    def follow(self, job_id: str, *, until: tuple[str, ...] = FINAL, seconds: float = 60.0) -> dict[str, Any]:
        """The job once it has one of the states; asked as a patient frontend asks, whatever is away meanwhile."""
        deadline = time.monotonic() + seconds
        etag = ""
        while time.monotonic() < deadline:
            try:
                # Answers when the job is final, or as soon as it changes.
                headers = {"Prefer": "wait=2"} | ({"If-None-Match": etag} if etag else {})
                answer = self.http.get(f"/v1/jobs/{job_id}", headers=headers)
            except httpx.TransportError:
                threading.Event().wait(0.2)
                continue
            if answer.status_code == 200:
                etag = answer.headers["ETag"]
                job: dict[str, Any] = answer.json()
                if job["status"] in until:
                    return job
            elif answer.status_code != 304:
                threading.Event().wait(0.2)
        raise AssertionError(f"job {job_id} did not become {until}: {self.get(job_id)}")
