"""The provider kind `bfl`: who is sent the key, how long a task may be unknown, and numbers that make no sense."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from services.generator.adapters.providers.bfl.entry import BFLEntry, BFLSettings
from services.generator.adapters.providers.bfl.provider import MAX_UNFOUND, BFLProvider
from services.generator.adapters.providers.entry_fields import ModelEntry
from services.generator.domain.jobs import Request
from services.generator.domain.provider_results import Acceptance, Generated, Operation, Pending, ProviderError
from services.generator.ports import ProviderRequest
from tests.support.providers.http_transport import HandlerTransport

KEY = "the-secret-key"
OWN = "https://proxy.example:8443/bfl/get_result?id=t1"
ENTRY = BFLEntry(
    name="flux",
    kind="bfl",
    base_url="https://proxy.example:8443/bfl",
    models=(
        ModelEntry(name="flux-2-pro", price_micros_per_image=40_000),
        ModelEntry(name="flux-pro-1.1-ultra"),
    ),
    poll_interval_seconds=4,
)
ORDER = ProviderRequest(
    call_id="call_1", idempotency_key="call_1", model="flux-2-pro", count=1, request=Request(prompt="a harbour")
)


class Vendor:
    """Answers every request with `answer`, and remembers who was asked."""

    def __init__(self) -> None:
        self.asked: list[httpx.Request] = []
        self.answer = httpx.Response(200)
        self.provider = BFLProvider(ENTRY, api_key=KEY, transport=HandlerTransport(self._take))

    def _take(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        return self.answer

    async def takes(self, **told: Any) -> Operation:
        """A task that is begun."""
        self.answer = httpx.Response(200, json={"id": "t1", "polling_url": OWN} | told)
        return await self.provider.submit(ORDER)

    async def looks(self, operation: Operation, **told: Any) -> Generated | Pending:
        """A look at a task."""
        self.answer = httpx.Response(200, json={"id": "t1"} | told)
        return await self.provider.poll(operation)


@pytest.fixture
async def vendor() -> AsyncIterator[Vendor]:
    """The vendor, and the adapter that speaks to it."""
    found = Vendor()
    yield found
    await found.provider.close()


@pytest.mark.parametrize(
    "address",
    [OWN, "https://api.bfl.ai/v1/get_result?id=t1", "https://api.eu2.bfl.ai/v1/get_result?id=t1"],
)
async def test_a_task_is_followed_at_exactly_the_address_that_was_named(vendor: Vendor, address: str) -> None:
    operation = await vendor.takes(polling_url=address)

    assert await vendor.looks(operation, status="Pending") == Pending()
    assert str(vendor.asked[1].url) == address
    assert vendor.asked[1].headers["x-key"] == KEY


@pytest.mark.parametrize(
    "address",
    [
        "http://api.bfl.ai/v1/get_result?id=t1",
        "http://proxy.example:8443/bfl/get_result?id=t1",
        "https://proxy.example/bfl/get_result?id=t1",
        "https://proxy.example:8443.evil.example/bfl",
        "https://proxy.example:8443@evil.example/bfl",
        "https://evilbfl.ai/v1/get_result",
        "https://api.bfl.ai.evil.example/",
        "https://api.bfl.ai@evil.example/",
        "https://evil.example#.bfl.ai/",
        "https://evil.example/.bfl.ai/",
        "https://evil.example\\.bfl.ai/",
        "https://user@api.bfl.ai/",
        "https://api.bfl.ai:444/",
        "https://api.bfl.ai/\nx",
        "https://api.bfl.ai/" + "x" * 2001,
        "https://[",
        "ftp://api.bfl.ai/",
        "",
        None,
        7,
    ],
)
async def test_the_key_goes_to_nobody_else(vendor: Vendor, address: Any) -> None:
    with pytest.raises(ProviderError) as failed:
        await vendor.takes(polling_url=address)
    assert failed.value.acceptance is Acceptance.UNKNOWN
    assert "t1" in failed.value.vendor.message

    with pytest.raises(ProviderError) as unasked:
        await vendor.provider.poll(Operation(id="t1", state={"polling_url": str(address)}))
    assert (unasked.value.acceptance, len(vendor.asked)) == (Acceptance.UNKNOWN, 1)


async def test_a_task_that_another_worker_made_may_be_unknown_as_long(vendor: Vendor) -> None:
    operation = Operation(id="t1", state={"polling_url": OWN})

    looks = [await vendor.looks(operation, status="Task not found") for _ in range(3)]
    assert looks == [Pending()] * 3
    with pytest.raises(ProviderError) as lost:
        await vendor.looks(operation, status="Task not found")
    assert lost.value.reason == "RESULT_LOST"


async def test_no_more_tasks_are_remembered_than_there_is_room_for(vendor: Vendor) -> None:
    eldest = Operation(id="eldest", state={"polling_url": OWN})
    for name in ("eldest", *map(str, range(MAX_UNFOUND))):
        await vendor.looks(Operation(id=name, state={"polling_url": OWN}), status="Task not found")

    # It is forgotten, and counted anew: it has three more looks.
    assert [await vendor.looks(eldest, status="Task not found") for _ in range(3)] == [Pending()] * 3


@pytest.mark.parametrize(
    ("told", "progress"),
    [(0, 0.0), (0.25, 0.25), (1, 1.0), (1.5, None), (-1, None), (True, None), ("0.5", None), (None, None)],
)
async def test_progress_is_a_part_of_one_or_nothing(vendor: Vendor, told: Any, progress: float | None) -> None:
    operation = await vendor.takes()

    assert await vendor.looks(operation, status="Pending", progress=told) == Pending(progress=progress)


@pytest.mark.parametrize(
    ("cost", "micros"),
    [(3, 30_000), (1.4, 14_000), (0, 0), (-1, 40_000), (10**400, 40_000), ("3", 40_000), (True, 40_000)],
)
async def test_a_cost_that_makes_no_sense_leaves_the_price_of_the_file(vendor: Vendor, cost: Any, micros: int) -> None:
    operation = await vendor.takes(cost=cost)
    made = await vendor.looks(operation, status="Ready", result={"sample": "https://a.test/0", "seed": 2**63})

    assert isinstance(made, Generated)
    assert (made.cost_micros, made.images[0].seed) == (micros, None)


async def test_a_failed_task_keeps_its_evidence(vendor: Vendor) -> None:
    operation = await vendor.takes()
    with pytest.raises(ProviderError) as failed:
        await vendor.looks(operation, status="Error", details={"why": f"the worker of {KEY} died"})

    assert "the worker of *** died" in failed.value.vendor.message
    assert (failed.value.vendor.code, failed.value.vendor.request_id) == ("Error", "t1")


async def test_models_that_take_a_ratio_take_no_sides() -> None:
    settings = BFLSettings(aspect_ratios=("16:9", "1:1"), max_input_images=0)
    provider = BFLProvider(ENTRY.model_copy(update={"settings": settings}), api_key=KEY)
    offers = provider.describe(is_default=False).capabilities
    await provider.close()

    assert list(offers.aspect_ratios) == ["16:9", "1:1"]
    assert (offers.min_side, offers.max_side, offers.side_multiple, offers.max_input_images) == (0, 0, 0, 0)
    assert not offers.mask


async def test_a_ratio_is_sent_as_it_is(vendor: Vendor) -> None:
    vendor.answer = httpx.Response(200, json={"id": "t1", "polling_url": OWN})
    wide = ProviderRequest(
        call_id="call_1",
        idempotency_key="call_1",
        model="flux-pro-1.1-ultra",
        count=1,
        request=Request(prompt="a harbour", aspect_ratio="16:9"),
    )
    await vendor.provider.submit(wide)

    assert vendor.asked[0].url.path == "/bfl/flux-pro-1.1-ultra"
    assert vendor.asked[0].read() == b'{"prompt":"a harbour","aspect_ratio":"16:9"}'
