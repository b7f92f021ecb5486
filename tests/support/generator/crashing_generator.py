"""A generator on the real ledger that crashes or loses responses at any call, with a provider that records calls."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar
from uuid import uuid4

import grpc
from calotype.error_reasons import Code, Reason
from calotype.fact.v1 import fact_pb2

from common.errors import ServiceError
from common.jetstream import BrokerUnavailable
from common.leased_work import Claim, Run, Slot
from common.memory import Memory
from common.object_store import StorageUnavailable
from services.generator.adapters.grpc_job_service import GrpcJobService
from services.generator.adapters.nats_facts import NatsFacts
from services.generator.application.run_job import Generator
from services.generator.application.settle_calls import Settler
from services.generator.domain.earlier_calls import Traits
from services.generator.domain.jobs import StagedImage
from services.generator.domain.provider_results import (
    Acceptance,
    CancelOutcome,
    Generated,
    ImageSource,
    Operation,
    Pending,
)
from services.generator.ports import ProviderRequest, RawResult
from services.job.application import fact_checks, stale_jobs
from services.job.application.fact_checks import RefusedFact
from services.job.grpc_api.worker_service import WorkerService
from services.job.messages import from_protobuf
from services.job.store import jobs
from tests.support.generator.fakes import Provider, Reader, Staging, provider_error
from tests.support.generator.fault_points import Fault, FaultPoints, Killed
from tests.support.job_service.use_cases import FREE, PAID, JobUseCases, stored

T = TypeVar("T")
W = TypeVar("W")
#: Longer than any job may wait.
TOO_LONG = "25 hours"
#: Leases of the dead have run out, and so has the pause until the next look.
SETTLING_IS_DUE = (
    "UPDATE jobs SET completed_at = completed_at - interval '1 hour' WHERE completed_at IS NOT NULL",
    "UPDATE provider_calls SET settle_expires_at = settle_expires_at - interval '1 hour',"
    " next_look_at = next_look_at - interval '1 hour'",
)
OPEN_CALLS_OF_FINAL_JOBS = """
SELECT FROM provider_calls AS call JOIN jobs ON jobs.id = call.job_id
WHERE call.phase IN ('intended', 'accepted') AND jobs.state IN ('completed', 'failed', 'canceled')
"""
AWAY = ServiceError(status=grpc.StatusCode.UNAVAILABLE, reason=Reason("UNAVAILABLE"), message="away")
#: Fates of accepted calls; a slow one runs during the first polls, and the result of a bad one is no image.
SOLD, SLOW_POLLS = ("good", "slow", "bad"), 2
#: What readers of tests know to be no image.
BAD = b"bad"
STOPPED = provider_error(Acceptance.ACCEPTED, code=Code.TIMEOUT, reason=Reason.PROVIDER_CANCELED)
NOT_SOLD = {
    "limited": provider_error(Acceptance.NOT_ACCEPTED, code=Code.RATE_LIMIT, reason=Reason.PROVIDER_RATE_LIMIT),
    "refused": provider_error(Acceptance.ACCEPTED, code=Code.PERMANENT, reason=Reason.CONTENT_POLICY, retryable=False),
    "failed": provider_error(Acceptance.ACCEPTED),
}


class BookkeepingProvider(Provider):
    """Handles calls by a script of fates, then successfully, and records each request that it fulfils, by its call."""

    def __init__(self, name: str, moments: FaultPoints, fates: Sequence[str], *, resumable: bool, free: bool) -> None:
        super().__init__(None, resumable=resumable, free=free, max_images=2)
        self.name = name
        self.traits = Traits(free=free, idempotent=free, resumable=resumable)
        self.delivered: list[str] = []
        self.stopped: set[str] = set()
        self._polls: Counter[str] = Counter()
        self._moments = moments
        self._fates = list(fates)
        self._operations: dict[str, tuple[ProviderRequest, str]] = {}

    async def submit(self, order: ProviderRequest) -> Generated | Operation:
        """Accepts or refuses a call."""
        return await self._moments.run(lambda: self._sell(order), away=provider_error(Acceptance.UNKNOWN))

    async def poll(self, operation: Operation) -> Generated | Pending:
        """Returns the state of an operation."""
        away = provider_error(Acceptance.UNKNOWN)
        return await self._moments.run(lambda: self._poll(operation), away=away)

    async def cancel(self, operation: Operation) -> CancelOutcome:
        """Stops an operation that has not ended; a repeated call returns the same."""
        away = provider_error(Acceptance.UNKNOWN)
        return await self._moments.run(lambda: self._stop(operation), away=away)

    def available_operations(self) -> set[str]:
        """Returns the operations whose result can be fetched, now or later."""
        sold = {name for name, (_, fate) in self._operations.items() if fate in SOLD and fate != "bad"}
        return sold - self.stopped

    async def _stop(self, operation: Operation) -> CancelOutcome:
        if not self._is_slow(operation):
            return CancelOutcome.TOO_LATE
        self.stopped.add(operation.id)
        return CancelOutcome.CONFIRMED

    def _is_slow(self, operation: Operation) -> bool:
        """Whether it has not ended by itself."""
        return self._operations[operation.id][1] == "slow" and self._polls[operation.id] <= SLOW_POLLS

    async def _sell(self, provider_request: ProviderRequest) -> Generated | Operation:
        fate = self._fates.pop(0) if self._fates else "good"
        # An operation is taken, whatever becomes of it; what is turned away is not.
        is_accepted = self.traits.resumable and fate != "limited"
        if fate in SOLD:
            self.delivered.append(provider_request.call_id)
        elif not is_accepted:
            raise NOT_SOLD[fate]
        if not is_accepted:
            return _made(provider_request, fate)
        operation = Operation(id=f"op-{len(self._operations)}")
        self._operations[operation.id] = (provider_request, fate)
        return operation

    async def _poll(self, operation: Operation) -> Generated | Pending:
        provider_request, fate = self._operations[operation.id]
        self._polls[operation.id] += 1
        if operation.id in self.stopped:
            raise STOPPED
        if self._is_slow(operation):
            return Pending()
        if fate not in SOLD:
            raise NOT_SOLD[fate]
        return _made(provider_request, fate)


class WatchedStaging(Staging):
    """A bucket in memory; each of its calls is a fault point."""

    def __init__(self, moments: FaultPoints) -> None:
        super().__init__()
        self._moments = moments

    async def put(self, image: StagedImage, data: bytes, *, count: int) -> StagedImage:
        """Write."""
        return await self._moments.run(
            lambda: super(WatchedStaging, self).put(image, data, count=count), away=StorageUnavailable("away")
        )

    async def of_call(self, job_id: str, call_id: str) -> tuple[list[StagedImage], int]:
        """Lists images."""
        return await self._moments.run(
            lambda: super(WatchedStaging, self).of_call(job_id, call_id), away=StorageUnavailable("away")
        )

    async def put_raw(self, name: str, data: bytes) -> None:
        """Write what is no image."""
        await self._moments.run(
            lambda: super(WatchedStaging, self).put_raw(name, data), away=StorageUnavailable("away")
        )

    async def raw_of_call(self, job_id: str, call_id: str) -> list[RawResult]:
        """Lists objects that are no images."""
        return await self._moments.run(
            lambda: super(WatchedStaging, self).raw_of_call(job_id, call_id), away=StorageUnavailable("away")
        )

    async def get_raw(self, name: str) -> bytes:
        """Read it."""
        return await self._moments.run(
            lambda: super(WatchedStaging, self).get_raw(name), away=StorageUnavailable("away")
        )


class _Stub:
    """WorkerService without a network between."""

    def __init__(self, service: WorkerService, moments: FaultPoints) -> None:
        self._service = service
        self._moments = moments

    def __getattr__(self, method: str) -> Callable[..., Awaitable[Any]]:
        async def call(request: Any, **_: Any) -> Any:
            return await self._moments.run(lambda: getattr(self._service, method)(request, None), away=AWAY)

        return call


@dataclass(kw_only=True)
class _Inline:
    """The database, the relay and the broker of job-service: each does its work at once."""

    desk: JobUseCases
    moments: FaultPoints
    max_message_bytes: int = 1 << 20

    async def run(self, work: Callable[[Any], T], **_: Any) -> T:
        return self.desk.run(work)

    def wake(self) -> None:
        """Does nothing: no loop waits."""

    async def wake_generators(self) -> None:
        """Does nothing: no loop waits."""

    async def publish(self, subject: str, body: bytes, **_: Any) -> None:
        """Applies a fact as soon as it is stored."""
        await self.moments.run(lambda: self._apply(body), away=BrokerUnavailable("away"))

    async def publish_core(self, *_: Any, **__: Any) -> None:
        """Drops progress: there is no subscriber."""

    async def _apply(self, body: bytes) -> None:
        fact = fact_pb2.Fact.FromString(body)
        job_fact = from_protobuf.job_fact(fact, now=self.desk.run(jobs.clock))
        [admitted] = self.desk.run(lambda connection: fact_checks.admit(connection, [job_fact]))
        assert not isinstance(admitted, RefusedFact), admitted.reason
        self.desk.apply(admitted)


class World:
    """One job, its generators one after the other, and the providers' records."""

    def __init__(
        self, desk: JobUseCases, faults: Mapping[int, Fault], fates: Sequence[str], *, resumable: bool, **request: Any
    ) -> None:
        self.jobs = desk
        self.moments = FaultPoints(faults=faults)
        self.staging = WatchedStaging(self.moments)
        self.providers = {
            "paid": BookkeepingProvider("paid", self.moments, fates, resumable=resumable, free=False),
            "procedural": BookkeepingProvider("procedural", self.moments, (), resumable=False, free=True),
        }
        desk.register(FREE, replace(PAID, capabilities=replace(PAID.capabilities, resumable=resumable)))
        self.id = desk.create(provider="paid", **request).job.id

    async def claim(self) -> bool:
        """Runs one claim to its end; returns whether there is something left to claim."""
        desk, others = self._process()
        generator = Generator(job_service=desk, **others)
        self.jobs.sql("UPDATE jobs SET run_at = clock_timestamp() WHERE state = 'queued'")
        await self._work(desk.claim, generator.run)
        self._rescue()
        return bool(self.jobs.sql("SELECT 1 FROM jobs WHERE state = 'queued'"))

    async def settle(self) -> bool:
        """Runs one poll of settle work to its end; returns whether there is more settle work."""
        desk, others = self._process()
        settler = Settler(job_service=desk, **others)
        for statement in SETTLING_IS_DUE:
            self.jobs.sql(statement)
        await self._work(desk.claim_settlements, settler.run)
        return self.is_to_be_settled()

    def is_to_be_settled(self) -> bool:
        """Whether the job is over, and a call of it open."""
        return bool(self.jobs.sql(OPEN_CALLS_OF_FINAL_JOBS))

    def give_up(self) -> None:
        """The job has waited for as long as any may."""
        self.jobs.sql(f"UPDATE jobs SET queued_at = clock_timestamp() - interval '{TOO_LONG}' WHERE state = 'queued'")
        self._rescue()

    def upload(self) -> None:
        """What was had of it becomes public."""
        for claimed in self.jobs.claim_uploads():
            self.jobs.apply(stored(claimed.job))

    def obtainable_images(self) -> set[int]:
        """Images that open calls have in staging, or that the provider returns for a known operation."""
        open_calls = self.jobs.sql("SELECT * FROM provider_calls WHERE phase IN ('intended', 'accepted')")
        ids, available = {call.id for call in open_calls}, self.providers["paid"].available_operations()
        here = {image.index for image, _ in self.staging.objects.values() if image.call_id in ids}
        return here.union(*(call.image_indexes for call in open_calls if call.operation_id in available))

    def state(self) -> object:
        """Returns the state that the next claim finds: the job, its calls, and what is in staging."""
        calls = "SELECT phase, operation_id, image_indexes FROM provider_calls ORDER BY created_at, id"
        images = sorted(image.index for image, _ in self.staging.objects.values())
        return self.jobs.job(self.id).state, self.jobs.sql(calls), images

    def _process(self) -> tuple[GrpcJobService, dict[str, Any]]:
        """Returns the parts of a generator's process: its client of job-service, and all others."""
        inline: Any = _Inline(desk=self.jobs, moments=self.moments)
        desk = GrpcJobService(_NoChannel(), worker_name="g", providers=list(self.providers))  # type: ignore[arg-type]
        desk._stub = _Stub(WorkerService(inline, inline, self.jobs.limits), self.moments)  # type: ignore[assignment]
        others = {
            "facts": NatsFacts(inline),
            "staging": self.staging,
            "reader": Reader(),
            "providers": self.providers,
            "memory": Memory(64 * 1024 * 1024),
        }
        return desk, others

    async def _work(self, claim: Claim[W], run: Run[W]) -> None:
        """One claim to its end, or to that of its process."""
        self.moments.is_dead = False
        token = str(uuid4())
        try:
            for _, work in await claim([token]):
                await run(Slot(token=token, work=work))
        except (Killed, asyncio.CancelledError, ServiceError):
            self.moments.is_dead = True
            await self._cancel_tasks()

    def delivered_counts(self) -> Counter[int]:
        """Returns how often each paid image was delivered."""
        covers = {call.id: call.image_indexes for call in self.jobs.sql("SELECT id, image_indexes FROM provider_calls")}
        return Counter(index for call_id in self.providers["paid"].delivered for index in covers[call_id])

    async def _cancel_tasks(self) -> None:
        """What a process leaves running dies with it."""
        running = asyncio.all_tasks() - {asyncio.current_task()}
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _rescue(self) -> None:
        """Leases of the dead run out."""
        self.jobs.sql("UPDATE jobs SET lease_expires_at = clock_timestamp() WHERE lease_token IS NOT NULL")
        noted = self.jobs.run(lambda c: stale_jobs.candidates(c, self.jobs.limits))
        self.jobs.run(lambda c: stale_jobs.rescue(c, noted, limits=self.jobs.limits))


class _NoChannel:
    """Makes a stub whose methods are never called."""

    def __getattr__(self, kind: str) -> Callable[..., None]:
        return lambda *_, **__: None


def _made(provider_request: ProviderRequest, fate: str) -> Generated:
    if fate == "bad":
        return Generated(images=(ImageSource(data=BAD),) * provider_request.count, cost_micros=40_000)
    images = tuple(
        ImageSource(data=f"{provider_request.call_id}/{at}".encode()) for at in range(provider_request.count)
    )
    return Generated(images=images, cost_micros=40_000)
