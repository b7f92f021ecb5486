"""Nobody acts, or is refused, without a line that says who it was; what callers write is in none."""

import logging
import re
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest
from calotype import permissions
from calotype.job.v1 import job_pb2, job_service_pb2, job_service_pb2_grpc

from common import audit
from common.errors import ServiceError
from common.grpc_client import ClientSettings, call, channel
from common.identities import Identities
from gateway.auth.authenticator import Authenticator
from gateway.auth.keyring import Keyring, Principal
from gateway.auth.keys_file import KeysFile
from tests.support.gateway.gateway_app import assembled, in_process
from tests.support.job_service.fake_job_service import FakeJobService, serving
from tests.support.job_service.real_job_service import job_service
from tests.support.job_service.use_cases import use_cases_at
from tests.support.patience import PATIENCE
from tests.support.security.identities import entry, security_for, write

ROOT = Path(__file__).parents[2]
SECRETS = ("acme-key", "rival-key", "ops-key", "a portrait of Ada Lovelace", "ada@example.org")
FIELDS = {"actor", "tenant", "role", "peer", "action", "object", "outcome"}


def digest(key: str) -> str:
    return sha256(key.encode()).hexdigest()


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


ACME, RIVAL, OPS = (f"key:{digest(key)[:8]}" for key in ("acme-key", "rival-key", "ops-key"))
KEYS = Keyring(
    [
        Principal(tenant="acme", key_sha256=digest("acme-key")),
        Principal(tenant="rival", key_sha256=digest("rival-key")),
        Principal(tenant="ops", role="operator", key_sha256=digest("ops-key")),
    ]
)
WANTED = {"prompt": "a portrait of Ada Lovelace", "end_user": "ada@example.org"}


class Book:
    """The lines of the log."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog

    def events(self, *names: str) -> list[dict[str, Any]]:
        """The fields of each event of the audit; the stand-in for job-service, which anybody may call, is left out."""
        wanted = names or tuple(audit.EVENTS)
        found = [vars(one) for one in self._caplog.records if one.message in wanted]
        return [one for one in found if one["actor"] != "everybody"]

    def told(self, *names: str) -> list[tuple[Any, ...]]:
        """Each event in short: who, of which tenant, what, on what, how it ended."""
        keys = ("actor", "tenant", "action", "object", "outcome")
        return [tuple(one[key] for key in keys) for one in self.events(*names)]

    @property
    def text(self) -> str:
        """Everything of the audit and all access lines."""
        return str(self.events(*audit.EVENTS, "request.answered"))


@pytest.fixture
def book(caplog: pytest.LogCaptureFixture) -> Book:
    """What is written while the process logs warnings alone, but for access lines."""
    caplog.set_level(logging.WARNING)
    caplog.set_level(logging.INFO, logger="gateway.http.middleware")
    return Book(caplog)


@pytest.fixture
async def service() -> FakeJobService:
    """What answers the gateway."""
    return FakeJobService()


@pytest.fixture
async def http(service: FakeJobService) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway with keys, asked from elsewhere."""
    authenticator = Authenticator(KEYS)
    async with (
        serving(service) as address,
        assembled(address, authenticator=authenticator) as (app, _),
        in_process(app, client="198.51.100.7") as opened,
    ):
        yield opened


async def test_an_access_line_says_whose_key_was_used_from_where(http: httpx.AsyncClient, book: Book) -> None:
    await http.get("/v1/jobs", headers=bearer("acme-key"))
    await http.get("/v1/jobs", headers=bearer("no-key"))

    lines = [(one["actor"], one["tenant"], one["role"], one["peer"]) for one in book.events("request.answered")]
    assert lines == [(ACME, "acme", "tenant", "198.51.100.7"), ("nobody", None, None, "198.51.100.7")]


async def test_every_change_says_who_made_it_and_how_it_ended(
    http: httpx.AsyncClient, service: FakeJobService, book: Book
) -> None:
    job, done = service.add(tenant="acme"), service.add(tenant="acme", status=job_pb2.STATUS_COMPLETED)
    made = (await http.post("/v1/jobs", json=WANTED, headers=bearer("acme-key"))).json()["id"]
    await http.post(f"/v1/jobs/{job.id}/cancel", headers=bearer("acme-key"))
    await http.post(f"/v1/jobs/{job.id}/retry", headers=bearer("acme-key"))
    await http.post("/v1/client-tokens", json={"job_id": done.id}, headers=bearer("acme-key"))
    await http.delete(f"/v1/jobs/{done.id}", headers=bearer("acme-key"))
    await http.get(f"/v1/jobs/{job.id}", headers=bearer("acme-key"))

    assert book.told() == [
        (ACME, "acme", "createJob", made, "done"),
        (ACME, "acme", "cancelJob", job.id, "done"),
        (ACME, "acme", "retryJob", job.id, "WRONG_STATE"),
        (ACME, "acme", "createClientToken", done.id, "done"),
        (ACME, "acme", "deleteJob", done.id, "done"),
    ]
    assert all(one.keys() >= FIELDS | {"request_id"} for one in book.events())
    assert not [secret for secret in SECRETS if secret in book.text]


