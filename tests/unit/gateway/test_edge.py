import logging
from collections.abc import AsyncIterator

import httpx
import pytest
from calotype.job.v1 import job_pb2
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.support.gateway.gateway_app import assembled, in_process
from tests.support.job_service.fake_job_service import FakeJobService, serving

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACE = "0af7651916cd43dd8448eb211c80319c"


def _server_span(spans: InMemorySpanExporter) -> ReadableSpan:
    [span] = [one for one in spans.get_finished_spans() if not one.name.startswith("calotype.")]
    return span


async def test_every_answer_has_security_headers_and_an_id(client: httpx.AsyncClient, service: FakeJobService) -> None:
    job = service.add(status=job_pb2.STATUS_COMPLETED)
    stream, problems = f"/v1/jobs/{job.id}/events", "/problems/not-found"
    for path in ("/v1/jobs", "/healthz", "/nowhere", "/docs", problems, "/openapi.json", stream):
        answer = await client.get(path)
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
        assert ("style-src" in policy) == (path in ("/docs", problems))
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-request-id"]


@pytest.mark.parametrize(
    ("sent", "kept"), [("abc-1.2:3", True), ("a b", False), ("x" * 129, False), ("<script>", False)]
)
async def test_a_request_id_is_echoed_when_it_is_one(client: httpx.AsyncClient, sent: str, kept: bool) -> None:
    answer = await client.get("/nowhere", headers={"X-Request-Id": sent})
    assert (answer.headers["x-request-id"] == sent) is kept
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


async def test_a_page_that_is_not_there_is_a_problem(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v2/jobs?key=secret")
    problem = answer.json()
    assert (answer.status_code, problem["reason"], problem["instance"]) == (404, "NOT_FOUND", "/v2/jobs")


async def test_a_method_that_is_not_possible_is_a_problem_that_names_the_possible_ones(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.put("/v1/jobs/x/attempts")
    assert (answer.status_code, answer.json()["status"]) == (405, 405)


@pytest.mark.parametrize(
    ("path", "methods"),
    [("/v1/jobs", "GET, POST"), ("/v1/jobs/job_1", "DELETE, GET"), ("/v1/jobs/job_1/cancel", "POST"), ("/docs", "GET")],
)
async def test_a_method_that_a_page_does_not_have_is_answered_with_those_that_it_has(
    client: httpx.AsyncClient, path: str, methods: str
) -> None:
    answer = await client.request("PUT", path)

    assert (answer.status_code, answer.headers["Allow"]) == (405, methods)


@pytest.mark.parametrize("host", ["", "a b", "evil/../x", "a:99999", "[::1", "a@b", "a:b"])
async def test_a_host_that_is_none_is_malformed(client: httpx.AsyncClient, host: str) -> None:
    answer = await client.get("/v1/jobs", headers={"Host": host})
    assert answer.status_code == 400


async def test_the_trace_goes_through_to_job_service_and_back_to_the_client(
    client: httpx.AsyncClient, service: FakeJobService, spans: InMemorySpanExporter
) -> None:
    answer = await client.get("/v1/jobs/job_1?x=secret", headers={"traceparent": PARENT})
    span = _server_span(spans)
    assert answer.json()["trace_id"] == TRACE
    assert answer.headers["traceparent"].split("-")[1] == TRACE
    [client] = [one for one in spans.get_finished_spans() if one.kind is trace.SpanKind.CLIENT]
    assert (service.parents[0] or "").split("-")[1:3] == [TRACE, f"{client.context.span_id:016x}"]
    assert client.parent is not None
    assert f"{client.parent.span_id:016x}" == answer.headers["traceparent"].split("-")[2]
    assert (span.name, span.kind) == ("GET /v1/jobs/{job_id}", trace.SpanKind.SERVER)
    assert (span.attributes or {})["http.response.status_code"] == 404
    assert span.status.status_code is trace.StatusCode.UNSET
    assert span.parent is not None
    assert f"{span.parent.span_id:016x}" == "b7ad6b7169203331"
    assert "secret" not in str(span.attributes)


async def test_a_trace_begins_here_when_nothing_sensible_was_sent(
    client: httpx.AsyncClient, spans: InMemorySpanExporter
) -> None:
    answer = await client.get("/nowhere", headers={"traceparent": "nonsense"})
    assert answer.json()["trace_id"] == answer.headers["traceparent"].split("-")[1]
    assert _server_span(spans).parent is None


async def test_an_access_line_has_no_query(client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="gateway")
    await client.get("/v1/jobs?access_token=secret&end_user=somebody", headers={"X-Request-Id": "r-1"})
    [line] = [vars(record) for record in caplog.records if record.message == "request.answered"]
    assert (line["method"], line["path"], line["status"], line["request_id"]) == ("GET", "/v1/jobs", 422, "r-1")
    assert "secret" not in str(line)
    assert "somebody" not in str(line)


async def test_a_path_cannot_write_a_line_of_its_own(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="gateway")
    await client.get("/v1/%0aforged")
    [line] = [vars(record) for record in caplog.records if record.message == "request.answered"]
    assert line["path"] == "/v1/%0aforged"


class _BrokenClock:
    """A part that fails as nobody expects."""

    def __call__(self) -> None:
        """Fail."""
        raise RuntimeError("password=hunter2")


@pytest.fixture
async def broken(service: FakeJobService) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway with a defect."""
    async with serving(service) as address, assembled(address, clock=_BrokenClock()) as (app, _), in_process(app) as it:
        yield it


async def test_a_defect_is_a_problem_without_internals_and_a_trace_in_the_log(
    broken: httpx.AsyncClient,
    service: FakeJobService,
    spans: InMemorySpanExporter,
    caplog: pytest.LogCaptureFixture,
) -> None:
    job = service.add(status=job_pb2.STATUS_COMPLETED)
    answer = await broken.get(f"/v1/jobs/{job.id}")
    assert (answer.status_code, answer.json()["reason"]) == (500, "INTERNAL")
    assert "hunter2" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"
    [failed] = [record for record in caplog.records if record.message == "request.failed"]
    assert failed.exc_info is not None
    assert _server_span(spans).status.status_code is trace.StatusCode.ERROR
