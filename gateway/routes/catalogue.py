"""What a frontend may look up: providers, and the states that it can show."""

from fastapi import APIRouter, Request, Response

from gateway.api_docs import openapi
from gateway.dependencies import CallerOf, PartsOf, answer
from gateway.schemas.catalogue import ProviderList, UiStateList
from gateway.views import locales
from gateway.views.providers import provider

router = APIRouter(prefix="/v1", tags=["catalogue"])


@router.get(
    "/providers",
    operation_id="listProviders",
    summary="List providers",
    response_model=ProviderList,
    responses={200: openapi.success("Every provider and what it can do."), **openapi.problems()},
)
async def list_providers(parts: PartsOf, caller: CallerOf) -> Response:
    """Every provider that jobs of this tenant may name."""
    return answer(ProviderList(providers=[provider(one) for one in await parts.jobs.providers(caller.tenant)]))


@router.get(
    "/ui-states",
    operation_id="listUiStates",
    summary="List what a frontend can show",
    response_model=UiStateList,
    responses={
        200: openapi.success("Every state."),
        **openapi.problems(),
    },
)
async def list_ui_states(request: Request, caller: CallerOf) -> Response:
    """Every state that `display` of a job can be in; the first whose condition holds is shown."""
    return answer(UiStateList(states=list(locales.states(locales.locale_of(request)))))
