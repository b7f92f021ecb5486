"""What operators do; every other caller is refused."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from gateway.api_docs import openapi
from gateway.dependencies import DependenciesOf, JobId, OperatorOf, json_response
from gateway.requests.headers import IDEMPOTENCY_KEY, idempotency_key
from gateway.schemas.admin import AnyJobView, DeadLetterPage, ProviderUseList, QueueView, SpendPage
from gateway.views import admin
from gateway.views.attempts import attempt

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
    deps: DependenciesOf,
    operator: OperatorOf,
    page_size: Annotated[int, Query(ge=1, le=100)] = 20,
    page_token: Annotated[str, Query(max_length=100)] = "",
    parked: Annotated[
        bool, Query(description="Instead, messages that are tried again by themselves, and dead after a day.")
    ] = False,
) -> Response:
    """Messages that can never be taken as they are, with the reason."""
    page = await deps.operator.dead_letters(page_size=page_size, page_token=page_token, parked=parked)
    view = DeadLetterPage(
        dead_letters=[admin.dead_letter(one) for one in page.dead_letters],
        next_page_token=page.next_page_token or None,
    )
    return json_response(view)


@router.post(
    "/dead/{letter_id}/replay",
    operation_id="replayDeadLetter",
    summary="Replay a dead letter",
    status_code=204,
    response_model=None,
    responses={204: openapi.success("It was published again."), **openapi.problems(404, 422)},
    openapi_extra={"parameters": [openapi.IDEMPOTENCY_KEY]},
)
async def replay_dead_letter(
    letter_id: Annotated[str, Path(max_length=100)], request: Request, deps: DependenciesOf, operator: OperatorOf
) -> Response:
    """Publish a message again as it was, once what refused it is mended."""
    key = idempotency_key(request) if IDEMPOTENCY_KEY in request.headers else ""
    replayed = await deps.operator.replay(letter_id, key=key)
    return Response(status_code=204, headers={"Idempotency-Replayed": "true"} if replayed else None)


@router.get(
    "/queue",
    operation_id="getQueue",
    summary="See what is under way",
    response_model=QueueView,
    responses={
        200: openapi.success("Jobs that are not final, and what is left to do for those that are."),
        **openapi.problems(),
    },
)
async def get_queue(deps: DependenciesOf, operator: OperatorOf) -> Response:
    """How many jobs wait or are worked on, of whom, and since when."""
    return json_response(admin.queue(await deps.operator.queue()))


@router.get(
    "/providers",
    operation_id="listProviderUse",
    summary="See what is in use of each provider",
    response_model=ProviderUseList,
    responses={
        200: openapi.success("Every provider, its health and what is in use of its limits."),
        **openapi.problems(),
    },
)
async def list_provider_use(deps: DependenciesOf, operator: OperatorOf) -> Response:
    """The catalogue with places taken and calls of the last minute."""
    found = await deps.operator.provider_use()
    return json_response(ProviderUseList(providers=[admin.provider_use(one) for one in found]))


@router.get(
    "/jobs/{job_id}",
    operation_id="getAnyJob",
    summary="See a job of any tenant",
    response_model=AnyJobView,
    responses={200: openapi.success("The job, whose it is, and what was tried."), **openapi.problems(404)},
)
async def get_any_job(job_id: JobId, request: Request, deps: DependenciesOf, operator: OperatorOf) -> Response:
    """A job with its attempts, and with the words of vendors, which its tenant is not told."""
    found, render = await deps.operator.job(job_id), deps.renderer(request, operator)
    view = AnyJobView(
        tenant=found.tenant, job=render.job(found.job), attempts=[attempt(one, render) for one in found.attempts]
    )
    return json_response(view)


@router.get(
    "/spend",
    operation_id="listSpend",
    summary="See what tenants have spent of their budgets",
    response_model=SpendPage,
    responses={200: openapi.success("Tenants that have a budget, by name."), **openapi.problems(422)},
)
async def list_spend(
    deps: DependenciesOf,
    operator: OperatorOf,
    page_size: Annotated[int, Query(ge=1, le=100)] = 20,
    page_token: Annotated[str, Query(max_length=100)] = "",
) -> Response:
    """The budget of each tenant that has one, and what is spent and reserved of it today and this month."""
    page = await deps.operator.spend(page_size=page_size, page_token=page_token)
    view = SpendPage(tenants=[admin.spend(one) for one in page.tenants], next_page_token=page.next_page_token or None)
    return json_response(view)
