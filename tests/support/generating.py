"""The generator as a process, and job-service as it sees it: real gRPC, a small ledger, work by the test."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
from calotype.fact.v1 import fact_pb2
from calotype.job.v1 import job_pb2, worker_service_pb2_grpc
from calotype.job.v1 import worker_service_pb2 as worker
from calotype.provider.v1 import provider_pb2

from cli.stack.child import Child, Program
from common.errors import ServiceError
from common.grpc_server import Served, serve
from common.health import Readiness
from tests.support.paid_provider import KEY
from tests.support.patience import PATIENCE

ROOT = Path(__file__).parents[2]
#: What a busy machine does not use up before a call is made, and what is renewed every second or two.
LONG_LEASE, SHORT_LEASE = 60.0, 6.0
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
PROVIDERS = """
default: procedural
providers:
  - name: procedural
    kind: procedural
  - name: paid
    kind: replicate
    base_url: {url}
    api_key_env: PAID_API_KEY
    poll_interval_seconds: 0.05
    timeout_seconds: 300
    models: [{{name: test/model, price_micros_per_image: 40000}}]
"""


class FakeWorkerService(worker_service_pb2_grpc.WorkerServiceServicer):
    """Hands out jobs, settlements and deletions; keeps the ledger of calls; one lost answer at a time if told to."""

    def __init__(self) -> None:
        self.address = ""
        self.catalogue: list[provider_pb2.Provider] = []
        self.jobs: dict[str, job_pb2.Job] = {}
        self.calls: dict[str, job_pb2.ProviderCall] = {}
        self.inputs: dict[tuple[str, int], bytes] = {}
        self.due: list[str] = []
        self.claims: dict[str, int] = {}
        self.held: dict[str, str] = {}
        self.released: list[tuple[str, tuple[str, ...]]] = []
        self.settlements: list[worker.Settlement] = []
        self.deletions: list[worker.Deletion] = []
        self.sweep_is_due = False
        self.asked: list[Any] = []
        self.lose_claims = 0
        self.refuse: dict[str, grpc.StatusCode] = {}
        self.lease_seconds = LONG_LEASE
        self._changed = asyncio.Condition()

    def add(self, job_id: str, *, provider: str = "procedural", n: int = 1, **request: Any) -> None:
        """A job that is due."""
        model = "procedural" if provider == "procedural" else "test/model"
        wanted = job_pb2.JobRequest(**({"prompt": "a harbour"} | request), n=n)
        self.jobs[job_id] = job_pb2.Job(
            id=job_id, tenant="acme", provider=provider, model=model, request=wanted, image_count=n
        )
        self.due.append(job_id)

    def rescue(self, job_id: str) -> None:
        """Its lease ran out, and the monitor saw it."""
        self.held = {token: job for token, job in self.held.items() if job != job_id}
        self.due.append(job_id)

    def cancel(self, job_id: str) -> None:
        """A user canceled the job."""
        del self.jobs[job_id]
        self.held = {token: job for token, job in self.held.items() if job != job_id}

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something that a request brings about."""
        async with self._changed, asyncio.timeout(PATIENCE):
            await self._changed.wait_for(condition)

    def asked_for(self, kind: type[Any]) -> list[Any]:
        """Requests of a kind, in their order."""
        return [one for one in self.asked if isinstance(one, kind)]

    def fold(self, fact: fact_pb2.Fact) -> None:
        """Take into the ledger what a fact says of calls."""
        told = getattr(fact, fact.WhichOneof("fact") or "")
        for outcome in getattr(told, "calls", []):
            self.calls[outcome.call_id].phase = outcome.phase

    async def RegisterProviders(self, request: Any, context: Any) -> worker.RegisterProvidersResponse:
        """The catalogue."""
        self.catalogue = list(request.providers)
        await self._book(request)
        return worker.RegisterProvidersResponse()

    async def ClaimJobs(self, request: Any, context: Any) -> worker.ClaimJobsResponse:
        """Jobs that are due, and those that the tokens hold already."""
        for token in request.lease_tokens:
            if token not in self.held and self.due:
                job_id = self.due.pop(0)
                self.held[token] = job_id
                self.claims[job_id] = self.claims.get(job_id, 0) + 1
        await self._book(request)
        if self.lose_claims and any(token in self.held for token in request.lease_tokens):
            self.lose_claims -= 1
            raise _no(grpc.StatusCode.UNAVAILABLE)
        given = [self._claimed(token) for token in request.lease_tokens if token in self.held]
        return worker.ClaimJobsResponse(jobs=given)

    async def GetJobInput(self, request: Any, context: Any) -> AsyncIterator[worker.GetJobInputResponse]:
        """An input image that came as bytes, in two chunks."""
        await self._book(request)
        if self.held.get(request.lease.lease_token) != request.lease.job_id:
            raise _no(grpc.StatusCode.ABORTED, "LEASE_LOST")
        data = self.inputs[request.lease.job_id, request.index]
        half = len(data) // 2
        for chunk in (data[:half], data[half:]):
            yield worker.GetJobInputResponse(chunk=chunk)

    async def BeginProviderCall(self, request: Any, context: Any) -> worker.BeginProviderCallResponse:
        """Write a call down, or take an earlier one out again."""
        await self._book(request)
        if self.held.get(request.lease.lease_token) != request.lease.job_id:
            raise _no(grpc.StatusCode.ABORTED, "LEASE_LOST")
        call = self.calls.setdefault(
            request.resend_call_id or request.follow_call_id or request.call_id,
            job_pb2.ProviderCall(
                id=request.call_id,
                job_id=request.lease.job_id,
                provider=request.provider,
                model=request.model,
                phase=job_pb2.CALL_PHASE_INTENDED,
                image_indexes=request.image_indexes,
                idempotency_key=request.call_id,
            ),
        )
        return worker.BeginProviderCallResponse(call=call)

    async def RecordOperation(self, request: Any, context: Any) -> worker.RecordOperationResponse:
        """Write an operation down."""
        if (status := self.refuse.get("RecordOperation")) is not None:
            await self._book(request)
            raise _no(status)
        call = self.calls[request.call_id]
        call.phase, call.operation_id = job_pb2.CALL_PHASE_ACCEPTED, request.operation_id
        call.operation_state.update(request.operation_state)
        await self._book(request)
        return worker.RecordOperationResponse()

    async def RenewLeases(self, request: Any, context: Any) -> worker.RenewLeasesResponse:
        """Renewed while held; canceled when the job is gone altogether."""
        answers = []
        for lease in request.leases:
            outcome = worker.Renewal.OUTCOME_RENEWED
            if self.held.get(lease.lease_token) != lease.job_id:
                known = lease.job_id in self.jobs
                outcome = worker.Renewal.OUTCOME_LOST if known else worker.Renewal.OUTCOME_CANCELED
            answers.append(worker.Renewal(lease_token=lease.lease_token, outcome=outcome))
        settled = [
            worker.Renewal(lease_token=one, outcome=worker.Renewal.OUTCOME_RENEWED) for one in request.settlement_tokens
        ]
        await self._book(request)
        return worker.RenewLeasesResponse(renewals=answers, settlement_renewals=settled)

    async def ReleaseJob(self, request: Any, context: Any) -> worker.ReleaseJobResponse:
        """Take it back; it is due again when the test says so."""
        self.held.pop(request.lease.lease_token, None)
        for outcome in request.settled:
            self.calls[outcome.call_id].phase = outcome.phase
        self.released.append((request.lease.job_id, tuple(outcome.call_id for outcome in request.settled)))
        await self._book(request)
        return worker.ReleaseJobResponse()

    async def ClaimSettlements(self, request: Any, context: Any) -> worker.ClaimSettlementsResponse:
        """Open calls of final jobs."""
        given, self.settlements = self.settlements, []
        for settlement, token in zip(given, request.lease_tokens, strict=False):
            settlement.lease_token = token
        await self._book(request)
        return worker.ClaimSettlementsResponse(settlements=given)

    async def PostponeSettlement(self, request: Any, context: Any) -> worker.PostponeSettlementResponse:
        """Take a call back; it is due again when the test says so."""
        await self._book(request)
        return worker.PostponeSettlementResponse()

    async def ClaimDeletions(self, request: Any, context: Any) -> worker.ClaimDeletionsResponse:
        """Folders that are due."""
        given, self.deletions = self.deletions, []
        for deletion, token in zip(given, request.lease_tokens, strict=False):
            deletion.lease_token = token
        await self._book(request)
        return worker.ClaimDeletionsResponse(deletions=given)

    async def ClaimSweep(self, request: worker.ClaimSweepRequest, context: Any) -> worker.ClaimSweepResponse:
        """A page from the beginning, when the test wants one."""
        is_due, self.sweep_is_due = self.sweep_is_due, False
        await self._book(request)
        return worker.ClaimSweepResponse(is_due=is_due, most=3)

    async def ReportSweep(self, request: worker.ReportSweepRequest, context: Any) -> worker.ReportSweepResponse:
        """Take note of it."""
        await self._book(request)
        return worker.ReportSweepResponse()

    async def _book(self, request: Any) -> None:
        async with self._changed:
            self.asked.append(request)
            self._changed.notify_all()

    def _claimed(self, token: str) -> worker.ClaimedJob:
        job = self.jobs[self.held[token]]
        return worker.ClaimedJob(
            lease=worker.Lease(job_id=job.id, claim_number=self.claims[job.id], lease_token=token),
            lease_seconds=self.lease_seconds,
            job=job,
            calls=[call for call in self.calls.values() if call.job_id == job.id],
            traceparent=f"00-{TRACE_ID}-b7ad6b7169203331-01",
            max_processing_seconds=600,
            max_generating_seconds=600,
        )


