"""What a vendor says of the operator's account is for the operator; tenants get words of ours."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest
from calotype.job.v1 import job_service_pb2, job_service_pb2_grpc
from calotype.ops.v1 import queue_service_pb2, queue_service_pb2_grpc

from common.errors import ServiceError
from common.grpc_client import call, channel
from common.grpc_server import serve
from common.health import Readiness
from common.postgres import Database
from services.job.domain.calls import VendorError
from services.job.grpc_api.queue_service import QueueService
from tests.support.job_service.real_job_service import job_service
from tests.support.job_service.use_cases import JobUseCases, failed, not_sent, use_cases_at
from tests.support.patience import PATIENCE

WORDS = "Organization org-8KX has $3.17 left."
SAID = VendorError(http_status=429, code="insufficient_quota", message=WORDS, request_id="req_of_org-8KX")
NO_CODE = replace(SAID, code="Organization org-8KX is out of credit")


@pytest.fixture
def desk(database_url: str) -> Iterator[JobUseCases]:
    """Moves jobs as workers would."""
    with use_cases_at(database_url) as opened:
        yield opened


@pytest.fixture
async def services(desk: JobUseCases, database_url: str, nats_url: str) -> AsyncIterator[tuple[Any, Any]]:
    """JobService, for clients, and QueueService, for operators."""
    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(job_service(database_url, nats_url))
        database = Database(database_url, application="test", pool_size=1)
        stack.push_async_callback(database.close)
        served = QueueService(database, public_base_url="http://pictures.test/").grpc_service()
        port = await stack.enter_async_context(serve("127.0.0.1:0", [served], ready=Readiness()))
        clients = await stack.enter_async_context(channel(address))
        operators = await stack.enter_async_context(channel(f"127.0.0.1:{port}"))
        yield job_service_pb2_grpc.JobServiceStub(clients), queue_service_pb2_grpc.QueueServiceStub(operators)


@pytest.mark.parametrize("said", [SAID, NO_CODE], ids=["a code", "a sentence for a code"])
async def test_a_client_gets_status_and_code_and_an_operator_the_words(
    desk: JobUseCases, services: tuple[Any, Any], said: VendorError
) -> None:
    jobs, queue = services
    job, made = desk.generate(provider="paid")
    desk.apply(failed(job, calls=(replace(not_sent(made), provider_error=said),)))
    asked = job_service_pb2.ListAttemptsRequest(tenant="acme", job_id=job.id)
    for_tenants = await call(jobs.ListAttempts, asked, timeout=PATIENCE)
    for_operators = await call(queue.GetAnyJob, queue_service_pb2.GetAnyJobRequest(job_id=job.id), timeout=PATIENCE)
    seen = await call(jobs.GetJob, job_service_pb2.GetJobRequest(tenant="acme", job_id=job.id), timeout=PATIENCE)

    told, known = (one.attempts[0].provider_calls[0].error for one in (for_tenants, for_operators))
    assert (told.http_status, told.code) == (429, "insufficient_quota" if said is SAID else "")
    assert "org-8KX" not in f"{for_tenants}{seen}"
    assert (known.code, known.message, known.request_id) == (said.code, said.message, said.request_id)
    assert (for_operators.tenant, for_operators.job.id) == ("acme", job.id)


async def test_a_job_that_is_not_there_is_told_to_operators(services: tuple[Any, Any]) -> None:
    _, queue = services

    with pytest.raises(ServiceError, match="JOB_NOT_FOUND"):
        await call(queue.GetAnyJob, queue_service_pb2.GetAnyJobRequest(job_id="job_none"), timeout=PATIENCE)
