"""What operators do over HTTP: only they, and everything in the words of the API."""

from collections.abc import AsyncIterator
from hashlib import sha256
from typing import Any

import httpx
import pytest
from calotype.error_reasons import Reason
from calotype.job.v1 import job_pb2
from calotype.ops.v1 import dead_letter_service_pb2 as dead
from calotype.ops.v1 import queue_service_pb2, tenant_service_pb2
from calotype.provider.v1 import provider_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from gateway.auth.authenticator import Authenticator
from gateway.auth.keyring import Keyring, Principal
from gateway.problems.problem import Problem
from tests.support.gateway.gateway_app import assembled, free_use, in_process
from tests.support.job_service.fake_job_service import FakeJobService, serving

OPERATOR, TENANT = {"Authorization": "Bearer operator-key"}, {"Authorization": "Bearer tenant-key"}
KEYS = Keyring(
    [
        Principal(tenant="ops", role="operator", key_sha256=sha256(b"operator-key").hexdigest()),
        Principal(tenant="acme", key_sha256=sha256(b"tenant-key").hexdigest()),
    ]
)


class Operator:
    """One dead letter, one job in the queue, one provider, one tenant with a budget."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    async def dead_letters(self, *, page_size: int, page_token: str, parked: bool) -> dead.ListDeadLettersResponse:
        """The letter."""
        self.asked.append((page_size, page_token, parked))
        letter = dead.DeadLetter(id="17", died_at=Timestamp(seconds=1), reason="no fact", subject="s", size_bytes=3)
        return dead.ListDeadLettersResponse(dead_letters=[letter])

    async def replay(self, letter_id: str, *, key: str) -> bool:
        """Only this one is there; another is gone, by a key."""
        self.asked.append((letter_id, key))
        if letter_id != "17" and key != "k":
            raise Problem(reason=Reason.NOT_FOUND, detail="There is no such dead letter.")
        return letter_id != "17"

    async def queue(self) -> queue_service_pb2.GetQueueResponse:
        """One job waits."""
        self.asked.append("queue")
        counts = queue_service_pb2.JobCounts(queued=1, is_exact=True)
        one = queue_service_pb2.TenantQueue(tenant="acme", jobs=counts, oldest_queued_at=Timestamp(seconds=1))
        return queue_service_pb2.GetQueueResponse(jobs=counts, tenants=[one], open_settlements=3)

    async def throughput(self) -> queue_service_pb2.GetThroughputResponse:
        """One job of the last minute failed."""
        minute = queue_service_pb2.MinuteCounts(starts_at=Timestamp(seconds=60), completed=3, failed=1)
        return queue_service_pb2.GetThroughputResponse(
            minutes=[minute],
            now=Timestamp(seconds=100),
            counted_since=Timestamp(seconds=1),
            failures=[queue_service_pb2.FailureCount(reason=Reason.PROVIDER_AUTH, jobs=1)],
            stages=[queue_service_pb2.StageAge(status=job_pb2.STATUS_GENERATING, oldest_seconds=1.23456)],
        )

    async def job(self, job_id: str, *, events_before: int = 0) -> queue_service_pb2.GetAnyJobResponse:
        """A job of a tenant's, whose vendor has said something."""
        self.asked.append(job_id)
        said = job_pb2.ProviderError(http_status=429, code="slow", message="org-8KX is out of credit", request_id="r")
        attempt = job_pb2.Attempt(number=1, provider_calls=[job_pb2.ProviderCall(id="call_1", error=said)])
        return queue_service_pb2.GetAnyJobResponse(
            tenant="acme", job=FakeJobService().add(id=job_id), attempts=[attempt]
        )

    async def provider_use(self) -> list[queue_service_pb2.ProviderUse]:
        """One place is taken."""
        self.asked.append("providers")
        provider = provider_pb2.Provider(name="paid", kind="replicate", default_model="m", max_concurrency=2)
        at = Timestamp(seconds=1)
        return [queue_service_pb2.ProviderUse(provider=provider, in_use=1, registered_by="g", registered_at=at)]

    async def spend(self, *, page_size: int, page_token: str) -> tenant_service_pb2.ListSpendResponse:
        """A tenant that has spent some of its budget."""
        self.asked.append((page_size, page_token))
        limits = tenant_service_pb2.TenantLimits(tenant="acme", budget_micros_per_month=9)
        day, month = (
            tenant_service_pb2.Spend(starts_on=f"2026-01-{first}", spent_micros=5, reserved_micros=2)
            for first in ("31", "01")
        )
        one = tenant_service_pb2.TenantSpend(limits=limits, day=day, month=month)
        return tenant_service_pb2.ListSpendResponse(tenants=[one], next_page_token="acme")


@pytest.fixture
def operator() -> Operator:
    """What is dead."""
    return Operator()


