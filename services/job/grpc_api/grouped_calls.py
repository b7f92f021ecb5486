"""Provider calls that are begun while another one of their provider is being committed share the next transaction.

A new call counts those before it against the limits of its provider, whose calls therefore begin one after the other.
"""

from collections.abc import Sequence

from calotype.error_reasons import Reason
from calotype.job.v1 import worker_service_pb2

from common.ids import parse, prefixed
from common.postgres import Database
from common.sql import Connection
from services.job.application.call_groups import Outcome, begin_provider_calls
from services.job.application.new_calls import BegunCall, CallRequest
from services.job.application.provider_calls import begin_provider_call, follow_provider_call, resend_provider_call
from services.job.domain.calls import WorkerReport
from services.job.domain.jobs import Fence
from services.job.domain.refusals import Refusal
from services.job.grpc_api.grouping import GroupedRequests
from services.job.messages import from_protobuf
from services.job.store import jobs
from services.job.store.pools import Pool


class GroupedCalls:
    """Begins provider calls, each with the outcome that it would have alone."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._groups = GroupedRequests(alone=self._begin, together=self._begin_all, first=self._begin_first)

    async def begin_requested(self, request: worker_service_pb2.BeginProviderCallRequest) -> BegunCall:
        """Returns the call of a worker's request, which may be an earlier one. Also raises `Refusal` INVALID_INPUT."""
        fence = from_protobuf.fence(request.lease)
        if request.settled or request.staged or request.resend_call_id or request.follow_call_id:
            # A refusal undoes what a report has written.
            return await self._database.run(
                lambda connection: _begin_with_report(connection, fence, request), pool=Pool.LEASES
            )
        return await self.begin(_purchase(fence, request, WorkerReport()))

    async def begin(self, request: CallRequest) -> BegunCall:
        """Returns the recorded call of a request without a report.

        Raises what `begin_provider_call` and `Database.run` raise.
        """
        return await self._groups.commit(request.provider, request)

    async def _begin(self, request: CallRequest) -> BegunCall:
        return await self._database.run(lambda connection: begin_provider_call(connection, request), pool=Pool.LEASES)

    async def _begin_first(self, request: CallRequest) -> Outcome:
        [outcome] = await self._begin_all([request])
        return outcome

    async def _begin_all(self, requests: Sequence[CallRequest]) -> list[Outcome]:
        return await self._database.run(lambda connection: begin_provider_calls(connection, requests), pool=Pool.LEASES)


def _begin_with_report(
    connection: Connection, fence: Fence, request: worker_service_pb2.BeginProviderCallRequest
) -> BegunCall:
    report, shows = from_protobuf.worker_report(request, now=jobs.clock(connection)), request.shows_call_tokens
    if earlier := request.resend_call_id:
        return resend_provider_call(connection, fence, earlier, report, shows_tokens=shows)
    if earlier := request.follow_call_id:
        return follow_provider_call(connection, fence, earlier, report, shows_tokens=shows)
    return begin_provider_call(connection, _purchase(fence, request, report))


def _purchase(fence: Fence, request: worker_service_pb2.BeginProviderCallRequest, report: WorkerReport) -> CallRequest:
    return CallRequest(
        fence=fence,
        call_id=_call_id(request.call_id),
        provider=request.provider,
        model=request.model,
        image_indexes=tuple(request.image_indexes),
        request_digest=request.request_digest,
        report=report,
        shows_tokens=request.shows_call_tokens,
    )


def _call_id(call_id: str) -> str:
    try:
        return prefixed("call", parse("call", call_id))
    except ValueError as error:
        raise Refusal(Reason.INVALID_INPUT, "call_id: must be call_ and 32 hex digits.") from error