async def test_a_refusal_says_who_was_refused(http: httpx.AsyncClient, service: FakeJobService, book: Book) -> None:
    job = service.add(tenant="acme")
    await http.post(f"/v1/jobs/{job.id}/cancel")
    await http.post(f"/v1/jobs/{job.id}/cancel", headers=bearer("no-key"))
    await http.get("/v1/admin/queue", headers=bearer("acme-key"))
    await http.post("/v1/admin/dead/%0aforged/replay", headers=bearer("acme-key"))

    assert book.told() == [
        ("nobody", None, "cancelJob", job.id, "UNAUTHENTICATED"),
        ("nobody", None, "cancelJob", job.id, "UNAUTHENTICATED"),
        (ACME, "acme", "getQueue", None, "PERMISSION_DENIED"),
        (ACME, "acme", "replayDeadLetter", None, "PERMISSION_DENIED"),
    ]


async def test_what_a_client_token_does_names_the_token_and_its_key(
    http: httpx.AsyncClient, service: FakeJobService, book: Book
) -> None:
    job, other = service.add(tenant="acme"), service.add(tenant="acme")
    made = await http.post(
        "/v1/client-tokens", json={"job_id": job.id, "actions": ["cancel"]}, headers=bearer("acme-key")
    )
    token = made.json()["token"]
    await http.post(f"/v1/jobs/{job.id}/cancel", headers=bearer(token))
    await http.post(f"/v1/jobs/{other.id}/cancel", headers=bearer(token))
    await http.post(f"/v1/jobs/{job.id}/retry", headers=bearer(token))

    holder = f"token:{digest(token)[:8]}/{ACME}"
    assert book.told(audit.ACTION)[1:] == [(holder, "acme", "cancelJob", job.id, "done")]
    assert book.told(audit.REFUSED) == [
        (holder, "acme", "cancelJob", other.id, "JOB_NOT_FOUND"),
        (holder, "acme", "retryJob", job.id, "PERMISSION_DENIED"),
    ]
    assert token not in book.text


async def ask(address: str, method: str, request: Any, token: str) -> str:
    """What a caller with that token gets: `OK` or the reason of the refusal."""
    async with channel(address, settings=ClientSettings(grpc_token=token)) as opened:
        try:
            await call(getattr(job_service_pb2_grpc.JobServiceStub(opened), method), request, timeout=PATIENCE)
        except ServiceError as error:
            return error.reason
    return "OK"


@pytest.fixture
async def grpc_address(database_url: str, nats_url: str, tmp_path: Path) -> AsyncIterator[str]:
    """A real job-service that two tenants and a worker may call."""
    file = write(
        tmp_path / "identities.yaml",
        entry("shop", "client", tenants=["acme"]),
        entry("rival", "client", tenants=["rival"]),
        entry("painter", "generator"),
    )
    with use_cases_at(database_url):
        async with job_service(database_url, nats_url, security_for(file)) as address:
            yield address


