"""`/v1/admin`: calls for operators; other keys are refused."""

from typing import Annotated

from calotype.notifier.v1 import webhook_service_pb2 as notifier
from fastapi import APIRouter, Path, Query, Request, Response

from gateway.api_docs import openapi
from gateway.dependencies import Dependencies, DependenciesOf, JobId, OperatorOf, json_response
from gateway.problems.problem import Problem
from gateway.requests.headers import IDEMPOTENCY_KEY, idempotency_key
from gateway.schemas.admin import DeadLetterPage, ProviderUseList, QueueView, SpendPage
from gateway.schemas.any_job import AnyJobView
from gateway.views import admin
from gateway.views.any_job import MAX_DELIVERIES, any_job

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
    description="Returns all that is known of the job: what is wrong or what it waits for, its attempts with their "
    "provider calls and the providers' own error messages, its lease, its changes, and the deliveries of its events. "
    "If the notifier does not respond, `deliveries.available` is false and the rest is complete.",
    response_model=AnyJobView,
    responses={200: openapi.success("All that is known of the job."), **openapi.problems(404, 422)},
)
async def get_any_job(
    job_id: JobId,
    request: Request,
    deps: DependenciesOf,
    operator: OperatorOf,
    events_before: Annotated[
        int, Query(ge=0, lt=2**63, description="Return changes before this sequence; 0: the newest ones.")
    ] = 0,
) -> Response:
    """Returns a job with its attempts, changes and deliveries, which also say what tenants do not see."""
    response = await deps.operator.job(job_id, events_before=events_before)
    deliveries = await _deliveries(deps, response.tenant, job_id)
    view = any_job(response, deliveries, deps.renderer(request, operator), board_url=deps.board_url)
    return json_response(view)


async def _deliveries(deps: Dependencies, tenant: str, job_id: str) -> notifier.ListDeliveriesResponse | Problem:
    request = notifier.ListDeliveriesRequest(tenant=tenant, job_id=job_id, page_size=MAX_DELIVERIES)
    try:
        return await deps.webhooks.deliveries(request)
    except Problem as problem:
        # The notifier's outage must not hide the job.
        return problem


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
