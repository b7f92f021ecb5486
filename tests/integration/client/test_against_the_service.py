"""Both clients against the real job-service, on a real database and a real broker."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
from calotype.client import (
    AsyncJobClient,
    ConsentRequired,
    InvalidRequest,
    JobClient,
    JobNotFound,
    NotAllowed,
    WrongState,
)
from calotype.error_reasons import Reason
from calotype.job.v1 import job_pb2, job_service_pb2

from services.job.domain.calls import CallOutcome, CallPhase
from tests.support.clients.python_clients import KINDS, client
from tests.support.job_service.real_job_service import job_service
from tests.support.job_service.use_cases import JobUseCases, failed, stored, use_cases_at
from tests.support.patience import PATIENCE
from tests.support.security.certificates import LOCAL, Authority
from tests.support.security.identities import entry, security_for, write
from tests.support.servers import embedded_servers


@pytest.fixture
def database_url(postgres: embedded_servers.Server, template: str) -> Iterator[str]:
    """A database of the test's own."""
    url = embedded_servers.copy_database(postgres.url, template)
    yield url
    embedded_servers.drop_database(postgres.url, url)


@pytest.fixture
def desk(database_url: str) -> Iterator[JobUseCases]:
    """Moves jobs as workers would; knows the providers `procedural` and `paid`."""
    with use_cases_at(database_url) as desk:
        yield desk


@pytest.fixture
async def address(desk: JobUseCases, database_url: str, nats_url: str) -> AsyncIterator[str]:
    """Where JobService listens, to everybody."""
    async with job_service(database_url, nats_url) as found:
        yield found


@pytest.fixture
async def jobs(address: str) -> AsyncIterator[AsyncJobClient]:
    """A client in this loop."""
    async with AsyncJobClient(address, tenant="acme") as opened:
        yield opened


async def test_a_job_is_submitted_once_under_one_key(jobs: AsyncJobClient) -> None:
    wanted = job_pb2.JobRequest(prompt="a harbour", n=2)
    first, again = [await jobs.create(wanted, idempotency_key="k") for _ in range(2)]
    other = await jobs.create(wanted)

    assert first.id == again.id != other.id
    assert {job.id async for job in jobs.jobs()} == {first.id, other.id}
    assert [provider.name for provider in await jobs.providers()] == ["paid", "procedural"]


@pytest.mark.parametrize("kind", KINDS)
async def test_providers_are_those_that_the_tenant_may_use(address: str, desk: JobUseCases, kind: str) -> None:
    desk.allow("acme", providers=("procedural",))
    async with client(kind, address) as jobs:
        assert [provider.name for provider in await jobs.providers()] == ["procedural"]


async def test_pages_come_to_their_end(jobs: AsyncJobClient) -> None:
    made = [(await jobs.create(f"harbour {number}")).id for number in range(5)]

    assert [job.id async for job in jobs.jobs(job_service_pb2.ListJobsRequest(page_size=2))] == made[::-1]


async def test_waiting_sees_the_end(jobs: AsyncJobClient) -> None:
    job = await jobs.create("a harbour")
    waiting = asyncio.create_task(jobs.wait(job.id, timeout=PATIENCE))
    await jobs.cancel(job.id)

    ended = await waiting
    assert (ended.status, ended.request.prompt) == (job_pb2.STATUS_CANCELED, "a harbour")


async def test_watching_tells_every_change_once(jobs: AsyncJobClient, desk: JobUseCases) -> None:
    job = await jobs.create("a harbour")
    seen = []
    async for update in jobs.watch(job.id, timeout=PATIENCE):
        assert isinstance(update, job_pb2.Job)
        seen.append(update.sequence)
        if update.status == job_pb2.STATUS_QUEUED:
            await jobs.cancel(job.id)

    assert seen == [1, 2]


async def test_waiting_brings_the_job_as_it_is(jobs: AsyncJobClient, desk: JobUseCases) -> None:
    job = await asyncio.to_thread(desk.upload)
    waiting = asyncio.create_task(jobs.wait(job.id, timeout=PATIENCE))
    await asyncio.to_thread(desk.apply, stored(job))

    ended = await waiting
    assert (ended.status, len(ended.artifacts)) == (job_pb2.STATUS_COMPLETED, 1)
    assert ended == await jobs.get(job.id) == await jobs.wait(job.id, timeout=PATIENCE)


