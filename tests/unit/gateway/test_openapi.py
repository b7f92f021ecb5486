import re
from typing import Any

import httpx
import pytest
from pydantic import TypeAdapter

from gateway.api_docs import examples
from gateway.openai_images import examples as openai_examples
from gateway.openai_images.schemas import ImageParameters, ImagesView, ModelList, OpenAIErrorBody
from gateway.problems.reasons import REASONS, slug
from gateway.schemas.attempts import AttemptList
from gateway.schemas.catalogue import ProviderList, UiStateList
from gateway.schemas.client_tokens import ClientTokenView
from gateway.schemas.health import ReadyView
from gateway.schemas.jobs import JobPage, JobView
from gateway.schemas.problems import ProblemView
from gateway.schemas.requests import CreateClientToken, CreateJob, RetryJob
from gateway.views.ui_states import STATES

METHODS = ("get", "post", "delete", "patch", "put")


@pytest.fixture
async def document(client: httpx.AsyncClient) -> dict[str, Any]:
    """The document as it is served."""
    answer = await client.get("/openapi.json")
    assert answer.status_code == 200
    written: dict[str, Any] = answer.json()
    return written


def _operations(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [path[method] for path in document["paths"].values() for method in METHODS if method in path]


async def test_the_document_is_openapi_3_1(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")


async def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    named = set(re.findall(r"#/components/schemas/(\w+)", str(document)))
    assert named <= set(document["components"]["schemas"])
    assert {"CreateJob", "JobView", "ProblemView"} <= named
    assert "HTTPValidationError" not in document["components"]["schemas"]


async def test_every_call_has_a_tidy_name_and_examples(document: dict[str, Any]) -> None:
    names = [operation["operationId"] for operation in _operations(document)]
    assert len(set(names)) == len(names) >= 12
    assert all(re.fullmatch(r"[a-z]+([A-Z][a-z]+)*", name) for name in names)
    for operation in _operations(document):
        for told in operation["responses"].values():
            assert all("example" in shape and "schema" in shape for shape in told.get("content", {}).values())


async def test_errors_are_documented_as_problems_but_in_openais_shape(document: dict[str, Any]) -> None:
    for operation in _operations(document):
        kind = "application/json" if "openai" in operation["tags"] else "application/problem+json"
        for status, told in operation["responses"].items():
            if status >= "400" and operation["operationId"] != "isReady":
                assert list(told["content"]) == [kind], (operation["operationId"], status)


async def test_it_is_told_who_may_call_what(document: dict[str, Any]) -> None:
    schemes = document["components"]["securitySchemes"]
    assert (schemes["key"]["scheme"], schemes["clientToken"]["bearerFormat"]) == ("bearer", "JWT")
    assert schemes["clientTokenInAddress"]["name"] == "access_token"
    by_scheme: dict[str, set[str]] = {}
    for operation in _operations(document):
        if "security" in operation:
            assert {"401", "403"} <= set(operation["responses"]), operation["operationId"]
        for requirement in operation.get("security", ()):
            for scheme in requirement:
                by_scheme.setdefault(scheme, set()).add(operation["operationId"])
    assert by_scheme["clientToken"] == {"getJob", "watchJob", "cancelJob", "retryJob"}
    assert by_scheme["clientTokenInAddress"] == {"watchJob"}
    assert {"createJob", "createClientToken", "listAttempts", "getJob"} <= by_scheme["key"]


async def test_every_key_of_a_job_is_required(document: dict[str, Any]) -> None:
    for name, schema in document["components"]["schemas"].items():
        if name.endswith("View"):
            assert set(schema["required"]) == set(schema["properties"]), name


@pytest.mark.parametrize(
    ("kind", "example"),
    [
        (JobView, examples.JOB),
        (JobView, examples.QUEUED_JOB),
        (JobView, examples.CANCELED_JOB),
        (JobPage, examples.JOB_PAGE),
        (AttemptList, examples.ATTEMPTS),
        (ClientTokenView, examples.CLIENT_TOKEN),
        (ProviderList, examples.PROVIDERS),
        (UiStateList, examples.UI_STATES),
        *((ProblemView, one) for one in examples.PROBLEMS.values()),
        (ReadyView, examples.READY),
        (ImagesView, openai_examples.IMAGES),
        (ModelList, openai_examples.MODELS),
        *((OpenAIErrorBody, one) for one in openai_examples.ERRORS.values()),
    ],
)
def test_an_example_is_what_the_service_would_write(kind: Any, example: dict[str, Any]) -> None:
    assert TypeAdapter(kind).validate_python(example).model_dump(mode="json") == example


def test_examples_of_bodies_are_accepted() -> None:
    assert CreateJob.model_validate(examples.CREATE_JOB).seed == 7
    assert ImageParameters.model_validate(openai_examples.GENERATE_IMAGES).model == "procedural"
    assert RetryJob.model_validate(examples.RETRY_JOB).expected_sequence == 7
    assert CreateClientToken.model_validate(examples.CREATE_CLIENT_TOKEN).ttl_seconds == 3600


async def test_the_documentation_is_a_page_that_needs_nothing_else(client: httpx.AsyncClient) -> None:
    answer = await client.get("/docs")
    assert answer.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "/v1/jobs/{job_id}/events" in answer.text
    assert not re.search(r"<script|https?://(?!127\.0\.0\.1|images\.example)", answer.text)


@pytest.mark.parametrize("reason", REASONS)
async def test_the_type_of_every_problem_leads_to_its_page(client: httpx.AsyncClient, reason: str) -> None:
    answer = await client.get(f"/problems/{slug(reason)}")
    assert (answer.status_code, reason in answer.text) == (200, True)


async def test_there_is_no_page_for_a_problem_that_is_none(client: httpx.AsyncClient) -> None:
    assert (await client.get("/problems/%3Cscript%3E")).status_code == 404


async def test_all_ui_states_are_told(client: httpx.AsyncClient) -> None:
    states = (await client.get("/v1/ui-states")).json()["states"]
    assert [state["key"] for state in states] == [state.key for state in STATES]
