"""A stack that runs, as a frontend and an operator see it."""

import threading
import time
from contextlib import closing
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import psycopg2
from calotype.job_status import FINAL_STATUSES
from psycopg2 import sql

from cli.stack.state import StackState
from tests.support.patience import PATIENCE


class RetryingTransport(httpx.HTTPTransport):
    """Repeats requests that got 503, as a good client does: on a busy machine no call is always in time.

    Tests of outages do not use it.
    """

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Returns the response."""
        if request.method == "POST":
            # A call whose response came too late must not be executed twice.
            request.headers.setdefault("Idempotency-Key", uuid4().hex)
        deadline = time.monotonic() + PATIENCE
        while True:
            response = super().handle_request(request)
            if response.status_code != 503 or time.monotonic() > deadline:
                return response
            response.close()
            threading.Event().wait(0.2)


def expire_lease(database_url: str, job_id: str) -> None:
    """Ends the lease of a job, so that it is rescued."""
    with closing(psycopg2.connect(database_url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(
            "UPDATE jobs SET lease_expires_at = clock_timestamp() WHERE id = %s AND lease_expires_at IS NOT NULL",
            (job_id,),
        )


def let_time_pass(database_url: str, job_id: str, *, seconds: float, witness: str) -> None:
    """Moves the times of a job back by `seconds`; returns once the monitor has checked it and acted.

    The witness, also at a generator, is moved back further than any job may last: the same check returns it to the
    queue.
    """
    column = "CASE jobs.id WHEN %(job)s THEN make_interval(secs => %(seconds)s) ELSE interval '1 day' END"
    passes = ", ".join(f"{name} = {name} - {column}" for name in ("generating_since", "uploading_since", "run_at"))
    locked = "SELECT id FROM jobs WHERE id IN (%(job)s, %(witness)s) ORDER BY id FOR UPDATE"
    pair = f"WITH pair AS MATERIALIZED ({locked})"
    claims = "SELECT claim_number FROM jobs WHERE id = %(witness)s"
    parameters = {"job": job_id, "witness": witness, "seconds": seconds}
    with closing(psycopg2.connect(database_url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute(claims, parameters)
        [(before,)] = cursor.fetchall()
        # Locked by id, as everything locks that runs beside this.
        cursor.execute(f"{pair} UPDATE jobs SET {passes} FROM pair WHERE jobs.id = pair.id", parameters)
        deadline = time.monotonic() + PATIENCE
        now = before
        while now == before:
            assert time.monotonic() < deadline, "the monitor does not check"
            threading.Event().wait(0.1)
            cursor.execute(claims, parameters)
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
        response = self.http.post("/v1/jobs", json={"prompt": prompt} | body)
        assert response.status_code in (200, 202), response.text
        job: dict[str, Any] = response.json()
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

    def follow(
        self, job_id: str, *, until: tuple[str, ...] = FINAL_STATUSES, seconds: float = PATIENCE
    ) -> dict[str, Any]:
        """Returns the job once it has one of the states; repeats the request through outages."""
        deadline = time.monotonic() + seconds
        etag = ""
        while time.monotonic() < deadline:
            try:
                # Answers when the job is final, or as soon as it changes.
                headers = {"Prefer": "wait=2"} | ({"If-None-Match": etag} if etag else {})
                response = self.http.get(f"/v1/jobs/{job_id}", headers=headers)
            except httpx.TransportError:
                threading.Event().wait(0.2)
                continue
            if response.status_code == 200:
                etag = response.headers["ETag"]
                job: dict[str, Any] = response.json()
                if job["status"] in until:
                    return job
            elif response.status_code != 304:
                threading.Event().wait(0.2)
        raise AssertionError(f"job {job_id} did not become {until}: {self.get(job_id)}")
