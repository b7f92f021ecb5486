"""The span of a provider call says who was called, and what the provider counted."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from common import tracing
from services.generator.domain.provider_results import Generated, Operation, TokenUsage
from tests.support.generator.fakes import Provider, job_of, made

from .conftest import World

COUNTED = replace(made(), usage=TokenUsage(inputs=150, outputs=4_160))


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    """Spans of this test alone."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with tracing.using(provider):
        yield exporter


async def of_call(spans: InMemorySpanExporter, *script: Generated | Operation, host: str | None) -> dict[str, Any]:
    """Attributes of the span of the one call of a job whose provider is at this host."""
    provider = Provider(*script)
    provider.trusted_host = host
    await World(provider).run(job_of())
    [found] = [dict(span.attributes or {}) for span in spans.get_finished_spans() if "image_gen" in span.name]
    return found


async def test_it_has_the_providers_address_and_tokens(spans: InMemorySpanExporter) -> None:
    found = await of_call(spans, COUNTED, host="images.example:8443")

    assert (found["server.address"], found["server.port"]) == ("images.example", 8443)
    assert (found["gen_ai.usage.input_tokens"], found["gen_ai.usage.output_tokens"]) == (150, 4_160)
    assert (found["calotype.call.phase"], found["calotype.call.cost_micros"]) == ("succeeded", 40_000)


async def test_an_operation_has_its_tokens_at_its_end(spans: InMemorySpanExporter) -> None:
    found = await of_call(spans, Operation(id="op"), COUNTED, host="images.example:443")

    assert (found["gen_ai.response.id"], found["gen_ai.usage.output_tokens"]) == ("op", 4_160)


async def test_what_is_unknown_is_left_out(spans: InMemorySpanExporter) -> None:
    found = await of_call(spans, made(), host=None)

    assert not {name for name in found if name.startswith(("server.", "gen_ai.usage."))}