async def test_over_grpc_too_each_change_and_each_refusal_has_its_line(grpc_address: str, book: Book) -> None:
    wanted = job_service_pb2.CreateJobRequest(
        tenant="acme", idempotency_key="k", request=job_pb2.JobRequest(prompt=SECRETS[3], end_user=SECRETS[4])
    )
    made = [await ask(grpc_address, "CreateJob", wanted, "shop") for _ in range(2)]
    [[*_, job_id, _], _] = book.told()
    hidden = job_service_pb2.CancelJobRequest(tenant="rival", job_id=job_id, idempotency_key="k")
    refused = [
        await ask(grpc_address, "CancelJob", hidden, "rival"),
        await ask(grpc_address, "CancelJob", hidden, "shop"),
        await ask(grpc_address, "CreateJob", wanted, "painter"),
        await ask(grpc_address, "CreateJob", wanted, "unknown"),
        await ask(grpc_address, "GetJob", job_service_pb2.GetJobRequest(tenant="rival", job_id="job_none"), "rival"),
    ]
    create, cancel = (f"calotype.job.v1.JobService/{name}" for name in ("CreateJob", "CancelJob"))

    assert (made, refused[0]) == (["OK", "OK"], "JOB_NOT_FOUND")
    assert book.told(audit.ACTION) == [
        ("identity:shop", "acme", create, job_id, "done"),
        ("identity:shop", "acme", create, job_id, "replayed"),
    ]
    # That there is such a job is told to the audit, and to it alone. The last question hid nothing.
    assert book.told(audit.REFUSED) == [
        ("identity:rival", "rival", cancel, job_id, "JOB_NOT_FOUND"),
        ("identity:shop", "rival", cancel, job_id, "PERMISSION_DENIED"),
        ("identity:painter", None, create, None, "PERMISSION_DENIED"),
        ("nobody", None, create, None, "UNAUTHENTICATED"),
    ]
    assert all(one["peer"].startswith("ipv4:127.0.0.1:") for one in book.events())
    assert not [secret for secret in SECRETS if secret in book.text]


async def test_each_item_of_a_batch_has_its_line(grpc_address: str, book: Book) -> None:
    item = job_service_pb2.CreateJobsItem(
        idempotency_key="k", request=job_pb2.JobRequest(prompt=SECRETS[3], end_user=SECRETS[4])
    )
    batch = job_service_pb2.CreateJobsRequest(
        tenant="acme", items=[item, item, job_service_pb2.CreateJobsItem(idempotency_key=SECRETS[3])]
    )
    asked = [await ask(grpc_address, "CreateJobs", batch, caller) for caller in ("shop", "rival")]
    [(*_, job_id, _), *_] = book.told()
    method = "calotype.job.v1.JobService/CreateJobs"

    assert asked == ["OK", "PERMISSION_DENIED"]
    assert book.told(audit.ACTION) == [
        ("identity:shop", "acme", method, job_id, "done"),
        ("identity:shop", "acme", method, job_id, "replayed"),
        ("identity:shop", "acme", method, None, "INVALID_INPUT"),
    ]
    assert book.told(audit.REFUSED) == [("identity:rival", "acme", method, None, "PERMISSION_DENIED")]
    assert not [secret for secret in SECRETS if secret in book.text]


def test_no_method_that_changes_something_for_people_is_left_out() -> None:
    told = {f"/{service}/{name}" for service, names in permissions.REQUIRED_ROLES.items() for name in names}

    assert {method.rpartition("/")[2] for method in told if permissions.changes(method)} >= {
        "CreateJob",
        "CreateJobs",
        "CancelJob",
        "RetryJob",
        "DeleteJob",
        "Drain",
        "SetLogLevel",
        "ReplayDeadLetter",
    }
    # It creates the secret that it returns.
    reads = {method.rpartition("/")[2] for method in told if permissions.changes(method) and "/Get" in method}
    assert reads == {"GetSigningSecret"}


async def test_a_change_of_keys_or_identities_has_its_line(tmp_path: Path, book: Book) -> None:
    keys, ring = KeysFile(tmp_path / "keys.yaml"), []
    written = [f'tenants: [{{name: a, key_sha256: ["{digest(key)}"]}}]' for key in ("one", "two")]
    (tmp_path / "keys.yaml").write_text(written[0], encoding="utf-8")
    keys.load()
    file = write(tmp_path / "identities.yaml", entry("shop", "client"))
    identities = Identities(file, roles=permissions.ACCEPTED)
    for content in (written[1], "tenants: 1"):
        (tmp_path / "keys.yaml").write_text(content, encoding="utf-8")
        await keys.reload(ring.append)
    write(file, entry("store", "client"))
    await identities.run_once()

    assert book.told() == [
        ("process", None, "readKeys", None, "done"),
        ("process", None, "readKeys", None, "refused"),
        ("process", None, "readIdentities", None, "done"),
    ]


def test_the_page_lists_every_event_and_no_other() -> None:
    text = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\| `(audit\.[a-z.]+)` \| (.+) \|$", text, re.MULTILINE))

    assert listed == audit.EVENTS


def test_nobody_writes_an_event_past_the_one_module() -> None:
    sources = [path for part in ("common", "gateway", "services", "cli") for path in (ROOT / part).rglob("*.py")]

    assert [str(path.relative_to(ROOT)) for path in sources if '"audit.' in path.read_text(encoding="utf-8")] == [
        "common/audit.py"
    ]
