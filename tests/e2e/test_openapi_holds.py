"""`/openapi.json` is true: what schemathesis makes of it, good and bad, is answered as it says, and never with a 500.

Every operation and every documented status is seen.
"""

import asyncio
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import nats
import pytest
import schemathesis
import yaml
from calotype import streams
from calotype.job_status import FINAL_STATUSES
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.schemas import APIOperation, BaseSchema
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

# Here, not when the library needs it: pytest parses its source, and some versions of Python cannot do that reliably
# while other threads parse, too (gh-106905).
from schemathesis.specs.openapi.schemas import OpenApiSchema  # noqa: F401

from cli.stack.keys import write_private
from cli.stack.state import StackState, read_state
from tests.support.gateway.api_calls import BULK_ACTION, CALLS, DELIVERY, WEBHOOK
from tests.support.patience import PATIENCE
from tests.support.providers.paid_provider import KEY, Books, paid_provider, png
from tests.support.stacks.frozen_servers import frozen
from tests.support.stacks.pauses import end_pauses
from tests.support.stacks.tenants import set_tenant

ROOT = Path(__file__).parents[2]
#: Tenant of the operator's key.
OPERATORS = "operator"
AT_LEAST = 2_000
#: For each operation, each kind of data and each kind of job; more where there is time: CALOTYPE_TEST_EXAMPLES=70.
EXAMPLES = int(os.environ.get("CALOTYPE_TEST_EXAMPLES", "25"))
#: Jobs end at once, with a small picture.
PROVIDERS = """
default: paid
providers:
  - name: paid
    kind: replicate
    base_url: "{url}"
    api_key_env: PAID_API_KEY
    models: [{{name: test/model, price_micros_per_image: 40000}}]
  - {{name: edits, kind: openai, base_url: "{url}", api_key_env: PAID_API_KEY, models: [{{name: editor}}]}}
  - {{name: denied, kind: replicate, base_url: "{url}", api_key_env: WRONG_API_KEY, models: [{{name: test/model}}]}}
  - {{name: edits-denied, kind: openai, base_url: "{url}", api_key_env: WRONG_API_KEY, models: [{{name: editor}}]}}
"""
TOO_LARGE = bytes(60 * 1024 * 1024)
GENERATED = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
#: What a schema cannot tell: whether this service gave a token, what a provider can do, how much is too much together.
BEYOND_SCHEMA = frozenset(
    (
        *("callback_url", "fallback", "id", "image", "images", "input_images", "mask", "model", "n", "negative_prompt"),
        *("aspect_ratio", "output_format", "page_token", "provider", "provider_options", "quality"),
        *("background", "input_fidelity", "moderation", "output_compression", "response_format", "seed", "size"),
        *("before", "url"),
        *("filter", "on_ambiguous"),
        *("code", "created_after", "created_before", "name", "reason"),
    )
)
SPENT = "a-key-of-a-tenant-that-may-not-ask"


@pytest.fixture(scope="module")
def books() -> Iterator[Books]:
    """A provider of the module's own."""
    with paid_provider() as found:
        yield found


@pytest.fixture(scope="module")
def quick(server_folder: Path, books: Books) -> Iterator[StackState]:
    """A stack of the module's own."""
    folder, providers = server_folder / "quick", server_folder / "quick.yaml"
    providers.write_text(PROVIDERS.format(url=books.url), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'proto'}", "PAID_API_KEY": KEY}
    environment["WRONG_API_KEY"] = "wrong"
    environment.pop("CALOTYPE_TEST_EXAMPLES", None)  # Of this test alone; a service knows no such setting.
    command = [sys.executable, "-m", "cli"]
    up = [*command, "up", "--detach", "--http", "127.0.0.1:0", "--data", str(folder), "--providers", str(providers)]
    subprocess.run(up, env=environment, check=True, cwd=ROOT)
    try:
        state = read_state(folder)
        assert state is not None
        yield state
    finally:
        subprocess.run([*command, "down", "--data", str(folder)], check=True, cwd=ROOT)


