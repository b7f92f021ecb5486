"""`/v1/models`: the catalogue of providers in OpenAI's format."""

from typing import Annotated

from fastapi import APIRouter, Path, Response

from gateway.api_docs import openapi
from gateway.dependencies import DependenciesOf, PrincipalOf, json_response
from gateway.openai_images import responses
from gateway.openai_images.schemas import ModelList, OpenAIModelView
from gateway.problems.problem import Problem
from gateway.problems.reasons import OpenAIReason

router = APIRouter(prefix="/v1/models", tags=["openai"])


@router.get(
    "",
    operation_id="listModels",
    summary="List models, as OpenAI's clients call it",
    description="Returns every provider by its name, and every model that it lists as `<provider>/<model>`.",
    response_model=ModelList,
    responses={200: openapi.success("Every value that `model` may have."), **openapi.openai_errors()},
)
async def list_models(deps: DependenciesOf, principal: PrincipalOf) -> Response:
    """Returns every provider by its name, and every model that it lists as `<provider>/<model>`."""
    return json_response(responses.models(await deps.jobs.providers(principal.tenant)))


@router.get(
    "/{model:path}",
    operation_id="getModel",
    summary="Get a model, as OpenAI's clients call it",
    description="Returns a provider, or a model of a provider.",
    response_model=OpenAIModelView,
    responses={200: openapi.success("The model exists."), **openapi.openai_errors(404)},
)
async def get_model(
    model: Annotated[str, Path(max_length=300)], deps: DependenciesOf, principal: PrincipalOf
) -> Response:
    """Returns a provider or one of its models; names of models may contain slashes."""
    view = responses.model(await deps.jobs.providers(principal.tenant), model)
    if view is None:
        raise Problem(
            reason=OpenAIReason.MODEL_NOT_FOUND, detail=f"There is no model {model!r}. GET /v1/models lists all models."
        )
    return json_response(view)