@pytest.mark.parametrize("kind", KINDS)
async def test_nothing_is_missed_or_told_twice_while_the_service_is_restarted(
    kind: str, desk: JobUseCases, database_url: str, nats_url: str
) -> None:
    told: asyncio.Queue[int] = asyncio.Queue()

    async def follow(jobs: Any, job_id: str) -> None:
        async for update in jobs.watch(job_id, timeout=PATIENCE):
            told.put_nowait(update.sequence)

    async with AsyncExitStack() as stack, asyncio.timeout(PATIENCE):
        async with job_service(database_url, nats_url) as address:
            jobs = await stack.enter_async_context(client(kind, address))
            job = await jobs.create("a harbour")
            work = [asyncio.create_task(one) for one in (follow(jobs, job.id), jobs.wait(job.id, timeout=PATIENCE))]
            assert await told.get() == 1
        # Nobody is there, and the job goes on by what other replicas do.
        [claimed] = await asyncio.to_thread(desk.claim)
        await asyncio.to_thread(desk.begin, claimed.job)
        async with job_service(database_url, nats_url, listen=address):
            assert [await told.get(), await told.get()] == [2, 3]
        async with job_service(database_url, nats_url, listen=address):
            await jobs.cancel(job.id)
            _, ended = await asyncio.gather(*work)

    assert (told.get_nowait(), told.empty()) == (4, True)
    assert (ended.status, ended.sequence, ended.request.prompt) == (job_pb2.STATUS_CANCELED, 4, "a harbour")


async def test_what_cannot_be_done_is_told_by_kind(jobs: AsyncJobClient) -> None:
    # A prompt that is larger than what gRPC sends as metadata, which errors are.
    job = await jobs.create("a harbour " * 3000)
    with pytest.raises(InvalidRequest) as wrong:
        await jobs.create(job_pb2.JobRequest(prompt="a harbour", n=11))
    with pytest.raises(WrongState, match="this one is queued"):
        await jobs.retry(job.id)
    with pytest.raises(JobNotFound):
        await jobs.get("job_x")

    assert [*wrong.value.fields] == ["n"]


async def test_a_retry_that_may_charge_again_needs_a_word(jobs: AsyncJobClient, desk: JobUseCases) -> None:
    job, call = await asyncio.to_thread(lambda: desk.generate(provider="paid"))
    unknown = CallOutcome(call_id=call.id, phase=CallPhase.UNKNOWN)
    await asyncio.to_thread(desk.apply, failed(job, retryable=False, calls=(unknown,)))

    with pytest.raises(ConsentRequired):
        await jobs.retry(job.id)
    assert (await jobs.retry(job.id, may_charge_again=True)).status == job_pb2.STATUS_QUEUED


async def test_the_client_for_threads_does_the_same(address: str) -> None:
    def work() -> tuple[list[int], list[str]]:
        with JobClient(address, tenant="acme") as jobs:
            job = jobs.create("a harbour")
            jobs.cancel(job.id)
            assert jobs.wait(job.id, timeout=PATIENCE).status == job_pb2.STATUS_CANCELED
            updates = [update.sequence for update in jobs.watch(job.id) if isinstance(update, job_pb2.Job)]
            listed = [one.id == job.id for one in jobs.jobs()]
            jobs.delete(job.id)
            with pytest.raises(JobNotFound):
                jobs.get(job.id)
            return updates, [str(one) for one in listed]

    assert await asyncio.to_thread(work) == ([2], ["True"])


async def test_both_clients_show_their_token_over_tls(
    desk: JobUseCases, database_url: str, nats_url: str, tmp_path: Path
) -> None:
    server = Authority(tmp_path / "pki").give("server", *LOCAL)
    identities = write(tmp_path / "identities.yaml", entry("acme", "client", tenants=["acme"]))
    door = security_for(identities, grpc_tls_cert_file=server.certificate, grpc_tls_key_file=server.key)
    believed = grpc.ssl_channel_credentials(server.authority.read_bytes())

    def work(address: str) -> list[Reason]:
        with JobClient(address, tenant="acme", token="acme", credentials=believed) as jobs:
            job = jobs.create("a harbour")
            jobs.cancel(job.id)
            assert len([*jobs.watch(job.id)]) == 1
        told = []
        for tenant, token in (("globex", "acme"), ("acme", "wrong"), ("acme", None)):
            with JobClient(address, tenant=tenant, token=token, credentials=believed) as jobs:
                with pytest.raises(NotAllowed) as refused:
                    jobs.get(job.id)
                told.append(refused.value.reason)
        return told

    async with job_service(database_url, nats_url, door) as address:
        told = await asyncio.to_thread(work, address)
        async with AsyncJobClient(address, tenant="acme", token="acme", credentials=believed) as jobs:
            [job] = [job async for job in jobs.jobs()]
            assert [update.sequence async for update in jobs.watch(job.id) if isinstance(update, job_pb2.Job)] == [2]
        async with AsyncJobClient(address, tenant="globex", token="acme", credentials=believed) as jobs:
            with pytest.raises(NotAllowed, match="tenant"):
                await anext(jobs.watch(job.id))

    assert told == ["PERMISSION_DENIED", "UNAUTHENTICATED", "UNAUTHENTICATED"]
