"""`/v1/providers` and `/v1/ui-states`: what a frontend can offer and show."""

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
    description="Returns every provider that jobs of this tenant may name, with what it supports and its health.",
    response_model=ProviderList,
    responses={200: openapi.success("The providers."), **openapi.problems()},
)
async def list_providers(deps: DependenciesOf, principal: PrincipalOf) -> Response:
    """Returns every provider that jobs of this tenant may use."""
    providers = await deps.jobs.providers(principal.tenant)
    return json_response(ProviderList(providers=[provider(message) for message in providers]))


@router.get(
    "/ui-states",
    operation_id="listUiStates",
    summary="List the states that a frontend shows",
    description="Returns every state that `display` of a job can have, in order; the first one whose condition holds "
    "is shown. Texts are in the language of `Accept-Language`.",
    response_model=UiStateList,
    responses={
        200: openapi.success("The states."),
        **openapi.problems(),
    },
)
async def list_ui_states(request: Request, principal: PrincipalOf) -> Response:
    """Returns every state that the `display` of a job can have; the first whose condition holds is shown."""
    return json_response(UiStateList(states=list(locales.states(locales.locale_of(request)))))