@pytest.fixture
async def http(operator: Operator) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway with keys."""
    authenticator = Authenticator(KEYS, free_use=free_use())
    async with (
        serving(FakeJobService()) as address,
        assembled(address, authenticator=authenticator, operator=operator) as (app, _),
        in_process(app) as opened,
    ):
        yield opened


async def test_an_operator_sees_what_is_dead(http: httpx.AsyncClient, operator: Operator) -> None:
    answer = await http.get("/v1/admin/dead", params={"page_size": 5, "page_token": "3"}, headers=OPERATOR)

    assert answer.status_code == 200
    [one] = answer.json()["dead_letters"]
    assert (one["id"], one["reason"], one["job_id"]) == ("17", "no fact", None)
    assert one["died_at"] == "1970-01-01T00:00:01.000000Z"
    assert answer.json()["next_page_token"] is None
    assert operator.asked == [(5, "3", False)]


async def test_an_operator_sees_what_is_parked(http: httpx.AsyncClient, operator: Operator) -> None:
    answer = await http.get("/v1/admin/dead", params={"parked": "true"}, headers=OPERATOR)

    assert answer.status_code == 200
    assert operator.asked == [(20, "", True)]


async def test_an_operator_replays(http: httpx.AsyncClient, operator: Operator) -> None:
    done = await http.post("/v1/admin/dead/17/replay", headers=OPERATOR)
    gone = await http.post("/v1/admin/dead/18/replay", headers=OPERATOR)
    again = await http.post("/v1/admin/dead/18/replay", headers=OPERATOR | {"Idempotency-Key": "k"})

    assert [answer.status_code for answer in (done, gone, again)] == [204, 404, 204]
    assert gone.json()["reason"] == "NOT_FOUND"
    assert [answer.headers.get("Idempotency-Replayed") for answer in (done, again)] == [None, "true"]


async def test_an_operator_sees_what_is_under_way(http: httpx.AsyncClient) -> None:
    told = (await http.get("/v1/admin/queue", headers=OPERATOR)).json()
    none = {"waiting": 0, "processing": 0, "generating": 0, "uploading": 0, "is_exact": True}

    assert told == {
        "jobs": {"queued": 1, **none},
        "oldest_queued_at": None,
        "tenants": [
            {"tenant": "acme", "jobs": {"queued": 1, **none}, "oldest_queued_at": "1970-01-01T00:00:01.000000Z"}
        ],
        "unpublished_messages": 0,
        "open_settlements": 3,
        "open_deletions": 0,
        "oldest_deletion_at": None,
        "missing_objects": 0,
    }


async def test_an_operator_sees_what_ended_lately(http: httpx.AsyncClient) -> None:
    assert (await http.get("/v1/admin/throughput", headers=OPERATOR)).json() == {
        "now": "1970-01-01T00:01:40.000000Z",
        "counted_since": "1970-01-01T00:00:01.000000Z",
        "minutes": [{"starts_at": "1970-01-01T00:01:00.000000Z", "completed": 3, "failed": 1, "canceled": 0}],
        "failures": [{"reason": "PROVIDER_AUTH", "jobs": 1}],
        "stages": [{"status": "generating", "oldest_seconds": 1.235}],
    }


async def test_an_operator_sees_what_is_in_use_of_each_provider(http: httpx.AsyncClient) -> None:
    [one] = (await http.get("/v1/admin/providers", headers=OPERATOR)).json()["providers"]

    assert (one["provider"]["name"], one["provider"]["max_concurrency"]) == ("paid", 2)
    assert (one["in_use"], one["calls_in_last_minute"], one["registered_by"]) == (1, 0, "g")


async def test_an_operator_sees_what_is_spent(http: httpx.AsyncClient, operator: Operator) -> None:
    told = (await http.get("/v1/admin/spend", params={"page_size": 1, "page_token": "a"}, headers=OPERATOR)).json()
    used = {"spent_micros": 5, "reserved_micros": 2}

    assert told == {
        "tenants": [
            {
                "tenant": "acme",
                "allowed_providers": None,
                "budget_micros_per_day": None,
                "budget_micros_per_month": 9,
                "day": {"starts_on": "2026-01-31", **used},
                "month": {"starts_on": "2026-01-01", **used},
            }
        ],
        "next_page_token": "acme",
    }
    assert operator.asked == [(1, "a")]


@pytest.mark.parametrize("headers", [TENANT, {}], ids=["a tenant", "somebody on this machine"])
async def test_nobody_else_does(http: httpx.AsyncClient, operator: Operator, headers: dict[str, str]) -> None:
    paths = [("GET", f"/v1/admin/{noun}") for noun in ("dead", "queue", "throughput", "providers", "spend")]
    for method, path in [*paths, ("POST", "/v1/admin/dead/17/replay")]:
        answer = await http.request(method, path, headers=headers)
        assert (answer.status_code, answer.json()["reason"]) == (403, "PERMISSION_DENIED")
    assert operator.asked == []


async def test_a_page_size_that_cannot_be_is_named(http: httpx.AsyncClient) -> None:
    answer = await http.get("/v1/admin/dead", params={"page_size": 0}, headers=OPERATOR)

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "page_size")


async def test_an_operator_sees_a_job_of_any_tenant_with_the_words_of_its_vendor(
    http: httpx.AsyncClient, operator: Operator
) -> None:
    told = (await http.get("/v1/admin/jobs/job_1", headers=OPERATOR)).json()
    [call] = told["attempts"][0]["provider_calls"]

    assert (told["tenant"], told["job"]["id"], operator.asked) == ("acme", "job_1", ["job_1"])
    assert call["provider_error"] == {
        "http_status": 429,
        "code": "slow",
        "message": "org-8KX is out of credit",
        "request_id": "r",
    }
    assert (told["summary"]["provider_call"]["id"], told["lease"], told["events"]) == (call["id"], None, [])
    assert (await http.get("/v1/admin/jobs/job_1", headers=TENANT)).status_code == 403


async def test_a_job_is_shown_without_a_notifier_and_with_the_address_of_its_board(operator: Operator) -> None:
    authenticator = Authenticator(KEYS, free_use=free_use())
    async with (
        serving(FakeJobService()) as address,
        assembled(address, authenticator=authenticator, operator=operator, board_url="https://board/{job_id}") as (
            app,
            _,
        ),
        in_process(app) as http,
    ):
        told = (await http.get("/v1/admin/jobs/job_1", headers=OPERATOR)).json()

    assert told["deliveries"]["available"] is False
    assert told["deliveries"]["problem"]
    assert told["links"] == {"trace": None, "board": "https://board/job_1"}
