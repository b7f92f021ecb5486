"""What callers may write is bounded in job-service, so that HTTP and gRPC take the same and neither fails inside."""

import asyncio
import base64
import json
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import grpc
import httpx
import pytest
from calotype import size_limits
from calotype.job.v1 import job_pb2, job_service_pb2, job_service_pb2_grpc
from google.protobuf.struct_pb2 import ListValue, Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import ServiceError
from common.grpc_client import call, channel
from gateway.schemas import requests as gateway_bounds
from services.job.domain import bounds
from tests.support.gateway.gateway_app import assembled, in_process
from tests.support.job_service.real_job_service import job_service
from tests.support.job_service.use_cases import use_cases_at
from tests.support.patience import PATIENCE
from tests.support.servers import embedded_servers

Ask = job_service_pb2
OK = "OK"
MIB = 1024 * 1024


@dataclass
class Doors:
    """One job-service, asked over gRPC and over HTTP through a gateway; both answer with the name of a status."""

    runner: asyncio.Runner
    stub: Any
    http: httpx.AsyncClient

    def grpc(self, method: str, request: Any) -> str:
        """Ask job-service itself."""

        async def ask() -> str:
            try:
                await call(getattr(self.stub, method), request, timeout=PATIENCE)
            except ServiceError as error:
                return error.status.name
            return OK

        return self.runner.run(ask())

    def create(self, **fields: Any) -> str:
        """Submit a job over gRPC."""
        wanted = job_pb2.JobRequest(**{"prompt": "a harbour", **fields})
        return self.grpc("CreateJob", Ask.CreateJobRequest(tenant="acme", request=wanted))

    def listed(self, **fields: Any) -> str:
        """Ask for a list over gRPC."""
        return self.grpc("ListJobs", Ask.ListJobsRequest(tenant="acme", **fields))

    def get(self, **query: str) -> int:
        """Ask for a list over HTTP."""
        return self.runner.run(self.http.get("/v1/jobs", params=query)).status_code

    def post(self, **fields: Any) -> int:
        """Submit a job over HTTP."""
        body = json.dumps({"prompt": "a harbour", **fields})
        headers = {"Content-Type": "application/json"}
        return self.runner.run(self.http.post("/v1/jobs", content=body, headers=headers)).status_code


@pytest.fixture(scope="module")
def doors(
    postgres: embedded_servers.Server, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Doors]:
    """Both doors of a job-service with the providers `procedural` and `paid`."""
    url = embedded_servers.copy_database(postgres.url, template)
    with (
        asyncio.Runner() as runner,
        embedded_servers.nats_server(tmp_path_factory.mktemp("nats")) as nats,
        use_cases_at(url),
    ):
        stack = AsyncExitStack()

        async def opened() -> Doors:
            address = await stack.enter_async_context(job_service(url, nats.url))
            app, _ = await stack.enter_async_context(assembled(address))
            http = await stack.enter_async_context(in_process(app))
            own = await stack.enter_async_context(channel(address))
            return Doors(runner, job_service_pb2_grpc.JobServiceStub(own), http)

        yield runner.run(opened())
        runner.run(stack.aclose())
    embedded_servers.drop_database(postgres.url, url)