class Asking:
    """Asks what schemathesis makes up, and keeps the books of what was seen and what was found."""

    def __init__(self, stack: StackState) -> None:
        self.http = stack.http
        self.headers = {"Authorization": f"Bearer {stack.operator_key}"}
        self.client = httpx.Client(base_url=stack.http, headers=self.headers, timeout=PATIENCE)
        self.schema: BaseSchema = schemathesis.openapi.from_url(f"{stack.http}/openapi.json")
        self.seen: Counter[tuple[str, str]] = Counter()
        self.found: list[str] = []

    def generated(self, operation: APIOperation, mode: GenerationMode, **fixed: Any) -> None:
        """Asks up to `EXAMPLES` times, with some parts of the request given."""

        @seed(7)
        @GENERATED
        @given(case=operation.as_strategy(generation_mode=mode, **fixed))
        def ask(case: Any) -> None:
            response = case.call(headers=self.headers, timeout=PATIENCE)
            self.seen[_name(operation), str(response.status_code)] += 1
            excluded = [positive_data_acceptance] if _is_beyond_schema(response) else []
            if _name(operation) == "createJobs":
                # A wrong job is the problem of its own result, and the batch is accepted.
                excluded = [*excluded, negative_data_rejection]
            case.validate_response(response, excluded_checks=excluded)

        try:
            ask()
        except Unsatisfiable:
            pass  # Nothing to be made up: a call without parameters has no bad data.
        except (AssertionError, BaseExceptionGroup) as failure:
            self.found.append(f"{_name(operation)}, {mode.value}: {str(failure)[:3_000]}")

    def directed(self, operation: APIOperation, expected: int, *, path: str = "", **request: Any) -> httpx.Response:
        """Asks once for an answer that made-up data does not meet; it is checked like any other."""
        asked = self.client.build_request(operation.method, path or operation.path, **request)
        asked.read()  # A form is a stream until then, and the check looks at what was sent.
        deadline = time.monotonic() + PATIENCE
        # On a busy machine, an answer that does not come in time is no finding.
        while (answer := self.client.send(asked)).status_code == 503 != expected and time.monotonic() < deadline:
            time.sleep(0.1)
        assert answer.status_code == expected, (_name(operation), answer.text)
        self.seen[_name(operation), str(expected)] += 1
        operation.validate_response(answer)
        return answer

    def job(self, whose: dict[str, str] | None = None, **wanted: Any) -> str:
        """The id of a new job."""
        deadline = time.monotonic() + PATIENCE
        while (answer := self._post_job({"prompt": "good", **wanted}, whose)).status_code == 503:
            assert time.monotonic() < deadline, answer.text
            time.sleep(0.1)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def _post_job(self, body: dict[str, Any], headers: dict[str, str] | None) -> httpx.Response:
        return self.client.post("/v1/jobs", json=body, headers=headers)

    def ended(self, status: str, *, key: str | None = None, **wanted: Any) -> str:
        """The id of a job that has ended so; of another tenant, if that one's key is given."""
        whose = {"Authorization": f"Bearer {key}"} if key else {}
        job = self.job(whose, **wanted)
        deadline = time.monotonic() + PATIENCE
        while True:
            answer = self.client.get(f"/v1/jobs/{job}", headers=whose | {"Prefer": "wait=20"})
            if answer.status_code == 200 and answer.json()["status"] in FINAL_STATUSES:
                break
            assert time.monotonic() < deadline, answer.text
        assert answer.json()["status"] == status, answer.text
        return job

    def cancel_held(self, operation: APIOperation, **request: Any) -> None:
        """Asks, and cancels the job that is made of it while the answer is held, which nobody waits for."""
        threads = ThreadPoolExecutor(1)
        held = threads.submit(self.client.request, operation.method, operation.path, **request)
        threads.shutdown(wait=False)
        deadline = time.monotonic() + PATIENCE
        while not (jobs := self.client.get("/v1/jobs", params={"status": "generating"}).json().get("jobs")):
            assert time.monotonic() < deadline, "the job is not made"
            time.sleep(0.1)
        [job] = jobs
        assert not held.done()
        self.client.post(f"/v1/jobs/{job['id']}/cancel").raise_for_status()

    def token(self, job: str, action: str) -> dict[str, str]:
        """Headers with a client token that allows one action on a job."""
        answer = self.client.post("/v1/client-tokens", json={"job_id": job, "actions": [action]})
        return {"Authorization": f"Bearer {answer.json()['token']}"}


