import base64
import hashlib
import hmac
import json
import logging
import string
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import jwt
import pytest
from calotype.job.v1 import job_pb2
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from gateway.auth import client_tokens
from gateway.auth.authenticator import Authenticator
from gateway.auth.client_tokens import Grant
from gateway.auth.keyring import Keyring, Principal
from gateway.schemas.client_tokens import TokenAction
from tests.support.gateway.event_source import events
from tests.support.gateway.gateway_app import Clock, assembled, free_use, in_process
from tests.support.job_service.fake_job_service import FakeJobService, failure, serving


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


ACME, OTHER, OPS = (
    Principal(tenant="acme", key_sha256=_digest("acme-key")),
    Principal(tenant="other", key_sha256=_digest("other-key")),
    Principal(tenant="acme", role="operator", key_sha256=_digest("ops-key")),
)
KEY = {"Authorization": "Bearer acme-key"}


@pytest.fixture
def authenticator(clock: Clock) -> Authenticator:
    """Everybody needs a key."""
    return Authenticator(Keyring([ACME, OTHER, OPS]), clock=clock)


@pytest.fixture
async def http(service: FakeJobService, clock: Clock, authenticator: Authenticator) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a gateway with keys."""
    async with (
        serving(service) as address,
        assembled(address, clock=clock, authenticator=authenticator) as (app, _),
        in_process(app) as opened,
    ):
        yield opened


async def _make(http: httpx.AsyncClient, job_id: str, *actions: str, **more: Any) -> dict[str, Any]:
    body = {"job_id": job_id, **({"actions": list(actions)} if actions else {}), **more}
    answer = await http.post("/v1/client-tokens", json=body, headers=KEY)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def _bearer(http: httpx.AsyncClient, job_id: str, *actions: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {(await _make(http, job_id, *actions))['token']}"}


def _grant(job_id: str, clock: Clock, *actions: TokenAction) -> Grant:
    return Grant(job_id=job_id, actions=frozenset(actions or ("read",)), expires_at=clock() + timedelta(hours=1))


def _is_unknown(answer: httpx.Response) -> bool:
    return (answer.status_code, answer.json()["reason"]) == (401, "UNAUTHENTICATED") and answer.headers[
        "www-authenticate"
    ].startswith("Bearer")


async def test_a_token_says_what_it_is_for(http: httpx.AsyncClient, service: FakeJobService) -> None:
    job = service.add(tenant="acme")
    made = await _make(http, job.id)
    assert set(made) == {"token", "job_id", "actions", "expires_at"}
    assert (made["job_id"], made["actions"], made["expires_at"]) == (job.id, ["read"], "2026-01-31T13:00:00.000000Z")
    chosen = await _make(http, job.id, "retry", "read", "retry", ttl_seconds=60)
    assert (chosen["actions"], chosen["expires_at"]) == (["read", "retry"], "2026-01-31T12:01:00.000000Z")


async def test_under_one_idempotency_key_tokens_have_one_meaning(
    http: httpx.AsyncClient, service: FakeJobService
) -> None:
    job, headers = service.add(tenant="acme"), KEY | {"Idempotency-Key": "k-1"}
    answers = [await http.post("/v1/client-tokens", json={"job_id": job.id}, headers=headers) for _ in range(2)]
    assert [one.status_code for one in answers] == [201, 201]
    assert answers[0].json() == answers[1].json()
    bad = await http.post("/v1/client-tokens", json={"job_id": job.id}, headers=KEY | {"Idempotency-Key": ""})
    assert (bad.status_code, bad.json()["errors"][0]["field"]) == (422, "Idempotency-Key")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "job_id"),
        ({"job_id": "j", "actions": []}, "actions"),
        ({"job_id": "j", "actions": ["delete"]}, "actions.0"),
        ({"job_id": "j", "ttl_seconds": 59}, "ttl_seconds"),
        ({"job_id": "j", "ttl_seconds": 86_401}, "ttl_seconds"),
        ({"job_id": "j", "ttl_seconds": "60"}, "ttl_seconds"),
        ({"job_id": "j", "tenant": "other"}, "tenant"),
    ],
)
async def test_a_token_that_cannot_be_is_refused_with_the_field(
    http: httpx.AsyncClient, body: dict[str, Any], field: str
) -> None:
    answer = await http.post("/v1/client-tokens", json=body, headers=KEY)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)


async def test_there_is_no_token_for_anothers_job(http: httpx.AsyncClient, service: FakeJobService) -> None:
    foreign = service.add(tenant="other")
    for job_id in (foreign.id, "job_unknown", "../jobs", ""):
        answer = await http.post("/v1/client-tokens", json={"job_id": job_id}, headers=KEY)
        assert (answer.status_code, answer.json()["reason"]) == (404, "JOB_NOT_FOUND")


async def test_who_may_read_looks_and_follows(http: httpx.AsyncClient, service: FakeJobService) -> None:
    job = service.add(tenant="acme", status=job_pb2.STATUS_COMPLETED)
    made = await _make(http, job.id)
    bearer = {"Authorization": f"Bearer {made['token']}"}

    looked = await http.get(f"/v1/jobs/{job.id}", headers=bearer)
    assert (looked.status_code, looked.json()["id"]) == (200, job.id)
    for headers, query in ((bearer, {}), ({}, {"access_token": made["token"]})):
        followed = await http.get(f"/v1/jobs/{job.id}/events", headers=headers, params=query)
        [event] = [one async for one in events(followed) if one.name == "job"]
        assert event.data["id"] == job.id
    refused = await http.post(f"/v1/jobs/{job.id}/cancel", headers=bearer)
    assert (refused.status_code, refused.json()["reason"]) == (403, "PERMISSION_DENIED")


async def test_who_may_cancel_and_retry_does(http: httpx.AsyncClient, service: FakeJobService) -> None:
    job = service.add(tenant="acme")
    bearer = await _bearer(http, job.id, "cancel")
    assert (await http.post(f"/v1/jobs/{job.id}/cancel", headers=bearer)).json()["status"] == "canceled"
    assert (await http.get(f"/v1/jobs/{job.id}", headers=bearer)).status_code == 403
    assert (await http.post(f"/v1/jobs/{job.id}/retry", headers=bearer)).status_code == 403

    failed = service.add(tenant="acme", status=job_pb2.STATUS_FAILED, failure=failure())
    bearer = await _bearer(http, failed.id, "retry")
    assert (await http.post(f"/v1/jobs/{failed.id}/retry", headers=bearer)).status_code == 202


async def test_a_token_does_nothing_else(http: httpx.AsyncClient, service: FakeJobService) -> None:
    job = service.add(tenant="acme", status=job_pb2.STATUS_COMPLETED)
    bearer = await _bearer(http, job.id, "read", "cancel", "retry")
    for method, path in (
        ("GET", "/v1/jobs"),
        ("POST", "/v1/jobs"),
        ("DELETE", f"/v1/jobs/{job.id}"),
        ("GET", f"/v1/jobs/{job.id}/attempts"),
        ("POST", "/v1/client-tokens"),
        ("GET", "/v1/providers"),
        ("GET", "/v1/ui-states"),
        ("GET", "/v1/admin/dead"),
        ("POST", "/v1/admin/dead/1/replay"),
    ):
        answer = await http.request(method, path, headers=bearer)
        assert (answer.status_code, answer.json()["reason"]) == (403, "PERMISSION_DENIED"), (method, path)


def test_a_token_of_an_operators_key_is_no_operator(clock: Clock) -> None:
    token = client_tokens.mint(_grant("job_1", clock, "read", "cancel", "retry"), OPS.key_sha256 or "")
    holder = Keyring([ACME, OPS]).by_token(token)
    assert holder is not None
    assert (holder.tenant, holder.role) == ("acme", "tenant")


async def test_another_job_is_not_there(http: httpx.AsyncClient, service: FakeJobService) -> None:
    job, second, foreign = service.add(tenant="acme"), service.add(tenant="acme"), service.add(tenant="other")
    bearer = await _bearer(http, job.id)
    for other in (second.id, foreign.id, "job_unknown"):
        for method, path in (("GET", ""), ("GET", "/events"), ("POST", "/cancel"), ("POST", "/retry")):
            answer = await http.request(method, f"/v1/jobs/{other}{path}", headers=bearer)
            assert (answer.status_code, answer.json()["reason"]) == (404, "JOB_NOT_FOUND"), (other, path)


async def test_a_token_that_another_tenant_signed_for_the_same_id_finds_nothing(
    http: httpx.AsyncClient, service: FakeJobService, clock: Clock
) -> None:
    job = service.add(tenant="acme")
    token = client_tokens.mint(_grant(job.id, clock), OTHER.key_sha256 or "")
    answer = await http.get(f"/v1/jobs/{job.id}", headers={"Authorization": f"Bearer {token}"})
    assert (answer.status_code, answer.json()["reason"]) == (404, "JOB_NOT_FOUND")


async def test_a_token_that_differs_in_any_letter_is_unknown(http: httpx.AsyncClient, clock: Clock) -> None:
    token = client_tokens.mint(_grant("job_1", clock), ACME.key_sha256 or "")
    keyring = Keyring([ACME, OTHER, OPS])
    assert keyring.by_token(token) is not None
    alphabet = string.ascii_letters + string.digits + "-_"
    for place, letter in enumerate(token):
        # The last letter carries two bits that no byte takes: of it every other one is tried.
        for other in {*"ABQ_.=", "", *(alphabet if place == len(token) - 1 else "")} - {letter}:
            assert keyring.by_token(token[:place] + other + token[place + 1 :]) is None, (place, other)
    for tampered in (f"{token}=", f"{token}.", f".{token}", token[:-1], f"{token}A", token.swapcase()):
        assert keyring.by_token(tampered) is None
        for headers, query in (({"Authorization": f"Bearer {tampered}"}, {}), ({}, {"access_token": tampered})):
            assert _is_unknown(await http.get("/v1/jobs/job_1/events", headers=headers, params=query))


def _part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def _signed(header: Any, claims: Any, *, key: str = ACME.key_sha256 or "") -> str:
    """A token signed with the right derived key, whatever stands in it."""
    signing_key = hmac.new(bytes.fromhex(key), b"calotype client token v1", hashlib.sha256).digest()
    unsigned = f"{_part(header)}.{_part(claims)}"
    mac = hmac.new(signing_key, unsigned.encode(), hashlib.sha256).digest()
    return f"{unsigned}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


HEADER = {"alg": "HS256", "typ": "JWT", "kid": (ACME.key_sha256 or "")[:8]}
CLAIMS = {"sub": "job_1", "act": ["read"], "exp": 2_000_000_000}


def test_what_is_signed_by_hand_as_a_token_is_one() -> None:
    assert Keyring([ACME]).by_token(_signed(HEADER, CLAIMS)) is not None


@pytest.mark.parametrize(
    "header",
    [
        HEADER | {"alg": "none"},
        HEADER | {"alg": "HS512"},
        HEADER | {"alg": "RS256"},
        HEADER | {"kid": "00000000"},
        HEADER | {"kid": (OTHER.key_sha256 or "")[:8]},
        HEADER | {"kid": 7},
        HEADER | {"crit": ["b64"], "b64": False},
        HEADER | {"jwk": {"kty": "oct", "k": ""}},
        {name: value for name, value in HEADER.items() if name != "kid"},
        [],
    ],
    ids=str,
)
def test_another_header_is_unknown_even_when_it_is_signed(header: Any) -> None:
    assert Keyring([ACME, OTHER]).by_token(_signed(header, CLAIMS)) is None


@pytest.mark.parametrize(
    "claims",
    [
        *({name: value for name, value in CLAIMS.items() if name != left_out} for left_out in CLAIMS),
        CLAIMS | {"role": "operator"},
        CLAIMS | {"sub": 1},
        CLAIMS | {"sub": ""},
        CLAIMS | {"act": "read"},
        CLAIMS | {"act": []},
        CLAIMS | {"act": ["delete"]},
        CLAIMS | {"exp": "2000000000"},
        CLAIMS | {"exp": 2e9},
        CLAIMS | {"exp": True},
        CLAIMS | {"exp": 10**30},
        CLAIMS | {"exp": -1},
        [],
    ],
    ids=str,
)
def test_other_claims_are_unknown_even_when_they_are_signed(claims: Any) -> None:
    assert Keyring([ACME]).by_token(_signed(HEADER, claims)) is None


def test_a_token_without_a_signature_is_unknown() -> None:
    assert Keyring([ACME]).by_token(jwt.encode(CLAIMS, None, algorithm="none", headers={"kid": HEADER["kid"]})) is None
    assert Keyring([ACME]).by_token(_signed(HEADER, CLAIMS).rpartition(".")[0] + ".") is None


@pytest.mark.parametrize(
    "written",
    [
        "",
        ".",
        "..",
        "....",
        "a.b.c",
        "ü.e30.YQ",
        "\ud800.e30.YQ",
        base64.urlsafe_b64encode(b"[" * 1400).decode() + ".e30.e30",
        "A" * 100_000,
        _signed(HEADER, CLAIMS | {"sub": "j" * 2048}),
    ],
)
def test_what_is_no_token_is_unknown(written: str) -> None:
    assert Keyring([ACME]).by_token(written) is None


async def test_a_key_is_not_taken_from_an_address(http: httpx.AsyncClient, service: FakeJobService) -> None:
    job = service.add(tenant="acme")
    assert _is_unknown(await http.get(f"/v1/jobs/{job.id}/events", params={"access_token": "acme-key"}))


async def test_a_token_in_the_address_counts_at_events_alone(http: httpx.AsyncClient, service: FakeJobService) -> None:
    job = service.add(tenant="acme")
    query = {"access_token": (await _make(http, job.id, "read", "cancel"))["token"]}
    assert _is_unknown(await http.get(f"/v1/jobs/{job.id}", params=query))
    assert _is_unknown(await http.post(f"/v1/jobs/{job.id}/cancel", params=query))


async def test_two_tokens_at_once_are_malformed(http: httpx.AsyncClient, service: FakeJobService) -> None:
    job = service.add(tenant="acme")
    token = (await _make(http, job.id))["token"]
    address = f"/v1/jobs/{job.id}/events?access_token={token}"
    assert (await http.get(address, headers=KEY)).status_code == 400
    assert (await http.get(f"{address}&access_token={token}")).status_code == 400


async def test_a_token_ends_at_its_second_and_not_later(
    http: httpx.AsyncClient, service: FakeJobService, clock: Clock
) -> None:
    job = service.add(tenant="acme")
    bearer = await _bearer(http, job.id)
    clock.now = datetime(2026, 1, 31, 12, 59, 59, 999_999, tzinfo=UTC)
    assert (await http.get(f"/v1/jobs/{job.id}", headers=bearer)).status_code == 200
    clock.now = datetime(2026, 1, 31, 13, 0, tzinfo=UTC)
    answer = await http.get(f"/v1/jobs/{job.id}", headers=bearer)
    assert _is_unknown(answer)
    assert "expired" in answer.json()["detail"]


async def test_tokens_end_with_the_key_that_signed_them(
    http: httpx.AsyncClient, service: FakeJobService, authenticator: Authenticator
) -> None:
    job = service.add(tenant="acme")
    bearer = await _bearer(http, job.id)
    fresh = Principal(tenant="acme", key_sha256=_digest("acme-key-2"))
    authenticator.use(Keyring([fresh, ACME]))
    assert (await http.get(f"/v1/jobs/{job.id}", headers=bearer)).status_code == 200
    authenticator.use(Keyring([fresh]))
    assert _is_unknown(await http.get(f"/v1/jobs/{job.id}", headers=bearer))


async def test_a_holder_sees_only_the_actions_that_it_has(http: httpx.AsyncClient, service: FakeJobService) -> None:
    queued = service.add(tenant="acme")
    failed = service.add(tenant="acme", status=job_pb2.STATUS_FAILED, failure=failure(), retry_needs_consent=True)
    seen: list[list[str]] = []
    for job, actions in (
        (queued, ["read"]),
        (queued, ["read", "cancel"]),
        (failed, ["read"]),
        (failed, ["read", "retry"]),
    ):
        looked = await http.get(f"/v1/jobs/{job.id}", headers=await _bearer(http, job.id, *actions))
        seen.append(looked.json()["display"]["actions"])
    assert seen == [[], ["cancel"], [], ["retry_may_charge_again"]]


async def test_a_holder_sees_the_job_and_nothing_that_is_its_tenants_alone(
    http: httpx.AsyncClient, service: FakeJobService
) -> None:
    private = {"end_user": "PRIVATE", "metadata": {"order": "PRIVATE"}}
    job = service.add(
        tenant="acme",
        request=job_pb2.JobRequest(
            prompt="a harbour",
            callback_url="https://acme.example/PRIVATE",
            input_images=[job_pb2.InputImage(url="https://acme.example/PRIVATE", sha256="ab")],
            mask=job_pb2.InputImage(url="https://acme.example/PRIVATE"),
            **private,
        ),
        status=job_pb2.STATUS_COMPLETED,
        cost=job_pb2.Cost(amount_micros=40_000),
        **private,
    )
    owner = (await http.get(f"/v1/jobs/{job.id}", headers=KEY)).json()
    bearer = await _bearer(http, job.id, "read", "cancel")
    looked = await http.get(f"/v1/jobs/{job.id}", headers=bearer)
    followed = await http.get(f"/v1/jobs/{job.id}/events", headers=bearer)
    refused = await http.post(f"/v1/jobs/{job.id}/cancel", headers=bearer)

    assert (owner["end_user"], owner["cost"]["amount_micros"]) == ("PRIVATE", 40_000)
    assert refused.status_code == 409
    holder = looked.json()
    for answer, shown in ((looked, holder), (followed, None), (refused, refused.json()["job"])):
        assert "PRIVATE" not in answer.text
        assert "40000" not in answer.text
        assert shown is None or (set(shown), set(shown["request"])) == (set(owner), set(owner["request"]))
    assert (holder["request"]["prompt"], holder["request"]["input_images"][0]["sha256"]) == ("a harbour", "ab")


@pytest.mark.parametrize(
    ("keyring", "status"),
    [
        (Keyring([Principal(tenant="default", key_sha256=_digest("embedded"))]), 201),
        (Keyring([ACME]), 403),
        (Keyring([Principal(tenant="default")]), 403),
        (None, 403),
    ],
)
async def test_on_this_machine_a_token_needs_a_key_of_the_tenant_in_the_file(
    service: FakeJobService, clock: Clock, keyring: Keyring | None, status: int
) -> None:
    job = service.add(tenant="default")
    authenticator = Authenticator(keyring, free_use=free_use(), clock=clock)
    async with (
        serving(service) as address,
        assembled(address, clock=clock, authenticator=authenticator) as (app, _),
        in_process(app) as local,
        in_process(app, client="8.8.8.8") as browser,
    ):
        answer = await local.post("/v1/client-tokens", json={"job_id": job.id})
        assert answer.status_code == status
        if status == 403:
            assert "CALOTYPE_API_KEYS_FILE" in answer.json()["detail"]
            return
        bearer = {"Authorization": f"Bearer {answer.json()['token']}"}
        assert (await browser.get(f"/v1/jobs/{job.id}", headers=bearer)).status_code == 200


async def test_on_this_machine_a_bad_token_in_the_address_is_refused_all_the_same(client: httpx.AsyncClient) -> None:
    assert _is_unknown(await client.get("/v1/jobs/job_1/events", params={"access_token": "a.b.c"}))


async def test_a_token_is_in_no_log_line_no_span_and_no_problem(
    http: httpx.AsyncClient,
    service: FakeJobService,
    clock: Clock,
    spans: InMemorySpanExporter,
    caplog: pytest.LogCaptureFixture,
) -> None:
    # What the test's own client logs is not the gateway's.
    caplog.set_level(logging.WARNING, logger="httpx")
    caplog.set_level(logging.DEBUG)
    job = service.add(tenant="acme", status=job_pb2.STATUS_COMPLETED)
    token = (await _make(http, job.id))["token"]
    answers = []
    for used in (token, token[:-2]):
        for path in (f"/v1/jobs/{job.id}/events", "/v1/jobs/job_other/events", "/v1/jobs", "/nowhere"):
            answers.append(await http.get(path, params={"access_token": used}))
            answers.append(await http.get(path, headers={"Authorization": f"Bearer {used}"}))
    clock.now += timedelta(days=2)
    answers.append(await http.get(f"/v1/jobs/{job.id}/events", params={"access_token": token}))

    assert {answer.status_code for answer in answers} == {200, 401, 403, 404}
    signature = token.rpartition(".")[2][:20]
    written = "\n".join(str(vars(record)) for record in caplog.records)
    traced = "\n".join(span.to_json() for span in spans.get_finished_spans())
    assert "request.answered" in written
    assert job.id in traced
    for told in (written, traced, *(f"{answer.text} {answer.headers}" for answer in answers)):
        assert signature not in told
