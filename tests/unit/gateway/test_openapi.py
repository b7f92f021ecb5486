import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import jsonschema_rs
import pytest
from pydantic import TypeAdapter

from gateway.api_docs import enums, examples, webhook_examples
from gateway.openai_images import examples as openai_examples
from gateway.openai_images.schemas import CompletedView, ImageParameters, ImagesView, ModelList, OpenAIErrorBody
from gateway.schemas.attempts import AttemptList
from gateway.schemas.catalogue import ProviderList, UiStateList
from gateway.schemas.client_tokens import ClientTokenView
from gateway.schemas.health import ReadyView
from gateway.schemas.jobs import JobPage, JobView, ProgressView
from gateway.schemas.problems import ProblemView
from gateway.schemas.requests import CreateClientToken, CreateJob, RetryJob
from gateway.schemas.webhook_requests import CreateWebhook, RedeliverRange, RotateSecret, UpdateWebhook
from gateway.schemas.webhooks import (
    CreatedWebhookView,
    DeliveryPage,
    DeliveryWithAttemptsView,
    RotatedSecretView,
    SigningSecretView,
    WebhookPage,
    WebhookTestView,
)
from gateway.schemas.wire import View
from gateway.views.ui_states import STATES

#: Models of the data of server-sent events, by component.
EVENT_MODELS: dict[str, type[View]] = {"JobView": JobView, "ProgressView": ProgressView, "CompletedView": CompletedView}
METHODS = ("get", "post", "delete", "patch", "put")