def _name(operation: APIOperation) -> str:
    return str(operation.definition.raw["operationId"])


def _is_beyond_schema(response: Any) -> bool:
    if response.status_code not in (400, 422):
        return False
    told = response.json()
    if told.get("type") == "/problems/idempotency-key-reused" or "error" in told:
        error = told.get("error", {"code": "idempotency_key_reused"})
        return error["code"] == "idempotency_key_reused" or error["param"] in BEYOND_SCHEMA
    return {wrong["field"].split(".")[0] for wrong in told.get("errors", ())} <= BEYOND_SCHEMA


async def _bury(url: str) -> None:
    """Leaves a dead letter, which a replay sends to where it came from."""
    broker = await nats.connect(url)
    subject = f"{streams.FACT_GENERATION}.images_generated"
    headers = {"ce-type": "calotype.fact.images_generated", "Calotype-Dead-Subject": subject}
    await broker.jetstream().publish(f"{streams.DEAD}.fact", b"no fact", headers=headers)
    await broker.close()


def _refusals_of_all(asking: Asking, operations: dict[str, APIOperation], job: str) -> None:
    """What every call answers to a stranger, to a client token for another action, and to a wrong body."""
    known = {"{job_id}": job, "{model}": "paid", "{letter_id}": "1", "{name}": "nobody"}
    known |= {"{webhook_id}": WEBHOOK, "{delivery_id}": DELIVERY, "{bulk_action_id}": BULK_ACTION}
    for name, operation in operations.items():
        if not operation.path.startswith("/v1/"):
            continue
        path = operation.path
        for written, value in known.items():
            path = path.replace(written, value)
        asking.directed(operation, 401, path=path, headers={"Authorization": "Bearer a-key-of-nobody"})
        other = "read" if name == "cancelJob" else "cancel"
        asking.directed(operation, 403, path=path, headers=asking.token(job, other))
        if "413" in operation.definition.raw["responses"]:
            kind = "multipart/form-data; boundary=b" if name == "editImages" else "application/json"
            asking.directed(operation, 413, path=path, content=TOO_LARGE, headers={"Content-Type": kind})
            asking.directed(operation, 415, path=path, content=b"{}", headers={"Content-Type": "text/csv"})
            asking.directed(operation, 400, path=path, content=b"{", headers={"Content-Type": kind})


def _answers_about_jobs(asking: Asking, operations: dict[str, APIOperation]) -> None:
    create, get, retry = operations["createJob"], operations["getJob"], operations["retryJob"]
    key = {"Idempotency-Key": "of-one-job"}
    job = asking.directed(create, 202, json={"prompt": "good"}, headers=key).json()["id"]
    asking.directed(create, 200, json={"prompt": "good"}, headers=key | {"Prefer": "wait=20"})
    of_job = f"/v1/jobs/{job}"
    tag = asking.directed(get, 200, path=of_job, headers={"Prefer": "wait=20"}).headers["ETag"]
    asking.directed(get, 304, path=of_job, headers={"If-None-Match": tag})
    asking.directed(operations["listAttempts"], 200, path=f"{of_job}/attempts")
    told = asking.directed(operations["watchJob"], 200, path=f"{of_job}/events")
    asking.directed(operations["watchJob"], 422, path=f"{of_job}/events?after=first")
    last = [line.removeprefix("id: ") for line in told.text.splitlines() if line.startswith("id: ")][-1]
    asking.directed(operations["watchJob"], 204, path=f"{of_job}/events", headers={"Last-Event-ID": last})
    asking.directed(operations["createClientToken"], 201, json={"job_id": job})
    asking.directed(operations["cancelJob"], 409, path=f"{of_job}/cancel")
    asking.directed(retry, 409, path=f"{of_job}/retry", json={})
    asking.directed(operations["deleteJob"], 204, path=of_job)
    asking.directed(create, 410, json={"prompt": "good"}, headers=key)

    running = asking.job(prompt="slow")
    asking.directed(operations["deleteJob"], 409, path=f"/v1/jobs/{running}")
    asking.directed(operations["cancelJob"], 200, path=f"/v1/jobs/{running}/cancel")
    failed, again = asking.ended("failed", prompt="failed"), {"Idempotency-Key": "of-one-retry"}
    asking.directed(retry, 202, path=f"/v1/jobs/{failed}/retry", json={}, headers=again)


