"""`/v1/admin`: calls for operators; other keys are refused."""

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
    description="Returns a page of messages that job-service could not apply, with the reason, oldest first.",
    response_model=DeadLetterPage,
    responses={
        200: openapi.success("A page of dead letters."),
        **openapi.problems(422),
    },
)
async def list_dead_letters(
    deps: DependenciesOf,
    operator: OperatorOf,
    page_size: Annotated[int, Query(ge=1, le=100)] = 20,
    page_token: Annotated[str, Query(max_length=100)] = "",
    parked: Annotated[
        bool, Query(description="True: list messages that are still tried again, for a day, instead of dead letters.")
    ] = False,
) -> Response:
    """Lists the messages that job-service can never apply, with the reason of each."""
    page = await deps.operator.dead_letters(page_size=page_size, page_token=page_token, parked=parked)
    view = DeadLetterPage(
        dead_letters=[admin.dead_letter(letter) for letter in page.dead_letters],
        next_page_token=page.next_page_token or None,
    )
    return json_response(view)


@router.post(
    "/dead/{letter_id}/replay",
    operation_id="replayDeadLetter",
    summary="Replay a dead letter",
    description="Publishes the message again, unchanged, after the cause of its refusal was removed.",
    status_code=204,
    response_model=None,
    responses={
        204: openapi.success("The message was published again.", headers=("Idempotency-Replayed",)),
        **openapi.problems(404, 422),
    },
    openapi_extra={"parameters": [openapi.IDEMPOTENCY_KEY]},
)
async def replay_dead_letter(
    letter_id: Annotated[str, Path(max_length=100)], request: Request, deps: DependenciesOf, operator: OperatorOf
) -> Response:
    """Publishes a dead letter again, unchanged. Use it after the cause has been fixed."""
    key = idempotency_key(request) if IDEMPOTENCY_KEY in request.headers else ""
    replayed = await deps.operator.replay(letter_id, key=key)
    return Response(status_code=204, headers={"Idempotency-Replayed": "true"} if replayed else None)


@router.get(
    "/queue",
    operation_id="getQueue",
    summary="Get the queue",
    description="Returns how many jobs wait or are in progress, for which tenants and since when.",
    response_model=QueueView,
    responses={
        200: openapi.success("Jobs that are not final, and what is left to do for jobs that are."),
        **openapi.problems(),
    },
)
async def get_queue(deps: DependenciesOf, operator: OperatorOf) -> Response:
    """Returns how many jobs wait or are in progress, by tenant, and since when the oldest one waits."""
    return json_response(admin.queue(await deps.operator.queue()))


@router.get(
    "/providers",
    operation_id="listProviderUse",
    summary="List the use of provider limits",
    description="Returns every provider with its health, its calls in progress and its calls of the last minute.",
    response_model=ProviderUseList,
    responses={
        200: openapi.success("Every provider and the use of its limits."),
        **openapi.problems(),
    },
)
async def list_provider_use(deps: DependenciesOf, operator: OperatorOf) -> Response:
    """Returns each provider with its calls in progress and in the last minute."""
    providers = await deps.operator.provider_use()
    return json_response(ProviderUseList(providers=[admin.provider_use(provider) for provider in providers]))


@router.get(
    "/jobs/{job_id}",
    operation_id="getAnyJob",
    summary="Get a job of any tenant",
    description="Returns the job, its tenant and its attempts, with the providers' own error messages.",
    response_model=AnyJobView,
    responses={200: openapi.success("The job, its tenant and its attempts."), **openapi.problems(404)},
)
async def get_any_job(job_id: JobId, request: Request, deps: DependenciesOf, operator: OperatorOf) -> Response:
    """Returns a job with its attempts and with the providers' error messages, which tenants do not see."""
    response, render = await deps.operator.job(job_id), deps.renderer(request, operator)
    view = AnyJobView(
        tenant=response.tenant,
        job=render.job(response.job),
        attempts=[attempt(message, render) for message in response.attempts],
    )
    return json_response(view)


@router.get(
    "/spend",
    operation_id="listSpend",
    summary="List the spend of tenants",
    description="Returns the tenants that have a budget, with what is spent and reserved today and this month (UTC).",
    response_model=SpendPage,
    responses={200: openapi.success("A page of tenants, by name."), **openapi.problems(422)},
)
async def list_spend(
    deps: DependenciesOf,
    operator: OperatorOf,
    page_size: Annotated[int, Query(ge=1, le=100)] = 20,
    page_token: Annotated[str, Query(max_length=100)] = "",
) -> Response:
    """Returns each tenant's budget, and what it has spent and reserved today and this month (UTC)."""
    page = await deps.operator.spend(page_size=page_size, page_token=page_token)
    view = SpendPage(
        tenants=[admin.spend(tenant) for tenant in page.tenants], next_page_token=page.next_page_token or None
    )
    return json_response(view)