def _operations(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [path[method] for path in document["paths"].values() for method in METHODS if method in path]


async def test_the_document_is_openapi_3_1(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")


async def test_every_component_is_used_and_every_reference_leads_to_one(document: dict[str, Any]) -> None:
    used = set(re.findall(r"#/components/(\w+)/([\w-]+)", str(document)))
    declared = {(kind, name) for kind in ("schemas", "headers") for name in document["components"][kind]}
    assert used == declared
    assert {"CreateJob", "JobView", "ProblemView", "ProgressView"} <= {name for _, name in used}


def _nodes(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Every object of the document except examples, with its path."""
    if isinstance(node, dict):
        yield path, node
        for key, inner in node.items():
            if key != "example":
                yield from _nodes(inner, (*path, key))
    elif isinstance(node, list):
        for index, inner in enumerate(node):
            yield from _nodes(inner, (*path, str(index)))


@pytest.mark.parametrize(
    ("component", "field"),
    [
        ("ProgressView", "step"),
        ("ProgressView", "steps"),
        ("ProgressView", "message"),
    ],
)
async def test_a_field_that_nothing_fills_or_reads_yet_says_so(
    document: dict[str, Any], component: str, field: str
) -> None:
    assert "Not available yet" in document["components"]["schemas"][component]["properties"][field]["description"]


def _undescribed(document: dict[str, Any]) -> list[str]:
    """Properties, parameters, headers, components, operations, responses, tags and servers without description."""
    described: dict[str, dict[str, Any]] = {}
    for path, node in _nodes(document):
        where = "/".join(path)
        described |= {f"{where}/{name}": one for name, one in node.get("properties", {}).items()}
        if path[:1] == ("components",) and len(path) == 3 and path[1] != "parameters":
            described[where] = node
        if path[:1] == ("paths",) and len(path) == 3:
            described[where] = node
            described |= {f"{where} {one['name']}": one for one in node.get("parameters", ())}
            described |= {f"{where} {status}": one for status, one in node["responses"].items()}
    described |= {f"tag {tag['name']}": tag for tag in document["tags"]}
    described |= {f"server {server['url']}": server for server in document["servers"]}
    described["info"] = document["info"]
    assert len(described) > 500
    return [where for where, one in described.items() if not str(one.get("description", "")).strip()]


async def test_everything_is_described(document: dict[str, Any]) -> None:
    assert _undescribed(document) == []


async def test_an_undescribed_field_is_found(document: dict[str, Any]) -> None:
    del document["components"]["schemas"]["CreateJob"]["properties"]["seed"]["description"]
    document["paths"]["/v1/jobs"]["get"]["parameters"][0]["description"] = " "
    assert len(_undescribed(document)) == 2


async def test_enums_are_components(document: dict[str, Any]) -> None:
    for path, node in _nodes(document):
        if "enum" in node:
            assert path == ("components", "schemas", path[-1])
    schemas = document["components"]["schemas"]
    assert set(enums.components()) == {name for name, schema in schemas.items() if "enum" in schema}
    assert {"JobStatus", "Stage", "Code", "Tone", "Action", "ProviderCancel", "Priority"} <= set(schemas)
    for schema in enums.components().values():
        assert re.findall(r"^- `(\w+(?:\.\w+)?)`: .", schema["description"], re.MULTILINE) == schema["enum"]


async def test_tags_are_declared_and_used(document: dict[str, Any]) -> None:
    assert {tag["name"] for tag in document["tags"]} == {tag for one in _operations(document) for tag in one["tags"]}


async def test_seeds_say_what_javascript_does_to_large_ones(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    for path, node in _nodes(schemas):
        if "seed" in node.get("properties", {}) and path[0] != "CapabilitiesView":
            assert "JavaScript" in node["properties"]["seed"]["description"], path
    assert "2^53" in schemas["CreateJob"]["properties"]["provider_options"]["description"]


async def test_a_form_can_be_sent_by_generated_clients(document: dict[str, Any]) -> None:
    operation = document["paths"]["/v1/images/edits"]["post"]
    contents = operation["requestBody"]["content"]
    assert set(contents) == {"multipart/form-data", "application/json"}
    content = contents["multipart/form-data"]
    form = document["components"]["schemas"][content["schema"]["$ref"].rpartition("/")[2]]
    assert form["type"] == "object"
    # Generators make identifiers of the names: two that differ in punctuation alone would be one.
    assert all(name.isidentifier() for name in form["properties"])
    assert set(ImageParameters.model_fields) >= set(form["properties"]) - {"image", "mask"}
    assert form["properties"]["image"]["maxItems"] == 16
    assert form["properties"]["image"]["items"]["format"] == form["properties"]["mask"]["format"] == "binary"


def _fits(document: dict[str, Any], schema: dict[str, Any], example: Any) -> None:
    jsonschema_rs.Draft202012Validator(schema | {"components": document["components"]}, validate_formats=True).validate(
        example
    )


async def test_examples_fit_their_schemas(document: dict[str, Any]) -> None:
    checked = 0
    for operation in _operations(document):
        for one in (operation.get("requestBody", {}), *operation["responses"].values()):
            for content in one.get("content", {}).values():
                _fits(document, content["schema"], content["example"])
                checked += 1
    assert checked > 100
    with pytest.raises(jsonschema_rs.ValidationError):
        _fits(document, document["components"]["schemas"]["CreateJob"], {"prompt": ""})


async def test_events_of_example_streams_fit_their_schemas(document: dict[str, Any]) -> None:
    streams = [
        content
        for operation in _operations(document)
        for response in operation["responses"].values()
        for media_type, content in response.get("content", {}).items()
        if media_type == "text/event-stream"
    ]
    assert len(streams) == 3
    for content in streams:
        events = re.findall(r"^event: (\S+)\n(?:id: \d+\n)?data: (.*)$", content["example"], re.MULTILINE)
        assert events
        assert {name for name, _ in events} <= set(content["x-events"])
        for name, data in events:
            schema = content["x-events"][name]
            _fits(document, schema, json.loads(data))
            EVENT_MODELS[schema["$ref"].rpartition("/")[2]].model_validate_json(data)


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
        if operation["security"]:
            assert {"401", "403"} <= set(operation["responses"]), operation["operationId"]
        for requirement in operation["security"]:
            for scheme in requirement:
                by_scheme.setdefault(scheme, set()).add(operation["operationId"])
    assert by_scheme["clientToken"] == {"getJob", "watchJob", "cancelJob", "retryJob"}
    assert "getSigningSecret" in by_scheme["key"]
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
        (CreatedWebhookView, webhook_examples.CREATED_WEBHOOK),
        (WebhookPage, webhook_examples.WEBHOOK_PAGE),
        (SigningSecretView, webhook_examples.SIGNING_SECRET),
        (RotatedSecretView, webhook_examples.ROTATED_SECRET),
        (DeliveryPage, webhook_examples.DELIVERY_PAGE),
        (DeliveryWithAttemptsView, webhook_examples.DELIVERY_WITH_ATTEMPTS),
        (WebhookTestView, webhook_examples.TEST),
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
    assert CreateWebhook.model_validate(webhook_examples.CREATE_WEBHOOK).signature_scheme == "v1"
    assert UpdateWebhook.model_validate(webhook_examples.UPDATE_WEBHOOK).model_fields_set == {"enabled"}
    assert RotateSecret.model_validate(webhook_examples.ROTATE_SECRET).grace_seconds == 3600
    assert RedeliverRange.model_validate(webhook_examples.REDELIVER_RANGE).before is not None


async def test_all_ui_states_are_told(client: httpx.AsyncClient) -> None:
    states = (await client.get("/v1/ui-states")).json()["states"]
    assert [state["key"] for state in states] == [state.key for state in STATES]
