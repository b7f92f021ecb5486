"""The uploader as a process, and job-service as it sees it: real gRPC, work that the test hands out."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
from calotype.artifact.v1 import artifact_pb2
from calotype.job.v1 import worker_service_pb2 as worker
from calotype.job.v1 import worker_service_pb2_grpc

from cli.stack.child import Child, Program
from common.errors import ServiceError
from common.grpc_server import Served, serve
from common.health import Readiness
from tests.support.patience import PATIENCE

ROOT = Path(__file__).parents[2]
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
Image = artifact_pb2.ImageArtifact


class FakeWorkerService(worker_service_pb2_grpc.WorkerServiceServicer):
    """Hands out uploads and deletions; a claim under a token that holds a job gives that job again."""

    def __init__(self) -> None:
        self.address = ""
        self.due: list[str] = []
        self.images: dict[str, list[Image]] = {}
        self.claims: dict[str, int] = {}
        self.held: dict[str, str] = {}
        self.released: list[str] = []
        self.deletions: list[worker.Deletion] = []
        self.sweep_is_due = False
        self.asked: list[Any] = []
        self.lose_answers = 0
        self._changed = asyncio.Condition()

    def add(self, job_id: str, images: list[Image]) -> None:
        """A job whose images are staged."""
        self.images[job_id] = images
        self.due.append(job_id)

    def rescue(self, job_id: str) -> None:
        """Its lease ran out, and the monitor saw it."""
        self.held = {token: job for token, job in self.held.items() if job != job_id}
        self.due.append(job_id)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something that a request brings about."""
        async with self._changed, asyncio.timeout(PATIENCE):
            await self._changed.wait_for(condition)

    async def ClaimUploads(self, request: worker.ClaimUploadsRequest, context: Any) -> worker.ClaimUploadsResponse:
        """Jobs that are due, and those that the tokens hold already."""
        for token in request.lease_tokens:
            if token not in self.held and self.due:
                job_id = self.due.pop(0)
                self.held[token] = job_id
                self.claims[job_id] = self.claims.get(job_id, 0) + 1
        await self._book(request)
        if self.lose_answers and any(token in self.held for token in request.lease_tokens):
            self.lose_answers -= 1
            raise ServiceError(status=grpc.StatusCode.UNAVAILABLE, reason="UNAVAILABLE", message="Gone.")
        given = [self._upload(token) for token in request.lease_tokens if token in self.held]
        return worker.ClaimUploadsResponse(uploads=given)

    async def RenewLeases(self, request: worker.RenewLeasesRequest, context: Any) -> worker.RenewLeasesResponse:
        """Renewed while held; canceled when the job is gone altogether."""
        answers = []
        for lease in request.leases:
            outcome = worker.Renewal.OUTCOME_RENEWED
            if self.held.get(lease.lease_token) != lease.job_id:
                known = lease.job_id in self.images
                outcome = worker.Renewal.OUTCOME_LOST if known else worker.Renewal.OUTCOME_CANCELED
            answers.append(worker.Renewal(lease_token=lease.lease_token, outcome=outcome, lease_seconds=3))
        await self._book(request)
        return worker.RenewLeasesResponse(renewals=answers)

    async def ReleaseJob(self, request: worker.ReleaseJobRequest, context: Any) -> worker.ReleaseJobResponse:
        """Take it back."""
        self.released.append(request.lease.job_id)
        await self._book(request)
        return worker.ReleaseJobResponse()

    async def ClaimDeletions(
        self, request: worker.ClaimDeletionsRequest, context: Any
    ) -> worker.ClaimDeletionsResponse:
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

    def cancel(self, job_id: str) -> None:
        """A user canceled the job."""
        del self.images[job_id]
        self.held = {token: job for token, job in self.held.items() if job != job_id}

    def asked_for(self, kind: type[Any]) -> list[Any]:
        """Requests of a kind, in their order."""
        return [one for one in self.asked if isinstance(one, kind)]

    async def _book(self, request: Any) -> None:
        async with self._changed:
            self.asked.append(request)
            self._changed.notify_all()

    def _upload(self, token: str) -> worker.ClaimedUpload:
        job_id = self.held[token]
        return worker.ClaimedUpload(
            lease=worker.Lease(job_id=job_id, claim_number=self.claims[job_id], lease_token=token),
            lease_seconds=3,
            images=self.images[job_id],
            traceparent=f"00-{TRACE_ID}-b7ad6b7169203331-01",
            max_uploading_seconds=120,
        )


@asynccontextmanager
async def worker_service() -> AsyncIterator[FakeWorkerService]:
    """Serve it on a free port."""
    service = FakeWorkerService()  # type: ignore[abstract]  # the rest is answered UNIMPLEMENTED
    served = Served(
        name="calotype.job.v1.WorkerService",
        add=worker_service_pb2_grpc.add_WorkerServiceServicer_to_server,
        servicer=service,
    )
    ready = Readiness()
    async with serve("127.0.0.1:0", [served], ready=ready, grace_seconds=0) as port:
        service.address = f"127.0.0.1:{port}"
        yield service


def uploader(folder: Path, settings: dict[str, str], *, storage_url: str, number: int) -> Child:
    """A process of uploader-service; `settings` without their prefix."""
    own = {f"CALOTYPE_{name}": value for name, value in settings.items()}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("CALOTYPE_", "OTEL_"))}
    path = f"{ROOT}{os.pathsep}{ROOT / 'proto'}"
    program = Program(
        name="uploader",
        command=(sys.executable, "-m", "services.uploader"),
        environment=inherited | own | {"STORAGE_EMULATOR_HOST": storage_url, "PYTHONPATH": path},
        log=folder / f"uploader-{number}.log",
        is_ready=lambda: True,
    )
    return Child(program)