def _token(*position: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode().rstrip("=")


OLD_TOKENS = {
    "of an older version": _token("2026-01-31T12:00:00+00:00", "job_x", 1),
    "half a surrogate pair": _token("2026-01-31T12:00:00+00:00", "\ud800", 2968460425),
    "a place of an older version": _token("2026-01-31T12:00:00+00:00"),
    "a place before all times": _token("0001-01-01T00:00:00+14:00"),
}


@pytest.mark.parametrize("token", OLD_TOKENS.values(), ids=OLD_TOKENS)
def test_a_token_that_was_not_sealed_here_is_refused(doors: Doors, token: str) -> None:
    assert doors.listed(page_token=token) == "INVALID_ARGUMENT"
    assert doors.grpc("ListFinalEvents", Ask.ListFinalEventsRequest(page_token=token)) == "INVALID_ARGUMENT"
    assert doors.get(page_token=token) == 422


def test_a_sealed_token_is_good_for_its_tenant_and_list_alone(doors: Doors) -> None:
    for _ in range(2):
        assert doors.create() == OK

    async def token_of(tenant: str) -> str:
        page = await call(doors.stub.ListJobs, Ask.ListJobsRequest(tenant=tenant, page_size=1), timeout=PATIENCE)
        return str(page.next_page_token)

    token = doors.runner.run(token_of("acme"))

    assert doors.listed(page_token=token) == OK
    assert doors.grpc("ListJobs", Ask.ListJobsRequest(tenant="rival", page_token=token)) == "INVALID_ARGUMENT"
    assert doors.grpc("ListFinalEvents", Ask.ListFinalEventsRequest(page_token=token)) == "INVALID_ARGUMENT"
    for place in range(0, len(token), 9):
        other = "A" if token[place] != "A" else "B"
        assert doors.listed(page_token=token[:place] + other + token[place + 1 :]) == "INVALID_ARGUMENT"


@pytest.mark.parametrize(
    "moment",
    ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+00:01"],
)
@pytest.mark.parametrize("field", ["created_after", "created_before"])
def test_a_time_that_has_no_year_in_utc_is_refused(doors: Doors, field: str, moment: str) -> None:
    assert doors.get(**{field: moment}) == 422


@pytest.mark.parametrize("field", ["created_after", "created_before"])
@pytest.mark.parametrize("seconds", [-(2**63), -62_135_596_801, 253_402_300_800, 2**63 - 1])
def test_a_timestamp_beyond_all_years_is_refused(doors: Doors, field: str, seconds: int) -> None:
    assert doors.listed(**{field: Timestamp(seconds=seconds)}) == "INVALID_ARGUMENT"
    assert doors.grpc("ListFinalEvents", Ask.ListFinalEventsRequest(since=Timestamp(seconds=seconds))) == (
        "INVALID_ARGUMENT"
    )


def _options(**values: Any) -> Struct:
    return Struct(fields={name: _value(value) for name, value in values.items()})


def _value(value: Any) -> Value:
    if isinstance(value, dict):
        return Value(struct_value=_options(**value))
    if isinstance(value, list):
        return Value(list_value=ListValue(values=[_value(one) for one in value]))
    if isinstance(value, str):
        return Value(string_value=value)
    return Value() if value is None else Value(number_value=value)


def _nested(depth: int) -> Any:
    return [] if depth == 1 else [_nested(depth - 1)]


PICTURE = {"content_type": "image/png", "data": "AAAA"}
#: Fields as HTTP has them, and as gRPC has them where that differs.
REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any] | None]] = {
    "an address of 1 MB": ({"callback_url": "https://a.test/" + "a" * MIB}, None),
    "no address": ({"callback_url": "javascript:alert(1)"}, None),
    "an address with a password": ({"callback_url": "https://a:b@c.test/"}, None),
    "an address with a line end": ({"callback_url": "https://a.test/\r\nX: y"}, None),
    "an end user of two lines": ({"end_user": "a\nb"}, None),
    "a provider of two lines": ({"provider": "a\nb"}, None),
    "a model of 1 MB": ({"model": "a" * MIB}, None),
    "a quality of 1 MB": ({"quality": "a" * MIB}, None),
    "a background of 1 MB": ({"background": "a" * MIB}, None),
    "100,000 fallbacks": ({"fallback": ["a"] * 100_000}, None),
    "a fallback of 1 MB": ({"fallback": ["a" * MIB]}, None),
    "a negative prompt of 1 MB": ({"negative_prompt": "a" * MIB}, None),
    "a bell in the prompt": ({"prompt": "a\x07b"}, None),
    "a bell in metadata": ({"metadata": {"a": "b\x07"}}, None),
    "a name of metadata of two lines": ({"metadata": {"a\nb": "c"}}, None),
    "options of 3 MB": (
        {"provider_options": {"a": "a" * 3 * MIB}},
        {"provider_options": _options(a="a" * 3 * MIB)},
    ),
    "options of 70 kB": ({"provider_options": {"a": "a" * 70_000}}, {"provider_options": _options(a="a" * 70_000)}),
    "options of 30 levels": ({"provider_options": {"a": _nested(30)}}, {"provider_options": _options(a=_nested(30))}),
    "a bell in options": ({"provider_options": {"a": "\x07"}}, {"provider_options": _options(a="\x07")}),
    "NaN": ({"provider_options": {"a": float("nan")}}, {"provider_options": _options(a=float("nan"))}),
    "Infinity": ({"provider_options": {"a": [float("inf")]}}, {"provider_options": _options(a=[float("inf")])}),
    "an input that is no image": (
        {"provider": "paid", "input_images": [{**PICTURE, "content_type": "text/html"}]},
        {"provider": "paid", "input_images": [job_pb2.InputImage(content_type="text/html", data=b"abc")]},
    ),
    "an input at 1 MB of address": (
        {"provider": "paid", "input_images": [{"url": "https://a.test/" + "a" * MIB}]},
        {"provider": "paid", "input_images": [job_pb2.InputImage(url="https://a.test/" + "a" * MIB)]},
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_both_doors_refuse_the_same(doors: Doors, name: str) -> None:
    over_http, over_grpc = REFUSED[name]

    assert doors.create(**(over_grpc or over_http)) == "INVALID_ARGUMENT"
    assert doors.post(**over_http) in (400, 422)


def test_a_fingerprint_of_1_mb_is_refused(doors: Doors) -> None:
    request = Ask.CreateJobRequest(
        tenant="acme", idempotency_key="k", fingerprint="a" * MIB, request=job_pb2.JobRequest(prompt="a harbour")
    )

    assert doors.grpc("CreateJob", request) == "INVALID_ARGUMENT"


@pytest.mark.parametrize("fields", [{"failure_stage": 99}, {"code": 99}])
def test_a_filter_of_an_unknown_number_is_refused_and_does_not_filter_nothing(
    doors: Doors, fields: dict[str, Any]
) -> None:
    assert doors.listed(**fields) == "INVALID_ARGUMENT"


def test_the_gateways_document_tells_the_bounds_that_hold() -> None:
    fields = gateway_bounds.CreateJob.model_json_schema()["properties"]
    longest = {name: _longest(field) for name, field in fields.items()}
    told = {name: most for name, most in bounds.LONGEST.items() if longest.get(name) is not None}

    assert {"provider", "model", "quality", "end_user"} <= told.keys()
    assert told == {name: longest[name] for name in told}
    assert longest["callback_url"] == size_limits.MAX_URL_CHARACTERS
    assert fields["metadata"]["maxProperties"] == size_limits.MAX_METADATA_ENTRIES
    assert fields["n"]["maximum"] == size_limits.MAX_IMAGES
    assert fields["fallback"]["maxItems"] == size_limits.MAX_FALLBACKS


def _longest(field: dict[str, Any]) -> int | None:
    return next((one["maxLength"] for one in [field, *field.get("anyOf", ())] if "maxLength" in one), None)


TEXTS = st.one_of(st.text(max_size=40), st.characters(codec="utf-8").map(lambda one: one * 2_500))
TOKENS = st.one_of(
    TEXTS,
    st.builds(_token, st.datetimes(timezones=st.just(UTC)).map(datetime.isoformat), TEXTS, st.integers()),
    st.binary(max_size=120).map(lambda raw: base64.urlsafe_b64encode(raw).decode()),
)
OFFSETS = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
TIMES = st.one_of(st.datetimes(timezones=OFFSETS).map(datetime.isoformat), st.text(max_size=30))
STAMPS = st.builds(Timestamp, seconds=st.integers(-(2**63), 2**63 - 1), nanos=st.integers(-(2**31), 2**31 - 1))
NUMBERS = st.floats().map(lambda number: Value(number_value=number))
WORDS = st.text(max_size=20).map(lambda text: Value(string_value=text))
VALUES: st.SearchStrategy[Value] = st.recursive(
    st.one_of(NUMBERS, WORDS, st.booleans().map(lambda yes: Value(bool_value=yes)), st.just(Value())),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda values: Value(list_value=ListValue(values=values))),
        st.dictionaries(st.text(max_size=8), inner, max_size=4).map(
            lambda fields: Value(struct_value=Struct(fields=fields))
        ),
    ),
    max_leaves=12,
)
OPTIONS = st.dictionaries(st.text(max_size=8), VALUES, max_size=4).map(lambda fields: Struct(fields=fields))
ANSWERS = {OK, grpc.StatusCode.INVALID_ARGUMENT.name}
ASKED: dict[str, st.SearchStrategy[Callable[[Doors], bool]]] = {
    "a token over gRPC": TOKENS.map(lambda one: lambda doors: doors.listed(page_token=one) in ANSWERS),
    "a token of final events": TOKENS.map(
        lambda one: lambda doors: doors.grpc("ListFinalEvents", Ask.ListFinalEventsRequest(page_token=one)) in ANSWERS
    ),
    "a token over HTTP": TOKENS.map(lambda one: lambda doors: doors.get(page_token=one) in (200, 422)),
    "times over gRPC": st.tuples(STAMPS, STAMPS).map(
        lambda two: lambda doors: doors.listed(created_after=two[0], created_before=two[1]) in ANSWERS
    ),
    "a time of final events": STAMPS.map(
        lambda one: lambda doors: doors.grpc("ListFinalEvents", Ask.ListFinalEventsRequest(since=one)) in ANSWERS
    ),
    "times over HTTP": st.tuples(TIMES, TIMES).map(
        lambda two: lambda doors: doors.get(created_after=two[0], created_before=two[1]) in (200, 422)
    ),
    "options over gRPC": OPTIONS.map(lambda one: lambda doors: doors.create(provider_options=one) in ANSWERS),
    "words over gRPC": st.tuples(TEXTS, TEXTS, TEXTS, st.dictionaries(TEXTS, TEXTS, max_size=3)).map(
        lambda words: (
            lambda doors: (
                doors.create(callback_url=words[0], end_user=words[1], quality=words[2], metadata=words[3]) in ANSWERS
            )
        )
    ),
}


@pytest.mark.parametrize("kind", ASKED)
@settings(max_examples=25)
@given(data=st.data())
def test_whatever_is_written_is_served_or_refused(doors: Doors, kind: str, data: st.DataObject) -> None:
    assert data.draw(ASKED[kind])(doors)
