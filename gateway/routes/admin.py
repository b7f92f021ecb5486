"""What operators do; every other caller is refused."""

from typing import Annotated

from calotype.ops.v1 import dead_letter_service_pb2
from fastapi import APIRouter, Path, Query, Response

from gateway import openapi
from gateway.protobuf import sure_moment
from gateway.routes.parts import OperatorOf, PartsOf, answer
from gateway.schemas.admin import DeadLetterPage, DeadLetterView

router = APIRouter(prefix="/v1/admin", tags=["admin"])


@router.get(
    "/dead",
    operation_id="listDeadLetters",
    summary="List dead letters",
    response_model=DeadLetterPage,
    responses={
        200: openapi.success("Messages that were refused for good, oldest first."),
        **openapi.problems(422),
    },
)
async def list_dead_letters(
    parts: PartsOf,
    operator: OperatorOf,
    page_size: Annotated[int, Query(ge=1, le=100)] = 20,
    page_token: Annotated[str, Query(max_length=100)] = "",
) -> Response:
    """Messages that can never be taken as they are, with the reason."""
    page = await parts.dead_letters.page(page_size=page_size, page_token=page_token)
    view = DeadLetterPage(
        dead_letters=[_view(one) for one in page.dead_letters], next_page_token=page.next_page_token or None
    )
    return answer(view)


@router.post(
    "/dead/{letter_id}/replay",
    operation_id="replayDeadLetter",
    summary="Replay a dead letter",
    status_code=204,
    response_model=None,
    responses={204: openapi.success("It was published again."), **openapi.problems(404, 422)},
)
async def replay_dead_letter(
    letter_id: Annotated[str, Path(max_length=100)], parts: PartsOf, operator: OperatorOf
) -> Response:
    """Publish a message again as it was, once what refused it is mended."""
    await parts.dead_letters.replay(letter_id)
    return Response(status_code=204)


def _view(one: dead_letter_service_pb2.DeadLetter) -> DeadLetterView:
    return DeadLetterView(
        id=one.id,
        died_at=sure_moment(one, "died_at"),
        reason=one.reason,
        subject=one.subject,
        type=one.type or None,
        job_id=one.job_id or None,
        size_bytes=one.size_bytes,
        sha256=one.sha256,
    )
