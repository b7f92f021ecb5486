"""A generator on the real ledger, with a vendor that keeps books, that dies or is not answered at any moment."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, TypeVar
from uuid import uuid4

import grpc
from calotype.fact.v1 import fact_pb2

from common.errors import ServiceError
from common.jetstream import BrokerUnavailable
from common.leased_work import Slot
from common.object_store import StorageUnavailable
from services.generator.adapters.grpc_desk import GrpcJobDesk
from services.generator.adapters.nats_facts import NatsFacts
from services.generator.application.generation import Generator
from services.generator.domain.outcomes import Acceptance, Generated, ImageSource, Operation, Pending
from services.generator.domain.plan import Traits
from services.generator.domain.work import StagedImage
from services.generator.ports import Order
from services.job.application import rescuing
from services.job.grpc_api.worker_service import WorkerService
from services.job.messages import incoming
from services.job.store import jobs
from tests.support.generation import Provider, Reader, Staging, provider_error
from tests.support.jobs import FREE, PAID, JobDesk

T = TypeVar("T")
AWAY = ServiceError(status=grpc.StatusCode.UNAVAILABLE, reason="UNAVAILABLE", message="away")
NOT_SOLD = {
    "limited": provider_error(Acceptance.NOT_ACCEPTED, code="RATE_LIMIT", reason="PROVIDER_RATE_LIMIT"),
    "refused": provider_error(Acceptance.ACCEPTED, code="PERMANENT", reason="CONTENT_POLICY", retryable=False),
    "failed": provider_error(Acceptance.ACCEPTED),
}


class Killed(BaseException):
    """The process is gone; nothing of it runs any more."""


class Fault(Enum):
    """What happens at a moment: to the process, or to the answer."""

    KILLED_BEFORE = "killed before"
    KILLED_AFTER = "killed after"
    ENDED_BEFORE = "ended before"
    ENDED_AFTER = "ended after"
    AWAY = "away"
    LOST = "lost"


@dataclass(kw_only=True)
class Moments:
    """Counts whatever a generator waits for of others; faults by the number of the moment, of all claims together."""

    faults: Mapping[int, Fault] = field(default_factory=dict)
    number: int = 0
    is_dead: bool = False

    async def through(self, act: Callable[[], Awaitable[T]], *, away: Exception) -> T:
        """One moment: it is done, not done, or done and not heard of."""
        await asyncio.sleep(0)
        if self.is_dead:
            raise Killed
        self.number += 1
        fault = self.faults.get(self.number)
        self._strike(fault, Fault.KILLED_BEFORE, Fault.ENDED_BEFORE, Fault.AWAY, away)
        answer = await act()
        self._strike(fault, Fault.KILLED_AFTER, Fault.ENDED_AFTER, Fault.LOST, away)
        return answer

    def _strike(self, fault: Fault | None, killed: Fault, ended: Fault, unheard: Fault, away: Exception) -> None:
        if fault is killed:
            self.is_dead = True
            raise Killed
        if fault is ended:
            raise asyncio.CancelledError
        if fault is unheard:
            raise away


class Vendor(Provider):
    """Sells by a script of fates (then all is well) and books each request that it delivers, by its call."""

    def __init__(self, name: str, moments: Moments, fates: Sequence[str], *, resumable: bool, free: bool) -> None:
        super().__init__(None, resumable=resumable, free=free, most=2)
        self.name = name
        self.traits = Traits(free=free, idempotent=free, resumable=resumable)
        self.delivered: list[str] = []
        self._moments = moments
        self._fates = list(fates)
        self._operations: dict[str, tuple[Order, str]] = {}

    async def submit(self, order: Order) -> Generated | Operation:
        """Sell, or not."""
        return await self._moments.through(lambda: self._sell(order), away=provider_error(Acceptance.UNKNOWN))

    async def poll(self, operation: Operation) -> Generated | Pending:
        """How an operation stands."""
        away = provider_error(Acceptance.UNKNOWN)
        return await self._moments.through(lambda: self._look(operation), away=away)

    async def _sell(self, order: Order) -> Generated | Operation:
        fate = self._fates.pop(0) if self._fates else "good"
        # An operation is taken, whatever becomes of it; what is turned away is not.
        is_taken = self.traits.resumable and fate != "limited"
        if fate == "good":
            self.delivered.append(order.call_id)
        elif not is_taken:
            raise NOT_SOLD[fate]
        if not is_taken:
            return _made(order)
        operation = Operation(id=f"op-{len(self._operations)}")
        self._operations[operation.id] = (order, fate)
        return operation

    async def _look(self, operation: Operation) -> Generated | Pending:
        order, fate = self._operations[operation.id]
        if fate != "good":
            raise NOT_SOLD[fate]
        return _made(order)


class WatchedStaging(Staging):
    """A bucket in memory whose answers come through a moment each."""

    def __init__(self, moments: Moments) -> None:
        super().__init__()
        self._moments = moments

    async def put(self, image: StagedImage, data: bytes, *, count: int) -> StagedImage:
        """Write."""
        return await self._moments.through(
            lambda: super(WatchedStaging, self).put(image, data, count=count), away=StorageUnavailable("away")
        )


class _Stub:
    """WorkerService without a network between."""

    def __init__(self, service: WorkerService, moments: Moments) -> None:
        self._service = service
        self._moments = moments

    def __getattr__(self, method: str) -> Callable[..., Awaitable[Any]]:
        async def ask(request: Any, **_: Any) -> Any:
            return await self._moments.through(lambda: getattr(self._service, method)(request, None), away=AWAY)

        return ask


@dataclass(kw_only=True)
class _Inline:
    """The database, the relay and the broker of job-service: each does its work at once."""

    desk: JobDesk
    moments: Moments
    most_bytes: int = 1 << 20

    async def run(self, work: Callable[[Any], T], **_: Any) -> T:
        return self.desk.run(work)

    def wake(self) -> None:
        """Nobody waits."""

    async def wake_generators(self) -> None:
        """Nobody waits."""

    async def publish(self, subject: str, body: bytes, **_: Any) -> None:
        """A fact is folded as soon as it is safe."""
        await self.moments.through(lambda: self._fold(body), away=BrokerUnavailable("away"))

    async def publish_core(self, *_: Any, **__: Any) -> None:
        """Nobody listens to progress."""

    async def _fold(self, body: bytes) -> None:
        fact = fact_pb2.Fact.FromString(body)
        self.desk.fold(incoming.job_fact(fact, now=self.desk.run(jobs.clock)))


class World:
    """One job, its generators one after the other, and the vendors' books."""

    def __init__(
        self, desk: JobDesk, faults: Mapping[int, Fault], fates: Sequence[str], *, resumable: bool, **request: Any
    ) -> None:
        self.jobs = desk
        self.moments = Moments(faults=faults)
        self.staging = WatchedStaging(self.moments)
        self.vendors = {
            "paid": Vendor("paid", self.moments, fates, resumable=resumable, free=False),
            "procedural": Vendor("procedural", self.moments, (), resumable=False, free=True),
        }
        desk.register(FREE, replace(PAID, capabilities=replace(PAID.capabilities, resumable=resumable)))
        self.id = desk.create(provider="paid", **request).job.id

    async def claim(self) -> bool:
        """One claim to its end, whatever that is; tells whether there was something to claim."""
        self.moments.is_dead = False
        inline: Any = _Inline(desk=self.jobs, moments=self.moments)
        desk = GrpcJobDesk(_NoChannel(), worker_name="g", providers=list(self.vendors))  # type: ignore[arg-type]
        desk._stub = _Stub(WorkerService(inline, inline, self.jobs.limits), self.moments)  # type: ignore[assignment]
        generator = Generator(
            desk=desk, facts=NatsFacts(inline), staging=self.staging, reader=Reader(), providers=self.vendors
        )
        self.jobs.sql("UPDATE jobs SET run_at = clock_timestamp() WHERE state = 'queued'")
        token = str(uuid4())
        try:
            claimed = await desk.claim([token])
            for _, job in claimed:
                await generator.run(Slot(token=token, work=job))
        except (Killed, asyncio.CancelledError, ServiceError):
            self.moments.is_dead = True
            await self._bury()
        self._rescue()
        return bool(self.jobs.sql("SELECT 1 FROM jobs WHERE state = 'queued'"))

    def sold(self) -> Counter[int]:
        """How often each image was delivered by whom it is paid for."""
        covers = {call.id: call.image_indexes for call in self.jobs.sql("SELECT id, image_indexes FROM provider_calls")}
        return Counter(index for call_id in self.vendors["paid"].delivered for index in covers[call_id])

    async def _bury(self) -> None:
        """What a process leaves running dies with it."""
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    def _rescue(self) -> None:
        """Leases of the dead run out."""
        self.jobs.sql("UPDATE jobs SET lease_expires_at = clock_timestamp() WHERE lease_token IS NOT NULL")
        noted = self.jobs.run(lambda c: rescuing.candidates(c, self.jobs.limits))
        self.jobs.run(lambda c: rescuing.rescue(c, noted, limits=self.jobs.limits))


class _NoChannel:
    """Makes a stub whose methods are never called."""

    def __getattr__(self, kind: str) -> Callable[..., None]:
        return lambda *_, **__: None


def _made(order: Order) -> Generated:
    images = tuple(ImageSource(data=f"{order.call_id}/{at}".encode()) for at in range(order.count))
    return Generated(images=images, cost_micros=40_000)