def _answers_about_webhooks(asking: Asking, operations: dict[str, APIOperation]) -> None:
    """Every good answer about a webhook whose receiver does not exist, and about a delivery to it."""
    while listed := asking.client.get("/v1/webhooks").json()["webhooks"]:
        for webhook in listed:
            asking.client.delete(f"/v1/webhooks/{webhook['id']}").raise_for_status()
    # The name of its host has no address.
    wanted, key = {"url": "https://shop.invalid/hook", "event_types": ["job.completed"]}, {"Idempotency-Key": "of-one"}
    made = asking.directed(operations["createWebhook"], 201, json=wanted, headers=key).json()
    of_webhook = f"/v1/webhooks/{made['id']}"
    asking.directed(operations["createWebhook"], 201, json=wanted, headers=key)
    asking.directed(operations["getWebhook"], 200, path=of_webhook)
    asking.directed(operations["testWebhook"], 200, path=f"{of_webhook}/test")
    asking.directed(operations["rotateWebhookSecret"], 200, path=f"{of_webhook}/rotate-secret")
    _rotate_signing_secret(asking, operations["rotateSigningSecret"])
    delivery = _delivered(asking, operations["listDeliveries"], f"{of_webhook}/deliveries")
    asking.directed(operations["listDeliveries"], 422, path=f"{of_webhook}/deliveries?page_size=0")
    asking.directed(operations["getDelivery"], 200, path=f"{of_webhook}/deliveries/{delivery}")
    own = f"/v1/admin/tenants/{OPERATORS}"
    listed_for_all = f"{own}/webhooks/{made['id']}/deliveries"
    another = _delivered(asking, operations["listTenantDeliveries"], listed_for_all, number=2)
    for_tenant = f"{own}/deliveries/{another}:redeliver"
    asking.directed(operations["listTenantDeliveries"], 422, path=f"{listed_for_all}?page_size=0")
    asking.directed(operations["listTenantDeliveries"], 404, path=f"{own}/webhooks/{WEBHOOK}/deliveries")
    asking.directed(operations["listTenantWebhooks"], 200, path=f"{own}/webhooks")
    asking.directed(operations["listTenantWebhooks"], 422, path=f"{own}/webhooks?page_size=0")
    asking.directed(operations["redeliverForTenant"], 404, path=f"{own}/deliveries/{DELIVERY}:redeliver")
    again, ranged = f"/v1/webhooks/deliveries/{delivery}/redeliver", {"json": {"after": "2026-01-31T00:00:00Z"}}
    asking.directed(operations["updateWebhook"], 200, path=of_webhook, json={"enabled": False})
    asking.directed(operations["redeliver"], 409, path=again)
    asking.directed(operations["redeliverForTenant"], 409, path=for_tenant)
    asking.directed(operations["redeliverForTenant"], 422, path=for_tenant, headers={"Idempotency-Key": "k" * 300})
    asking.directed(operations["listUnhealthyWebhooks"], 200)
    asking.directed(operations["redeliverRange"], 409, path=f"{of_webhook}/redeliver", **ranged)
    asking.directed(operations["updateWebhook"], 200, path=of_webhook, json={"enabled": True})
    asking.directed(operations["redeliver"], 202, path=again)
    asking.directed(operations["redeliverForTenant"], 202, path=for_tenant)
    asking.directed(operations["redeliverRange"], 202, path=f"{of_webhook}/redeliver", **ranged)
    asking.directed(operations["deleteWebhook"], 204, path=of_webhook)
    asking.directed(operations["createWebhook"], 404, json=wanted, headers=key)


