"""What operators find and do among the jobs of all tenants over HTTP."""

from collections.abc import AsyncIterator

import httpx
import pytest
from calotype.job.v1 import job_pb2

from gateway.auth.authenticator import Authenticator
from tests.support.gateway.gateway_app import assembled, free_use, in_process
from tests.support.gateway.job_operator import KEYS, JobOperator
from tests.support.job_service.fake_job_service import FakeJobService, serving

OPERATOR, TENANT = {"Authorization": "Bearer operator-key"}, {"Authorization": "Bearer tenant-key"}


@pytest.fixture
def operator() -> JobOperator:
    """What job-service does for operators."""
    return JobOperator()


@pytest.fixture
async def http(operator: JobOperator) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway with keys."""
    authenticator = Authenticator(KEYS, free_use=free_use())
    async with (
        serving(FakeJobService()) as address,
        assembled(address, authenticator=authenticator, operator=operator) as (app, _),
        in_process(app) as opened,
    ):
        yield opened


async def test_an_operator_finds_jobs_by_every_filter(http: httpx.AsyncClient, operator: JobOperator) -> None:
    params = [
        ("tenant", "acme"), ("status", "failed"), ("status", "canceled"), ("id", "job_1"), ("operation_id", "op"),
        ("end_user", "eve"), ("reason", "PROVIDER_AUTH"), ("code", "AUTH_ERROR"), ("provider", "paid"),
        ("created_after", "1970-01-01T00:00:01Z"), ("created_before", "1970-01-01T00:00:02Z"),
        ("page_size", "5"), ("page_token", "t"),
    ]  # fmt: skip
    response = await http.get("/v1/admin/jobs", params=params, headers=OPERATOR)
    [found] = response.json()["jobs"]
    [(wanted, size, token)] = operator.requests

    assert (found["tenant"], found["job"]["id"], response.json()["next_page_token"]) == ("acme", "job_1", "next")
    assert (size, token) == (5, "t")
    assert (wanted.tenant, wanted.job_id, wanted.operation_id, wanted.end_user) == ("acme", "job_1", "op", "eve")
    assert (wanted.reason, wanted.provider) == ("PROVIDER_AUTH", "paid")
    assert list(wanted.statuses) == [job_pb2.STATUS_FAILED, job_pb2.STATUS_CANCELED]
    assert (wanted.created_after.seconds, wanted.created_before.seconds) == (1, 2)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("status=lost", "status.0"),
        ("tenant=a&tenant=b", "tenant"),
        ("created_after=today", "created_after"),
        ("page_size=101", "page_size"),
        ("prompt=x", "prompt"),
        ("code=NONE", "code"),
    ],
)
async def test_wrong_filters_are_named(http: httpx.AsyncClient, operator: JobOperator, query: str, field: str) -> None:
    response = await http.get(f"/v1/admin/jobs?{query}", headers=OPERATOR)

    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, field)
    assert operator.requests == []


async def test_tenants_and_local_callers_are_refused(http: httpx.AsyncClient, operator: JobOperator) -> None:
    for headers in (TENANT, {}):
        response = await http.get("/v1/admin/jobs", headers=headers)
        assert (response.status_code, response.json()["reason"]) == (403, "PERMISSION_DENIED")
    assert operator.requests == []


async def test_an_operator_pauses_and_resumes(http: httpx.AsyncClient) -> None:
    paused = await http.post("/v1/admin/providers/paid:pause", json={"note": "new key"}, headers=OPERATOR)
    for path in ("tenants/acme", "queue"):
        assert (await http.post(f"/v1/admin/{path}:pause", headers=OPERATOR)).status_code == 200
    listed = (await http.get("/v1/admin/pauses", headers=OPERATOR)).json()["pauses"]

    assert paused.json() == {
        "kind": "provider",
        "name": "paid",
        "note": "new key",
        "paused_by": f"ops/key:{KEYS.of_tenant('ops').key_sha256[:8]}",  # type: ignore[union-attr, index]
        "paused_at": "1970-01-01T00:00:01.000000Z",
    }
    assert [(found["kind"], found["name"], found["note"]) for found in listed] == [
        ("provider", "paid", "new key"),
        ("tenant", "acme", None),
        ("queue", None, None),
    ]
    for path, resumed in (("providers/paid", True), ("tenants/acme", True), ("queue", True), ("queue", False)):
        response = await http.post(f"/v1/admin/{path}:resume", headers=OPERATOR)
        assert response.json() == {"resumed": resumed}


async def test_wrong_pauses_are_refused(http: httpx.AsyncClient, operator: JobOperator) -> None:
    unknown = await http.post("/v1/admin/providers/unknown:pause", headers=OPERATOR)
    long_note = await http.post("/v1/admin/queue:pause", json={"note": "n" * 501}, headers=OPERATOR)
    assert (unknown.status_code, long_note.status_code) == (404, 422)
    assert long_note.json()["errors"][0]["field"] == "note"
    for path in ("providers/paid:pause", "tenants/acme:pause", "queue:pause", "queue:resume"):
        assert (await http.post(f"/v1/admin/{path}", headers=TENANT)).status_code == 403
    assert operator.paused == {}
