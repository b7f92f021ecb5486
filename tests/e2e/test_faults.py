"""Ten faults, each named: the operator's view of a job and `calotype trace` say what is wrong and what is next."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psycopg2
import pytest

from cli.stack.state import StackState, read_state
from tests.support.patience import PATIENCE
from tests.support.providers.paid_provider import Books
from tests.support.stacks import storage_faults
from tests.support.stacks.frozen_servers import frozen
from tests.support.stacks.killed_servers import kill
from tests.support.stacks.stack_clients import Client, RetryingTransport, expire_lease
from tests.support.stacks.tenants import set_tenant

ROOT = Path(__file__).parents[2]
PRICE = 40_000
ANY = "any"
#: A provider that was registered, and that no generator offers any more.
ADD_VANISHED = """
INSERT INTO providers (name, description, is_default, registered_by, registered_at)
SELECT 'vanished', jsonb_set(description, '{name}', '"vanished"') || '{"is_default": false}', false, 'gone',
    registered_at FROM providers WHERE name = 'procedural'
ON CONFLICT (name) DO NOTHING
"""
REMOVE_VANISHED = "DELETE FROM providers WHERE name = 'vanished'"


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What the summary of a job says."""

    #: Of the failure or wait.
    stage: str
    code: str
    reason: str
    #: Phase of the last provider call; None without one.
    phase: str | None
    #: Words of the next step.
    next_step: str
    #: Why the job waits; None if it does not, `ANY` if that does not matter.
    wait: str | None = None
    #: Key of what its user sees.
    display: str | None = None


class OperatorTerminal:
    """An operator with the id of a job, at a terminal and by the API."""

    def __init__(self, stack: StackState, folder: Path) -> None:
        self._stack = stack
        self._folder = folder

    def view(self, job_id: str) -> dict[str, Any]:
        """What the API returns of the job."""
        key = {"Authorization": f"Bearer {self._stack.operator_key}"}
        with httpx.Client(base_url=self._stack.http, transport=RetryingTransport(), headers=key, timeout=30) as http:
            response = http.get(f"/v1/admin/jobs/{job_id}")
        assert response.status_code == 200, response.text
        found: dict[str, Any] = response.json()
        return found

    def command(self, *arguments: str) -> str:
        """What a command prints."""
        command = [sys.executable, "-P", "-m", "cli", *arguments, "--data", str(self._folder)]
        return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, timeout=PATIENCE, text=True).stdout

    def wait_until(self, job_id: str, expected: Expected) -> dict[str, Any]:
        """Returns the view once it says what is expected."""
        deadline = time.monotonic() + PATIENCE
        while not _says(view := self.view(job_id), expected):
            assert time.monotonic() < deadline, (expected, view["summary"], view["job"]["wait"])
            threading.Event().wait(0.2)
        return view


def _says(view: dict[str, Any], expected: Expected) -> bool:
    summary, job = view["summary"], view["job"]
    call = summary["provider_call"]
    return (
        (summary["stage"], summary["code"], summary["reason"]) == (expected.stage, expected.code, expected.reason)
        and (None if call is None else call["phase"]) == expected.phase
        and expected.next_step in summary["next_step"]
        and expected.wait in (ANY, None if job["wait"] is None else job["wait"]["reason"])
        and expected.display in (None, job["display"]["key"])
    )


@pytest.fixture
def operator(stack: StackState, server_folder: Path) -> OperatorTerminal:
    """The operator of the stack."""
    return OperatorTerminal(stack, server_folder / "stack")


def check(operator: OperatorTerminal, job_id: str, expected: Expected) -> dict[str, Any]:
    """Asserts that both views name stage, code, reason, provider call and next step."""
    view = operator.wait_until(job_id, expected)
    for command in (("trace", job_id), ("admin", "job", job_id)):
        deadline = time.monotonic() + PATIENCE
        # A job that is tried again is at a worker for a moment.
        while missing := _missing(printed := operator.command(*command), job_id, expected):
            assert time.monotonic() < deadline, (missing, printed)
    assert "job.submitted" in operator.command("trace", job_id)
    return view


def _missing(printed: str, job_id: str, expected: Expected) -> list[str]:
    """Returns what a command should have printed and has not."""
    parts = [
        f"job    {job_id}  ",
        f"\nstage  {expected.stage}\n",
        f"\ncode   {expected.code}\n",
        f"\nreason {expected.reason}: ",
        "\ncall   call_" if expected.phase else "\ncall   none\n",
        expected.next_step,
    ]
    return [part for part in parts if part not in printed]


