"""Spans of generator-service as a process: they hold the prompt only if they are to, and never a secret or an image."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.support.job_service.watched_worker_service import TRACE_ID
from tests.support.patience import PATIENCE
from tests.support.processes.generator_environment import World
from tests.support.providers.paid_provider import KEY
from tests.support.servers.embedded_servers import NATS_PASSWORDS, STORAGE_TOKENS
from tests.support.servers.otlp_collector import Collector, collector

#: Name of the attribute that may hold the prompt.
PROMPT = "gen_ai.input.messages"
#: Parts of a PNG image, as bytes and in base64.
IMAGE = ("IHDR", "iVBORw0KGgo")


@pytest.fixture
def spans() -> Iterator[Collector]:
    with collector() as found:
        yield found
        assert found.violations == []


async def ended(process: World, spans: Collector, **settings: str) -> None:
    """A generator makes a job, tries one that its provider refuses, and has sent the spans of both."""
    process.desk.add(provider="paid", prompt="good: a fox in a walled garden")
    process.desk.add(provider="paid", prompt="refused: a fox in a walled garden")
    process.start(otlp_url=spans.url, **settings)
    facts = [(await process.next_fact()).WhichOneof("fact") for _ in range(2)]
    assert sorted(filter(None, facts)) == ["images_generated", "stage_failed"]
    async with asyncio.timeout(PATIENCE):
        while sum(span.name == "generate images" for span in spans.of_trace(TRACE_ID)) < 2:
            await asyncio.to_thread(spans.wait_for_more, TRACE_ID, seconds=0.5)


@pytest.mark.parametrize(("settings", "calls"), [({}, 0), ({"TRACE_PROMPTS": "true"}, 2)])
async def test_a_prompt_is_in_the_spans_of_provider_calls_if_it_is_to_be(
    process: World, spans: Collector, settings: dict[str, str], calls: int
) -> None:
    await ended(process, spans, **settings)
    seen = spans.of_trace(TRACE_ID)

    with_prompt = [span.name for span in seen if any("walled garden" in str(v) for v in span.attributes.values())]
    assert with_prompt == ["image_generation test/model"] * calls
    assert [name for span in seen for name in span.attributes if name == PROMPT] == [PROMPT] * calls
    assert spans.hold("walled garden") is bool(calls)
    secrets = (KEY, STORAGE_TOKENS["generator"], NATS_PASSWORDS["generator"])
    assert [text for text in (*secrets, *IMAGE, "NSFW") if spans.hold(text)] == []