def _no(status: grpc.StatusCode, reason: str = "UNAVAILABLE") -> ServiceError:
    return ServiceError(status=status, reason=reason, message="No.")


@asynccontextmanager
async def worker_service() -> AsyncIterator[FakeWorkerService]:
    """Serve it on a free port."""
    service = FakeWorkerService()
    served = Served(
        name="calotype.job.v1.WorkerService",
        add=worker_service_pb2_grpc.add_WorkerServiceServicer_to_server,
        servicer=service,
    )
    async with serve("127.0.0.1:0", [served], ready=Readiness(), grace_seconds=0) as port:
        service.address = f"127.0.0.1:{port}"
        yield service


def generator(folder: Path, settings: dict[str, str], *, storage_url: str, number: int) -> Child:
    """A process of generator-service; `settings` without their prefix."""
    own = {f"CALOTYPE_{name}": value for name, value in settings.items()}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("CALOTYPE_", "OTEL_"))}
    path = f"{ROOT}{os.pathsep}{ROOT / 'proto'}"
    told = {"STORAGE_EMULATOR_HOST": storage_url, "PYTHONPATH": path, "PAID_API_KEY": KEY}
    program = Program(
        name="generator",
        command=(sys.executable, "-m", "services.generator"),
        environment=inherited | own | told,
        log=folder / f"generator-{number}.log",
        is_ready=lambda: True,
    )
    return Child(program)
