"""The provider `procedural`: what a request asks for is what is drawn, and a seed is always told."""

from collections.abc import Callable
from typing import Any

import pytest

from services.generator.adapters.providers.entry_fields import Defaults
from services.generator.adapters.providers.procedural.entry import ProceduralEntry
from services.generator.adapters.providers.procedural.process_pool import Renderers, RenderersBroken
from services.generator.adapters.providers.procedural.provider import ProceduralProvider
from services.generator.domain.jobs import Request
from services.generator.domain.provider_results import Acceptance, ProviderError
from services.generator.ports import ProviderRequest


class Drawn(Renderers):
    """Keeps what is to be drawn; `problem` is raised instead."""

    def __init__(self, problem: Exception | None = None) -> None:
        self.asked: list[dict[str, Any]] = []
        self.problem = problem

    async def draw(self, report: Callable[[float], None], **arguments: Any) -> bytes:
        """A picture without pixels."""
        self.asked.append(arguments)
        if self.problem is not None:
            raise self.problem
        report(0.5)
        return b"picture"


def provider(drawn: Drawn, **entry: Any) -> ProceduralProvider:
    """The adapter."""
    return ProceduralProvider(ProceduralEntry(name="procedural", **entry), drawn)


def order(*, key: str = "call_1", seed: int | None = None, **request: Any) -> ProviderRequest:
    """One image."""
    return ProviderRequest(
        call_id=key,
        idempotency_key=key,
        model="procedural",
        count=1,
        request=Request(prompt="a harbour", **request),
        seed=seed,
    )


async def test_a_request_is_drawn_as_it_says() -> None:
    drawn = Drawn()
    made = await provider(drawn).submit(
        order(seed=7, negative_prompt="boats", size="320x200", output_format="webp")
    )  # fmt: skip
    [image] = made.images

    assert drawn.asked == [
        {
            "prompt": "a harbour",
            "negative_prompt": "boats",
            "seed": 7,
            "width": 320,
            "height": 200,
            "output_format": "webp",
        }
    ]
    assert (image.data, image.seed, made.cost_micros) == (b"picture", 7, 0)


@pytest.mark.parametrize(
    ("request_", "size"),
    [({}, (1024, 1024)), ({"aspect_ratio": "16:9"}, (1344, 756)), ({"size": "64x2048"}, (64, 2048))],
)
async def test_a_shape_is_a_size_or_a_ratio_or_the_usual(request_: dict[str, Any], size: tuple[int, int]) -> None:
    drawn = Drawn()
    await provider(drawn).submit(order(**request_))

    assert (drawn.asked[0]["width"], drawn.asked[0]["height"]) == size


async def test_the_provider_file_says_what_a_job_leaves_out() -> None:
    drawn = Drawn()
    await provider(drawn, defaults=Defaults(size="512x256", output_format="jpeg")).submit(order())

    assert (drawn.asked[0]["width"], drawn.asked[0]["output_format"]) == (512, "jpeg")


async def test_a_call_without_seed_has_one_of_its_own_and_the_same_when_it_is_sent_again() -> None:
    drawn = Drawn()
    adapter = provider(drawn)
    seeds = [(await adapter.submit(order(key=key))).images[0].seed for key in ("call_1", "call_1", "call_2")]

    assert seeds[0] == seeds[1] != seeds[2]
    assert all(seed is not None and 0 <= seed < 2**53 for seed in seeds)
    assert [asked["seed"] for asked in drawn.asked] == seeds


@pytest.mark.parametrize(
    ("problem", "code", "acceptance", "retryable"),
    [
        (ValueError("too large"), "PERMANENT", Acceptance.NOT_ACCEPTED, False),
        (RenderersBroken("died"), "TEMPORARY", Acceptance.ACCEPTED, True),
    ],
)
async def test_what_goes_wrong_is_classified(
    problem: Exception, code: str, acceptance: Acceptance, retryable: bool
) -> None:
    with pytest.raises(ProviderError) as error:
        await provider(Drawn(problem)).submit(order())
    assert (error.value.code, error.value.acceptance, error.value.retryable) == (code, acceptance, retryable)


def test_the_catalogue_tells_what_the_adapter_does() -> None:
    told = provider(Drawn()).describe(is_default=True)
    able = told.capabilities

    assert (told.name, told.kind, told.is_default, told.models[0].price_micros_per_image) == (
        "procedural",
        "procedural",
        True,
        0,
    )
    assert (able.free, able.idempotent, able.resumable, able.cancelable) == (True, True, False, False)
    assert (able.min_side, able.max_side, able.seed, able.negative_prompt) == (64, 2048, True, True)