def _answers_about_bulk_actions(asking: Asking, operations: dict[str, APIOperation]) -> None:
    wanted: dict[str, Any] = {"json": {"action": "cancel", "filter": {"tenant": "nobody"}}}
    asking.directed(operations["previewBulkAction"], 200, **wanted)
    made = asking.directed(operations["createBulkAction"], 202, **wanted).json()["id"]
    asking.directed(operations["listBulkActions"], 200)
    for name, path in (("getBulkAction", "{}"), ("cancelBulkAction", "{}:cancel")):
        for status, bulk_action in ((200, made), (404, BULK_ACTION), (422, "b" * 81)):
            asking.directed(operations[name], status, path=f"/v1/admin/bulk-actions/{path.format(bulk_action)}")


def _rotate_signing_secret(asking: Asking, operation: APIOperation) -> None:
    """A secret that expires at once, and what its key is answered once the secret is deleted."""
    first, second = (
        {"json": {"grace_seconds": 0}, "headers": {"Idempotency-Key": key}} for key in ("first-secret", "second-secret")
    )
    asking.directed(operation, 200, **first)
    asking.directed(operation, 200, **second)
    deadline = time.monotonic() + PATIENCE
    while asking.client.post(operation.path, **first).status_code != 404:
        assert time.monotonic() < deadline, "the secret is kept"
        time.sleep(0.1)
    asking.directed(operation, 404, **first)


def _delivered(asking: Asking, operation: APIOperation, path: str, *, number: int = 1) -> str:
    """The id of the delivery that a job's end makes; it is the delivery of that number."""
    asking.ended("completed")
    deadline = time.monotonic() + PATIENCE
    while len(found := asking.directed(operation, 200, path=path).json()["deliveries"]) < number:
        assert time.monotonic() < deadline, "the end of the job is not delivered"
        time.sleep(0.1)
    return str(found[0]["id"])


def _answers_with_pictures(asking: Asking, operations: dict[str, APIOperation], books: Books) -> None:
    generate, edit = operations["generateImages"], operations["editImages"]
    form: dict[str, Any] = {"data": {"prompt": "good", "model": "edits"}, "files": {"image": png()}}
    body: dict[str, Any] = {"json": {"prompt": "good"}}
    for operation, request in ((generate, body), (edit, form)):
        key = {"Idempotency-Key": _name(operation)}
        job = asking.directed(operation, 200, headers=key, **request).headers["x-calotype-job-id"]
        asking.client.delete(f"/v1/jobs/{job}").raise_for_status()
        asking.directed(operation, 410, headers=key, **request)
    for operation, model in ((generate, "paid"), (edit, "edits")):
        key = {"Idempotency-Key": f"canceled-{model}"}
        request = (
            {"json": {"prompt": "slow"}}
            if operation is generate
            else form | {"data": {"prompt": "hangs", "model": model}}
        )
        asking.cancel_held(operation, headers=key, **request)
        if operation is edit:
            books.release_hanging()  # What is bought and cannot be stopped is waited for.
        asking.directed(operation, 409, headers=key, **request)
    for status, prompt, (makes, edits) in (
        (502, "good", ("denied", "edits-denied")),
        # Whether it was bought is not known, and it is not tried again unasked.
        (504, "drops", ("paid", "edits")),
    ):
        asking.directed(generate, status, json={"prompt": prompt, "model": makes})
        asking.directed(edit, status, data={"prompt": prompt, "model": edits}, files={"image": png()})
    asking.directed(generate, 404, json={"prompt": "good", "model": "nobody"})
    asking.directed(edit, 404, data={"prompt": "good", "model": "nobody"}, files={"image": png()})
    asking.directed(operations["getModel"], 200, path="/v1/models/paid/test/model")


def _sweep(asking: Asking, operations: dict[str, APIOperation], status: int, jobs: dict[str, str]) -> None:
    """Asks every call that documents the status, as the tenant that may not ask, all at once."""

    def ask(name: str) -> None:
        _, path, request = CALLS[name].about(**jobs)
        headers = {"Authorization": f"Bearer {SPENT}"}
        asking.directed(operations[name], status, path=path, headers=headers, **request)

    named = [name for name, one in operations.items() if str(status) in one.definition.raw["responses"]]
    with ThreadPoolExecutor(len(named)) as threads:
        for done in [threads.submit(ask, name) for name in named]:
            done.result()


