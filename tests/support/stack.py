"""A stack that runs, as a frontend and an operator see it."""

import threading
import time
from contextlib import closing
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import psycopg2
from psycopg2 import sql

from cli.stack.state import StackState
from tests.support.patience import PATIENCE

FINAL = ("completed", "failed", "canceled")


class PatientTransport(httpx.HTTPTransport):
    """Asks again, as a good client does, when it is told to come later: on a busy machine no call is always in time.

    What a test says about an outage it says without this.
    """

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """The answer."""
        if request.method == "POST":
            # What was done though nobody heard of it in time is not done twice.
            request.headers.setdefault("Idempotency-Key", uuid4().hex)
        deadline = time.monotonic() + PATIENCE
        while True:
            answer = super().handle_request(request)
            if answer.status_code != 503 or time.monotonic() > deadline:
                return answer
            answer.close()
            threading.Event().wait(0.2)


def expire_lease(database_url: str, job_id: str) -> None:
    """Whoever holds the job has held it for too long: it is rescued as if that time had passed."""
    with closing(psycopg2.connect(database_url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(
            "UPDATE jobs SET lease_expires_at = clock_timestamp() WHERE id = %s AND lease_expires_at IS NOT NULL",
            (job_id,),
        )


def let_time_pass(database_url: str, job_id: str, *, seconds: float, witness: str) -> None:
    """A job stands as it does for so much longer; return once the monitor has looked at it and acted.

    The witness, at a generator as well, stands so for longer than any job may: it is put back in the same look.
    """
    column = "CASE id WHEN %(job)s THEN make_interval(secs => %(seconds)s) ELSE interval '1 day' END"
    passes = ", ".join(f"{name} = {name} - {column}" for name in ("generating_since", "uploading_since", "run_at"))
    claims = "SELECT claim_number FROM jobs WHERE id = %(witness)s"
    told = {"job": job_id, "witness": witness, "seconds": seconds}
    with closing(psycopg2.connect(database_url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute(claims, told)
        [(before,)] = cursor.fetchall()
        cursor.execute(f"UPDATE jobs SET {passes} WHERE id IN (%(job)s, %(witness)s)", told)
        deadline = time.monotonic() + PATIENCE
        now = before
        while now == before:
            assert time.monotonic() < deadline, "the monitor does not look"
            threading.Event().wait(0.1)
            cursor.execute(claims, told)
            [(now,)] = cursor.fetchall()


def caller(stack: StackState, *, transport: httpx.HTTPTransport | None = None) -> httpx.Client:
    """A client of the stack's HTTP API with the key of the tenant `default`; to be used as a context."""
    key = {"Authorization": f"Bearer {stack.api_key}"}
    return httpx.Client(base_url=stack.http, headers=key, timeout=PATIENCE, transport=transport, trust_env=False)


def tables_that_hold(url: str, words: str) -> list[str]:
    """Tables of the role's own schema with a row in which these words stand somewhere."""
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema()")
        found: list[str] = []
        for (table,) in cursor.fetchall():
            cursor.execute(
                sql.SQL("SELECT EXISTS (SELECT FROM {table} AS one WHERE strpos(one::text, %s) > 0)").format(
                    table=sql.Identifier(table)
                ),
                (words,),
            )
            if cursor.fetchone() == (True,):
                found.append(table)
        return found


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

    def wait_for_call(self, job_id: str, *, phase: str, seconds: float = PATIENCE) -> None:
        """Wait until a provider call of the job has the phase."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            attempts = self.http.get(f"/v1/jobs/{job_id}/attempts").json()["attempts"]
            if any(call["phase"] == phase for attempt in attempts for call in attempt["provider_calls"]):
                return
            threading.Event().wait(0.05)
        raise AssertionError(f"no call of {job_id} became {phase}")

    def follow(self, job_id: str, *, until: tuple[str, ...] = FINAL, seconds: float = PATIENCE) -> dict[str, Any]:
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
