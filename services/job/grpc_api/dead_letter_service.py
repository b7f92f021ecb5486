"""DeadLetterService: lists and replays dead letters, for operators."""

from hashlib import sha256
from typing import Any

from calotype.error_reasons import Reason
from calotype.ops.v1 import dead_letter_service_pb2 as dead
from calotype.ops.v1 import dead_letter_service_pb2_grpc
from google.protobuf.timestamp_pb2 import Timestamp

from common.consuming import DEAD_REASON, DEAD_SUBJECT, PARKED_REASON, PARKED_SUBJECT
from common.grpc_server import GrpcService
from common.jetstream import BrokerUnavailable, StoredMessage
from services.job.dead_letters import DeadLetters
from services.job.domain.refusals import Refusal, Violation
from services.job.grpc_api.status_codes import translate_errors
from services.job.grpc_api.validation import check_key

#: Dead letters of a page without `page_size`, and of the largest page.
PAGE_SIZE, LARGEST_PAGE = 20, 100
#: Begins the id of a parked fact, whose sequence may be that of a dead letter, too.
PARKED_ID = "parked-"


class DeadLetterService(dead_letter_service_pb2_grpc.DeadLetterServiceServicer):
    """Serves `calotype.ops.v1.DeadLetterService`."""

    def __init__(self, letters: DeadLetters) -> None:
        self._letters = letters

    def grpc_service(self) -> GrpcService:
        """This service, as a server offers it."""
        return GrpcService(
            name="calotype.ops.v1.DeadLetterService",
            add=dead_letter_service_pb2_grpc.add_DeadLetterServiceServicer_to_server,
            servicer=self,
        )

    async def ListDeadLetters(self, request: dead.ListDeadLettersRequest, context: Any) -> dead.ListDeadLettersResponse:
        """Returns a page of dead letters or parked facts, oldest first."""

        async def work() -> dead.ListDeadLettersResponse:
            first = _sequence(request.page_token, "page_token") if request.page_token else 1
            if request.page_size < 0:
                raise _invalid("page_size", f"1 to {LARGEST_PAGE}.")
            limit = min(request.page_size or PAGE_SIZE, LARGEST_PAGE)
            page = await self._letters.page(first=first, limit=limit, parked=request.parked)
            following = "" if page.next_sequence is None else str(page.next_sequence)
            return dead.ListDeadLettersResponse(
                dead_letters=[_letter(message, is_parked=request.parked) for message in page.messages],
                next_page_token=following,
            )

        return await translate_errors(lambda: _with_broker(work))

    async def ReplayDeadLetter(
        self, request: dead.ReplayDeadLetterRequest, context: Any
    ) -> dead.ReplayDeadLetterResponse:
        """Publishes a dead letter again."""

        async def work() -> dead.ReplayDeadLetterResponse:
            check_key(request.idempotency_key)
            if request.id.startswith(PARKED_ID):
                raise Refusal(Reason.NOT_FOUND, "A parked fact cannot be replayed; it is retried for a day.")
            sequence = _sequence(request.id, "id")
            replayed = await self._letters.replay(sequence, idempotency_key=request.idempotency_key)
            return dead.ReplayDeadLetterResponse(replayed=replayed)

        return await translate_errors(lambda: _with_broker(work))


async def _with_broker(work: Any) -> Any:
    try:
        return await work()
    except BrokerUnavailable as error:
        message = "The message broker is unavailable; try again."
        raise Refusal(Reason.SERVICE_UNAVAILABLE, message, retry_after_seconds=1) from error


def _sequence(written: str, field: str) -> int:
    if not written.isascii() or not written.isdigit() or not 0 < int(written[:19]) < 2**63 or len(written) > 19:
        raise _invalid(field, "Not a value of this service.")
    return int(written)


def _invalid(field: str, message: str) -> Refusal:
    return Refusal(Reason.INVALID_INPUT, f"{field}: {message}", violations=(Violation(field=field, message=message),))


def _letter(message: StoredMessage, *, is_parked: bool) -> dead.DeadLetter:
    died_at = Timestamp()
    died_at.FromDatetime(message.stored_at)
    return dead.DeadLetter(
        id=f"{PARKED_ID if is_parked else ''}{message.sequence}",
        died_at=died_at,
        reason=message.headers.get(DEAD_REASON) or message.headers.get(PARKED_REASON, ""),
        subject=message.headers.get(DEAD_SUBJECT) or message.headers.get(PARKED_SUBJECT, ""),
        type=message.headers.get("ce-type", ""),
        job_id=message.headers.get("ce-subject", ""),
        size_bytes=len(message.body),
        sha256=sha256(message.body).hexdigest(),
    )