def _until(asking: Asking, status: int, path: str = "/v1/jobs") -> None:
    deadline = time.monotonic() + PATIENCE
    headers = {"Authorization": f"Bearer {SPENT}"}
    while (answer := asking.client.get(path, headers=headers)).status_code != status:
        assert time.monotonic() < deadline, answer.text
        time.sleep(0.1)


def _until_budgets_are(asking: Asking, tenants: list[str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while [one["tenant"] for one in asking.client.get("/v1/admin/spend").json()["tenants"]] != tenants:
        assert time.monotonic() < deadline, tenants
        time.sleep(0.1)


def _answers_of_outages(asking: Asking, operations: dict[str, APIOperation], folder: Path) -> None:
    """A budget and a quota that are spent, a job-service that is away, and one that knows the gateway no more."""
    set_tenant(folder, "spent", role="operator", key=SPENT)
    _until(asking, 200)
    jobs = {"job": asking.ended("failed", key=SPENT, prompt="failed"), "other": asking.ended("completed", key=SPENT)}
    set_tenant(folder, "spent", budget_micros_per_day=0)
    _until_budgets_are(asking, ["spent"])
    _sweep(asking, operations, 402, jobs)
    set_tenant(folder, "spent", budget_micros_per_day=None, requests_per_minute=0)
    _until(asking, 429)
    _until_budgets_are(asking, [])
    _sweep(asking, operations, 429, jobs)
    with frozen(folder, "job"):
        _until(asking, 503, "/readyz")
        _sweep(asking, operations, 503, jobs)
    _until(asking, 429)
    identities = folder / "identities.yaml"
    known = yaml.safe_load(identities.read_text(encoding="utf-8"))
    known["identities"] = [one for one in known["identities"] if one["name"] != "gateway"]
    write_private(identities, yaml.safe_dump(known))
    _until(asking, 500)
    _sweep(asking, operations, 500, jobs)


@pytest.mark.slow
@pytest.mark.timeout(3_600)
def test_every_operation_answers_as_its_document_says(quick: StackState, books: Books, server_folder: Path) -> None:
    asking = Asking(quick)
    operations = {_name(one): one for one in (found.ok() for found in asking.schema.get_all_operations())}
    for operation in operations.values():
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            asking.generated(operation, mode)
            if "pause" in operation.path:
                end_pauses(quick.http, quick.operator_key)
            if "{job_id}" in operation.path:
                for status, prompt in (("completed", "good"), ("failed", "failed")):
                    job = asking.ended(status, prompt=prompt)
                    asking.generated(operation, mode, path_parameters={"job_id": job})
    assert not asking.found, "\n\n".join(asking.found)

    asyncio.run(_bury(quick.nats_url))
    letter = asking.client.get("/v1/admin/dead").json()["dead_letters"][0]["id"]
    asking.directed(operations["replayDeadLetter"], 204, path=f"/v1/admin/dead/{letter}/replay")
    asking.directed(operations["replayDeadLetter"], 404, path="/v1/admin/dead/999999999/replay")
    _refusals_of_all(asking, operations, asking.ended("completed"))
    asking.directed(operations["pauseProvider"], 200, path="/v1/admin/providers/paid:pause", json={"note": "n"})
    end_pauses(quick.http, quick.operator_key)
    _answers_about_jobs(asking, operations)
    _answers_about_webhooks(asking, operations)
    _answers_about_bulk_actions(asking, operations)
    _answers_with_pictures(asking, operations, books)
    _answers_of_outages(asking, operations, server_folder / "quick")
    assert asking.seen.total() >= AT_LEAST, asking.seen.total()
    documented = {(name, status) for name, one in operations.items() for status in one.definition.raw["responses"]}
    asking.client.close()
    assert not sorted(documented - set(asking.seen))
