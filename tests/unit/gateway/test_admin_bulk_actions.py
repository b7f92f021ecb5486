"""What operators do with all jobs of a filter over HTTP."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from calotype.job.v1 import job_pb2
from calotype.ops.v1 import bulk_action_service_pb2 as bulk

from gateway.auth.authenticator import Authenticator
from tests.support.gateway.gateway_app import assembled, free_use, in_process
from tests.support.gateway.job_operator import KEYS, JobOperator
from tests.support.job_service.fake_job_service import FakeJobService, serving

OPERATOR, TENANT = {"Authorization": "Bearer operator-key"}, {"Authorization": "Bearer tenant-key"}
PATH = "/v1/admin/bulk-actions"


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


async def test_every_filter_and_the_consent_reach_job_service(http: httpx.AsyncClient, operator: JobOperator) -> None:
    filters = {
        "tenant": "acme", "status": ["failed"], "id": "job_1", "operation_id": "op", "end_user": "eve",
        "reason": "PROVIDER_AUTH", "code": "AUTH_ERROR", "provider": "paid",
        "created_after": "1970-01-01T00:00:01Z", "created_before": "1970-01-01T00:00:02Z",
    }  # fmt: skip
    body = {"action": "retry", "filter": filters, "on_ambiguous": "retry"}
    preview = await http.post(f"{PATH}:preview", json=body, headers=OPERATOR)
    created = await http.post(PATH, json=body, headers=OPERATOR | {"Idempotency-Key": "k"})
    repeated = await http.post(PATH, json=body, headers=OPERATOR | {"Idempotency-Key": "k"})
    [previewed, request, _] = operator.requests

    assert preview.json() == {"matched": 3, "is_matched_exact": True, "job_ids": ["job_1"]}
    assert previewed == request
    assert (request.kind, request.on_ambiguous) == (bulk.BULK_ACTION_KIND_RETRY, job_pb2.ON_AMBIGUOUS_RETRY)
    wanted = request.filter
    assert (wanted.tenant, wanted.job_id, wanted.operation_id, wanted.end_user) == ("acme", "job_1", "op", "eve")
    assert (wanted.reason, wanted.provider, [*wanted.statuses]) == ("PROVIDER_AUTH", "paid", [job_pb2.STATUS_FAILED])
    assert (created.status_code, repeated.status_code) == (202, 202)
    assert "Idempotency-Replayed" not in created.headers
    assert (repeated.headers["Idempotency-Replayed"], repeated.json()) == ("true", created.json())
    shown = created.json()
    assert shown["filter"] == filters | {
        "created_after": "1970-01-01T00:00:01.000000Z", "created_before": "1970-01-01T00:00:02.000000Z"
    }  # fmt: skip
    assert (shown["action"], shown["on_ambiguous"], shown["status"]) == ("retry", "retry", "running")
    assert shown["requested_by"] == f"ops/key:{KEYS.of_tenant('ops').key_sha256[:8]}"  # type: ignore[union-attr, index]


async def test_progress_is_read_listed_and_stopped(http: httpx.AsyncClient) -> None:
    body = {"action": "cancel", "filter": {"tenant": "acme"}}
    first, second = [(await http.post(PATH, json=body, headers=OPERATOR)).json() for _ in range(2)]
    for _ in range(3):
        shown = (await http.get(f"{PATH}/{first['id']}", headers=OPERATOR)).json()
    stopped = await http.post(f"{PATH}/{second['id']}:cancel", headers=OPERATOR)
    listed = (await http.get(PATH, headers=OPERATOR)).json()["bulk_actions"]

    assert (shown["status"], shown["done"], shown["skipped"], shown["refused"]) == ("finished", 2, 1, 1)
    assert shown["refusals"] == [{"reason": "CONSENT_REQUIRED", "count": 1, "job_id": "job_1"}]
    assert (stopped.json()["id"], stopped.json()["status"]) == (second["id"], "canceled")
    assert listed == [stopped.json(), shown]
    for method, path in (("GET", f"{PATH}/unknown"), ("POST", f"{PATH}/unknown:cancel")):
        assert (await http.request(method, path, headers=OPERATOR)).status_code == 404


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"action": "cancel"}, "filter"),
        ({"filter": {"tenant": "acme"}}, "action"),
        ({"action": "delete", "filter": {"tenant": "acme"}}, "action"),
        ({"action": "cancel", "filter": {"prompt": "x"}}, "filter.prompt"),
        ({"action": "cancel", "filter": {"status": ["lost"]}}, "filter.status.0"),
        ({"action": "retry", "filter": {"tenant": "acme"}, "on_ambiguous": True}, "on_ambiguous"),
    ],
)
async def test_wrong_bodies_are_refused(
    http: httpx.AsyncClient, operator: JobOperator, body: dict[str, Any], field: str
) -> None:
    for path in (PATH, f"{PATH}:preview"):
        response = await http.post(path, json=body, headers=OPERATOR)
        assert (response.status_code, response.json()["errors"][0]["field"]) == (422, field)
    assert operator.requests == []


async def test_tenants_and_local_callers_are_refused(http: httpx.AsyncClient, operator: JobOperator) -> None:
    body = {"action": "cancel", "filter": {"tenant": "acme"}}
    for headers in (TENANT, {}):
        for method, path in (
            ("POST", PATH), ("POST", f"{PATH}:preview"), ("GET", PATH),
            ("GET", f"{PATH}/b"), ("POST", f"{PATH}/b:cancel"),
        ):  # fmt: skip
            response = await http.request(method, path, json=body, headers=headers)
            assert (response.status_code, response.json()["reason"]) == (403, "PERMISSION_DENIED")
    assert operator.requests == []