def execute(stack: StackState, statement: str) -> None:
    """Runs a statement on job-service's database."""
    with closing(psycopg2.connect(stack.database_url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(statement)


@contextmanager
def new_tenant(stack: StackState, folder: Path, **limits: Any) -> Iterator[tuple[str, Client]]:
    """A tenant with these limits, and its frontend."""
    name, key = f"faults-{uuid4().hex[:8]}", uuid4().hex
    set_tenant(folder, name, key=key, **limits)
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(
        base_url=stack.http, timeout=PATIENCE, transport=RetryingTransport(), trust_env=False, headers=headers
    ) as http:
        deadline = time.monotonic() + PATIENCE
        while http.get("/v1/providers").status_code == 401:
            assert time.monotonic() < deadline, "the keys file is not read again"
            threading.Event().wait(0.1)
        yield name, Client(http)


def test_provider_down(client: Client, operator: OperatorTerminal) -> None:
    job, *_ = [client.submit("asked in vain", provider="gone") for _ in range(6)]
    expected = Expected(
        stage="queued",
        code="TEMPORARY",
        reason="PROVIDER_UNAVAILABLE",
        phase="not_sent",
        next_step="Check gone",
        wait="provider_down",
        display="queued_provider_down",
    )
    view = check(operator, job["id"], expected)

    assert view["job"]["display"]["next_try_at"] == view["job"]["wait"]["next_try_at"] is not None
    assert "Next try: " in view["summary"]["next_step"]


def test_provider_refuses_the_credential(client: Client, operator: OperatorTerminal) -> None:
    job = client.submit("with a wrong key", provider="mistaken")
    expected = Expected(
        stage="generating",
        code="AUTH_ERROR",
        reason="PROVIDER_AUTH",
        phase="not_sent",
        next_step="Replace the provider's credential",
    )
    view = check(operator, job["id"], expected)
    [call] = view["attempts"][0]["provider_calls"]

    assert call["provider_error"]["http_status"] == 401


def test_provider_limits_the_rate(client: Client, operator: OperatorTerminal) -> None:
    job = client.submit("one too many", provider="limited")
    expected = Expected(
        stage="generating",
        code="RATE_LIMIT",
        reason="PROVIDER_RATE_LIMIT",
        phase="not_sent",
        next_step="raise the limit of limited",
        wait="provider_limit",
        display="queued_limit",
    )
    check(operator, job["id"], expected)
    client.http.post(f"/v1/jobs/{job['id']}/cancel")


def test_content_is_refused(client: Client, operator: OperatorTerminal) -> None:
    job = client.submit("not for everybody", provider="strict")
    expected = Expected(
        stage="generating",
        code="PERMANENT",
        reason="CONTENT_POLICY",
        phase="refused",
        next_step="the tenant has to change the prompt",
    )
    check(operator, job["id"], expected)


def test_generator_is_killed_in_a_call(
    client: Client, operator: OperatorTerminal, books: Books, stack: StackState, server_folder: Path
) -> None:
    books.hold_hanging()
    prompt = "hangs when the generator dies"
    job = client.submit(prompt, provider="paid")
    books.wait_for_create(prompt)
    current = read_state(server_folder / "stack")
    assert current is not None
    kill(current, "generator")
    expire_lease(stack.database_url, job["id"])
    books.release_hanging()
    expected = Expected(
        stage="generating",
        code="TIMEOUT",
        reason="AMBIGUOUS_OUTCOME",
        phase="unknown",
        next_step="Look the call up at the provider",
    )
    view = check(operator, job["id"], expected)

    assert view["attempts"][0]["outcome"] == "rescued"


def test_tenant_limit_and_then_a_budget_that_is_used_up(
    operator: OperatorTerminal, books: Books, stack: StackState, server_folder: Path
) -> None:
    folder = server_folder / "stack"
    books.finish.clear()
    limits = {"max_in_flight": 1, "budget_micros_per_day": 2 * PRICE}
    with new_tenant(stack, folder, **limits) as (name, client):
        first = client.submit("slow, and all that is allowed", provider="paid")
        client.wait_for_call(first["id"], phase="accepted")
        second = client.submit("a second, which waits", provider="paid")
        limited = Expected(
            stage="queued",
            code="RATE_LIMIT",
            reason="QUOTA_EXCEEDED",
            phase=None,
            next_step="raise max_in_flight",
            wait="tenant_limit",
            display="queued_own_limit",
        )
        view = check(operator, second["id"], limited)
        assert view["job"]["wait"]["limit"] == 1

        set_tenant(folder, name, budget_micros_per_day=PRICE)
        wait_for_budget(stack, name, PRICE)
        books.finish.set()
        used_up = Expected(
            stage="generating",
            code="PERMANENT",
            reason="BUDGET_EXHAUSTED",
            phase=None,
            next_step="Raise the tenant's budget",
        )
        check(operator, second["id"], used_up)


def wait_for_budget(stack: StackState, tenant: str, micros: int) -> None:
    """Wait until job-service knows the tenant's budget of a day."""
    deadline = time.monotonic() + PATIENCE
    select = "SELECT limits::text FROM (SELECT * FROM tenant_limits WHERE tenant = %s) AS limits"
    while True:
        with closing(psycopg2.connect(stack.database_url)) as connection, connection.cursor() as cursor:
            cursor.execute(select, (tenant,))
            [(row,)] = cursor.fetchall()
        if str(micros) in row and str(2 * micros) not in row:
            return
        assert time.monotonic() < deadline, row
        threading.Event().wait(0.2)


def test_no_generator_offers_the_provider(client: Client, operator: OperatorTerminal, stack: StackState) -> None:
    execute(stack, ADD_VANISHED)
    job = client.submit("for a provider that is gone", provider="vanished")
    expected = Expected(
        stage="queued",
        code="TEMPORARY",
        reason="PROVIDER_UNAVAILABLE",
        phase=None,
        next_step="Start a generator with vanished",
        wait="no_generator",
        display="queued_provider_away",
    )
    try:
        check(operator, job["id"], expected)
    finally:
        client.http.post(f"/v1/jobs/{job['id']}/cancel")
        execute(stack, REMOVE_VANISHED)


def test_storage_refuses_writes(client: Client, operator: OperatorTerminal, server_folder: Path) -> None:
    with storage_faults.refusing_writes(server_folder / "stack"):
        job = client.submit("drawn, and kept nowhere", size="64x64")
        expected = Expected(
            stage="generating",
            code="AUTH_ERROR",
            reason="STORAGE_DENIED",
            phase="failed",
            next_step="Check the credential and the permissions of the object store",
        )
        check(operator, job["id"], expected)


def test_storage_is_away(client: Client, operator: OperatorTerminal, server_folder: Path) -> None:
    folder = server_folder / "stack"
    with ExitStack() as storage:
        with frozen(folder, "uploader"):
            job = client.submit("drawn, and not to be copied", size="64x64")
            client.follow(job["id"], until=("uploading",))
            storage.enter_context(storage_faults.away(folder))
        # Also while it waits for another try, or has it.
        expected = Expected(
            stage="uploading",
            code="TEMPORARY",
            reason="STORAGE_UNAVAILABLE",
            phase="succeeded",
            next_step="Check the object store",
            wait=ANY,
        )
        check(operator, job["id"], expected)

    client.follow(job["id"])


def test_webhook_receiver_is_down(
    client: Client, operator: OperatorTerminal, closed_port: int, server_folder: Path
) -> None:
    url = f"http://127.0.0.1:{closed_port}/hook"
    created = json.loads(operator.command("webhooks", "add", url, "--event", "job.completed", "--json"))
    job = client.follow(client.submit("made, and nobody hears of it", size="64x64")["id"])
    expected = Expected(
        stage="webhook",
        code="TEMPORARY",
        reason="connect",
        phase="succeeded",
        next_step="The event is sent again by itself",
    )
    try:
        view = check(operator, job["id"], expected)
        assert f"webhook {view['deliveries']['deliveries'][0]['id']}" in operator.command("trace", job["id"])
    finally:
        operator.command("webhooks", "remove", created["id"])


def test_the_view_is_whole_without_the_notifier(
    client: Client, operator: OperatorTerminal, server_folder: Path
) -> None:
    job = client.follow(client.submit("while the notifier is away", size="64x64")["id"])
    with frozen(server_folder / "stack", "notifier"):
        view = operator.view(job["id"])

    assert (view["deliveries"]["available"], view["deliveries"]["deliveries"]) == (False, [])
    assert view["deliveries"]["problem"]
    assert view["summary"]["next_step"] == "Nothing is wrong: the job is completed."
