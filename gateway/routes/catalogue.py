"""What a frontend may look up: providers, and the states that it can show."""

from fastapi import APIRouter, Request, Response

from gateway.api_docs import openapi
from gateway.dependencies import DependenciesOf, PrincipalOf, json_response
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
async def list_providers(deps: DependenciesOf, principal: PrincipalOf) -> Response:
    """Every provider that jobs of this tenant may name."""
    return json_response(ProviderList(providers=[provider(one) for one in await deps.jobs.providers(principal.tenant)]))


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
async def list_ui_states(request: Request, principal: PrincipalOf) -> Response:
    """Every state that `display` of a job can be in; the first whose condition holds is shown."""
    return json_response(UiStateList(states=list(locales.states(locales.locale_of(request)))))
