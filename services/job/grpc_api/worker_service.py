"""WorkerService: claims, provider calls and cleanup, for generators and uploaders."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar
from uuid import UUID

from calotype.error_reasons import Reason
from calotype.job.v1 import worker_service_pb2, worker_service_pb2_grpc
from calotype.size_limits import INPUT_CHUNK_BYTES

from common.grpc_server import GrpcService
from common.postgres import Database
from common.sql import Connection
from services.job.application import bucket_sweep, call_tokens, claim_release, claims, provider_calls, provider_limits
from services.job.domain.calls import CallOutcome, CallPhase
from services.job.domain.refusals import Refusal
from services.job.domain.timeouts import StageTimeouts
from services.job.grpc_api.grouped_calls import GroupedCalls
from services.job.grpc_api.status_codes import translate_errors
from services.job.loops.outbox_relay import OutboxRelay
from services.job.messages import from_protobuf, to_protobuf
from services.job.store import deletions, inputs, jobs, settlements
from services.job.store.pools import Pool

Context = Any
T = TypeVar("T")
BUCKETS = {worker_service_pb2.BUCKET_STAGING: "staging", worker_service_pb2.BUCKET_PUBLIC: "public"}


class WorkerService(worker_service_pb2_grpc.WorkerServiceServicer):
    """Serves `calotype.job.v1.WorkerService`."""

    def __init__(self, database: Database, relay: OutboxRelay, limits: StageTimeouts) -> None:
        self._database = database
        self._relay = relay
        self._limits = limits
        self._calls = GroupedCalls(database)

    def grpc_service(self) -> GrpcService:
        """This service, as a server offers it."""
        return GrpcService(
            name="calotype.job.v1.WorkerService",
            add=worker_service_pb2_grpc.add_WorkerServiceServicer_to_server,
            servicer=self,
        )

    async def RegisterProviders(
        self, request: worker_service_pb2.RegisterProvidersRequest, context: Context
    ) -> worker_service_pb2.RegisterProvidersResponse:
        """Replaces what the worker offers."""
        offered = [from_protobuf.provider(provider) for provider in request.providers]
        await self._run(
            lambda connection: provider_limits.register(
                connection, request.worker, offered, is_starting=request.is_starting
            )
        )
        return worker_service_pb2.RegisterProvidersResponse()

    async def ClaimJobs(
        self, request: worker_service_pb2.ClaimJobsRequest, context: Context
    ) -> worker_service_pb2.ClaimJobsResponse:
        """Claims due jobs; a repetition with the same tokens returns the same jobs."""

        def work(connection: Connection) -> list[claims.Claimed]:
            tokens = _tokens(request.lease_tokens)
            return claims.claim_jobs(
                connection,
                worker=request.worker,
                tokens=tokens,
                providers=list(request.providers),
                limits=self._limits,
            )

        claimed = await self._run(work, pool=Pool.CLAIMS)
        return worker_service_pb2.ClaimJobsResponse(
            jobs=[to_protobuf.claimed_job(job, self._limits) for job in claimed]
        )

    async def ClaimUploads(
        self, request: worker_service_pb2.ClaimUploadsRequest, context: Context
    ) -> worker_service_pb2.ClaimUploadsResponse:
        """Claims jobs whose images are to be copied; a repetition with the same tokens returns the same jobs."""

        def work(connection: Connection) -> list[claims.Claimed]:
            tokens = _tokens(request.lease_tokens)
            return claims.claim_uploads(connection, worker=request.worker, tokens=tokens, limits=self._limits)

        claimed = await self._run(work)
        return worker_service_pb2.ClaimUploadsResponse(
            uploads=[to_protobuf.claimed_upload(job, self._limits) for job in claimed]
        )

    async def ClaimSettlements(
        self, request: worker_service_pb2.ClaimSettlementsRequest, context: Context
    ) -> worker_service_pb2.ClaimSettlementsResponse:
        """Claims open calls of final jobs."""

        def work(connection: Connection) -> list[tuple[settlements.Settlement, bytes]]:
            tokens = _tokens(request.lease_tokens[: claims.MAX_TOKENS])
            held = settlements.claim(
                connection,
                worker=request.worker,
                tokens=tokens,
                providers=list(request.providers),
                seconds=self._limits.lease_seconds,
            )
            if not held:
                return []
            by_call = call_tokens.read(connection)
            return [
                (open_call, by_call.of(job_id=open_call.call.job_id, call_id=open_call.call.id)) for open_call in held
            ]

        claimed = await self._run(work)
        return worker_service_pb2.ClaimSettlementsResponse(
            settlements=[to_protobuf.settlement(held, self._limits, token=token) for held, token in claimed]
        )

    async def PostponeSettlement(
        self, request: worker_service_pb2.PostponeSettlementRequest, context: Context
    ) -> worker_service_pb2.PostponeSettlementResponse:
        """Releases an open call until its next poll."""

        def work(connection: Connection) -> bool:
            token = from_protobuf.token(request.lease_token, "lease_token")
            outcome = from_protobuf.provider_cancel(request.provider_cancel)
            return settlements.postpone(connection, token, cancel_outcome=outcome, pause=request.shortest_pause_seconds)

        await self._run(work)
        return worker_service_pb2.PostponeSettlementResponse()

    async def ClaimDeletions(
        self, request: worker_service_pb2.ClaimDeletionsRequest, context: Context
    ) -> worker_service_pb2.ClaimDeletionsResponse:
        """Records folders that were emptied, and claims others."""

        def work(connection: Connection) -> list[deletions.Deletion]:
            tokens = _tokens(request.lease_tokens[: claims.MAX_TOKENS])
            emptied = request.emptied[: claims.MAX_TOKENS]
            deletions.note_empty(
                connection, [(folder.id, from_protobuf.token(folder.lease_token)) for folder in emptied]
            )
            bucket = BUCKETS.get(request.bucket, "staging")
            return deletions.claim(connection, bucket=bucket, tokens=tokens, limits=self._limits)

        found = await self._run(work)
        return worker_service_pb2.ClaimDeletionsResponse(deletions=[to_protobuf.deletion(folder) for folder in found])

    async def ClaimSweep(
        self, request: worker_service_pb2.ClaimSweepRequest, context: Context
    ) -> worker_service_pb2.ClaimSweepResponse:
        """Claims the next page of a bucket's sweep."""

        def work(connection: Connection) -> str | None:
            return bucket_sweep.claim_page(
                connection, _bucket(request.bucket), from_protobuf.token(request.lease_token)
            )

        after = await self._run(work)
        return worker_service_pb2.ClaimSweepResponse(
            is_due=after is not None, after=after or "", most=bucket_sweep.PAGE
        )

    async def ReportSweep(
        self, request: worker_service_pb2.ReportSweepRequest, context: Context
    ) -> worker_service_pb2.ReportSweepResponse:
        """Compares a page of a bucket with the database."""

        def work(connection: Connection) -> bucket_sweep.SweepResult:
            token = from_protobuf.token(request.lease_token)
            names = list(request.names)
            return bucket_sweep.compare(connection, _bucket(request.bucket), token, names=names, is_end=request.is_end)

        result = await self._run(work)
        return worker_service_pb2.ReportSweepResponse(to_go=result.to_delete, missing=result.missing)

    async def GetJobInput(
        self, request: worker_service_pb2.GetJobInputRequest, context: Context
    ) -> AsyncIterator[worker_service_pb2.GetJobInputResponse]:
        """Streams the bytes of an input image of a held job."""

        def work(connection: Connection) -> bytes:
            fence = from_protobuf.fence(request.lease)
            job = jobs.get(connection, fence.job_id)
            if job is None or not job.is_held_by(fence):
                raise Refusal(Reason.LEASE_LOST, f"The lease on {fence.job_id[:80]} is no longer held.")
            data = inputs.get(connection, fence.job_id, request.index)
            if data is None:
                raise Refusal(Reason.INVALID_INPUT, f"Job {fence.job_id} has no input image {request.index}.")
            return data

        data = await self._run(work, pool=Pool.INPUTS)
        for start in range(0, len(data), INPUT_CHUNK_BYTES):
            yield worker_service_pb2.GetJobInputResponse(chunk=data[start : start + INPUT_CHUNK_BYTES])

    async def BeginProviderCall(
        self, request: worker_service_pb2.BeginProviderCallRequest, context: Context
    ) -> worker_service_pb2.BeginProviderCallResponse:
        """Records a provider call before it is sent."""

        begun = await translate_errors(lambda: self._calls.begin_requested(request))
        self._relay.wake()
        if begun.frees_slot:
            await self._relay.wake_generators()
        return worker_service_pb2.BeginProviderCallResponse(call=to_protobuf.call(begun.call), call_token=begun.token)

    async def RecordOperation(
        self, request: worker_service_pb2.RecordOperationRequest, context: Context
    ) -> worker_service_pb2.RecordOperationResponse:
        """Records the provider's operation id of a call."""
        await self._run(
            lambda connection: provider_calls.record_operation(
                connection,
                request.call_id,
                operation_id=request.operation_id,
                state=dict(request.operation_state),
                token=request.call_token,
            )
        )
        return worker_service_pb2.RecordOperationResponse()

    async def RenewLeases(
        self, request: worker_service_pb2.RenewLeasesRequest, context: Context
    ) -> worker_service_pb2.RenewLeasesResponse:
        """Renews leases and settlements; returns which were lost or canceled."""

        def work(connection: Connection) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
            fences = [from_protobuf.fence(lease) for lease in request.leases]
            tokens = _tokens(request.settlement_tokens, field="settlement_tokens")
            return (
                claims.renew_leases(connection, fences, limits=self._limits),
                claims.renew_settlements(connection, tokens, limits=self._limits),
            )

        leases, settled = await self._run(work)
        return worker_service_pb2.RenewLeasesResponse(
            renewals=[to_protobuf.renewal(token, outcome, self._limits) for token, outcome in leases],
            settlement_renewals=[to_protobuf.renewal(token, outcome, self._limits) for token, outcome in settled],
        )

    async def ReleaseJob(
        self, request: worker_service_pb2.ReleaseJobRequest, context: Context
    ) -> worker_service_pb2.ReleaseJobResponse:
        """Releases a job before its stage ended."""

        def work(connection: Connection) -> bool:
            report = from_protobuf.worker_report(request, now=jobs.clock(connection))
            unsent = tuple(
                CallOutcome(call_id=call_id, phase=CallPhase.NOT_SENT) for call_id in request.not_sent_call_ids
            )
            return claim_release.release_job(
                connection, from_protobuf.fence(request.lease), replace(report, calls=report.calls + unsent)
            )

        if await self._run(work):
            await self._relay.wake_generators()
        return worker_service_pb2.ReleaseJobResponse()

    async def _run(self, work: Callable[[Connection], T], *, pool: Pool = Pool.LEASES) -> T:
        result = await translate_errors(lambda: self._database.run(work, pool=pool))
        self._relay.wake()
        return result


def _tokens(tokens: Sequence[str], *, field: str = "lease_tokens") -> list[UUID]:
    return [from_protobuf.token(token, field) for token in tokens]


def _bucket(number: worker_service_pb2.Bucket.ValueType) -> str:
    if number not in BUCKETS:
        raise Refusal(Reason.INVALID_INPUT, "bucket: must be staging or public.")
    return BUCKETS[number]
