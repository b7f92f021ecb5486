"""`/v1/models`: the catalogue as OpenAI's clients read it."""

from typing import Annotated

from fastapi import APIRouter, Path, Response

from gateway.api_docs import openapi
from gateway.dependencies import DependenciesOf, PrincipalOf, json_response
from gateway.openai_images import answers, errors
from gateway.openai_images.schemas import ModelList, OpenAIModelView
from gateway.problems.problem import Problem

router = APIRouter(prefix="/v1/models", tags=["openai"])


@router.get(
    "",
    operation_id="listModels",
    summary="List providers and their models, in OpenAI's shape",
    response_model=ModelList,
    responses={200: openapi.success("Every name that `model` may have."), **openapi.openai_errors()},
)
async def list_models(deps: DependenciesOf, principal: PrincipalOf) -> Response:
    """Every provider by its name, and every model that it lists as `<provider>/<model>`."""
    return json_response(answers.models(await deps.jobs.providers(principal.tenant)))


@router.get(
    "/{model:path}",
    operation_id="getModel",
    summary="Look at one of them",
    response_model=OpenAIModelView,
    responses={200: openapi.success("It is there."), **openapi.openai_errors(404)},
)
async def get_model(
    model: Annotated[str, Path(max_length=300)], deps: DependenciesOf, principal: PrincipalOf
) -> Response:
    """A provider, or a model of one; names of models may hold slashes."""
    found = answers.model(await deps.jobs.providers(principal.tenant), model)
    if found is None:
        raise Problem(reason=errors.MODEL_NOT_FOUND, detail=f"There is no model {model!r}; GET /v1/models lists them.")
    return json_response(found)
