"""The provider kind `diffusers`: what a request asks for is what its pipeline is asked to draw."""

import io
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pydantic import ValidationError

from common.config import ConfigError
from services.generator.adapters.providers.diffusers import torch_pipeline
from services.generator.adapters.providers.diffusers.entry import DiffusersEntry
from services.generator.adapters.providers.diffusers.pipeline_thread import (
    DiffusionFailed,
    Drawing,
    DrawingStopped,
    Flagged,
    ModelUnusable,
    OutOfMemory,
    Unsupported,
)
from services.generator.adapters.providers.diffusers.provider import INSTALL, DiffusersProvider
from services.generator.adapters.providers.diffusers.torch_pipeline import LIBRARIES
from services.generator.adapters.providers.entry_fields import Defaults, ModelEntry
from services.generator.domain.jobs import InputImage
from services.generator.domain.provider_results import Acceptance, CancelOutcome, Operation, ProviderError
from services.generator.ports import ProviderRequest
from tests.support.generator.decoder import decoder
from tests.support.patience import PATIENCE
from tests.support.providers.diffusers_entries import entry, order


class Pipeline:
    """Keeps what is to be drawn; `problem` is raised instead."""

    def __init__(self, problem: Exception | None = None) -> None:
        self.asked: list[Drawing] = []
        self.problem = problem

    def __call__(self, drawing: Drawing, step: Callable[[float], None]) -> list[Image.Image]:
        """Black pictures."""
        self.asked.append(drawing)
        if self.problem is not None:
            raise self.problem
        return [Image.new("RGB", drawing.size or (8, 8)) for _ in drawing.seeds]


def filled(image: Image.Image) -> bytes:
    """An image as a file."""
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


async def drawn(wanted: ProviderRequest, told: DiffusersEntry | None = None) -> Drawing:
    """What a pipeline is asked for by a call."""
    pipeline = Pipeline()
    provider = DiffusersProvider(told or entry(), decoder(), load=lambda: pipeline)
    try:
        await provider.submit(wanted)
    finally:
        await provider.close()
    [asked] = pipeline.asked
    return asked


async def test_a_request_is_drawn_as_it_says() -> None:
    asked = await drawn(order(count=2, seed=7, negative_prompt="boats", size="320x200", output_format="webp"))

    assert asked == Drawing(
        prompt="a harbour", negative_prompt="boats", seeds=(7, 8), size=(320, 200), output_format="webp"
    )


async def test_what_nobody_says_is_the_choice_of_the_pipeline() -> None:
    asked = await drawn(order())

    assert (asked.size, asked.negative_prompt, asked.output_format) == (None, None, "png")


async def test_the_provider_file_says_what_a_job_leaves_out() -> None:
    asked = await drawn(order(), entry(defaults=Defaults(aspect_ratio="16:9", output_format="jpeg")))

    assert (asked.size, asked.output_format) == ((1024, 576), "jpeg")


async def test_the_answer_tells_the_seeds_and_that_it_was_free() -> None:
    provider = DiffusersProvider(entry(), decoder(), load=Pipeline)
    made = await provider.submit(order(count=2, seed=2**63 - 1))
    await provider.close()

    assert [image.seed for image in made.images] == [2**63 - 1, 0]
    assert made.cost_micros == 0


async def test_a_call_without_seed_has_one_of_its_own_and_the_same_when_it_is_sent_again() -> None:
    seeds = [(await drawn(order(key=key))).seeds for key in ("call_1", "call_1", "call_2")]

    assert seeds[0] == seeds[1] != seeds[2]


@pytest.mark.parametrize(
    ("settings", "shapes"),
    [
        ({"max_side": 1024}, {"1:1": (1024, 1024), "16:9": (1024, 576), "3:2": (1008, 672), "2:3": (672, 1008)}),
        ({"max_side": 512, "side_multiple": 64}, {"1:1": (512, 512), "4:3": (512, 384), "3:4": (384, 512)}),
    ],
)
async def test_a_ratio_is_the_largest_size_that_is_exactly_so(
    settings: dict[str, Any], shapes: dict[str, tuple[int, int]]
) -> None:
    assert {ratio: (await drawn(order(aspect_ratio=ratio), entry(settings))).size for ratio in shapes} == shapes


def test_a_ratio_that_no_size_has_is_not_offered() -> None:
    provider = DiffusersProvider(entry({"max_side": 512, "side_multiple": 64}), decoder(), load=Pipeline)
    able = provider.describe(is_default=False).capabilities

    assert list(able.aspect_ratios) == ["1:1", "4:3", "3:4", "3:2", "2:3"]


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"size": "1032x64"}, "1032x64"),
        ({"size": "68x64"}, "68x64"),
        ({"size": "56x64"}, "56x64"),
        ({"aspect_ratio": "21:9"}, "21:9"),
        ({"options": {"style": "ink"}}, "takes no option 'style'"),
        ({"options": {"steps": 30.0}}, "steps of local must be a whole number from 1 to 100"),
        ({"options": {"steps": True}}, "steps of local must be a whole number"),
        ({"options": {"steps": 101}}, "from 1 to 100"),
        ({"options": {"guidance_scale": "7"}}, "guidance_scale of local must be a number from 0 to 100"),
        ({"options": {"guidance_scale": float("nan")}}, "guidance_scale of local must be a number"),
        ({"options": {"strength": 0.5}}, "needs an input image"),
        ({"negative_prompt": "boats"}, "negative_prompt"),
    ],
)
async def test_what_it_cannot_honour_is_refused_and_not_left_out(request_: dict[str, Any], words: str) -> None:
    with pytest.raises(ProviderError, match=words) as error:
        await drawn(order(**request_), entry({"guidance_scale": 1}))

    assert (error.value.reason, error.value.acceptance) == ("UNSUPPORTED", Acceptance.NOT_ACCEPTED)


async def test_options_are_arguments_of_the_pipeline_by_its_own_names() -> None:
    asked = await drawn(order(options={"steps": 12, "guidance_scale": 4, "eta": 0.5}))

    assert asked.arguments == {"num_inference_steps": 12, "guidance_scale": 4, "eta": 0.5}


async def test_a_negative_prompt_without_guidance_is_refused_and_not_left_out() -> None:
    with pytest.raises(ProviderError, match="does not use a negative_prompt"):
        await drawn(order(negative_prompt="boats", options={"guidance_scale": 1}))


PICTURE = filled(Image.new("RGB", (96, 64), "navy"))
#: What is transparent is drawn anew: all of it.
MASK = filled(Image.new("RGBA", (96, 64), (0, 0, 0, 0)))
EDITING = {"image_to_image": True, "inpainting": True}


def editing(*indexes: int) -> ProviderRequest:
    """A call with pictures at these places; -1 is the mask."""
    places = tuple(InputImage(index=index, url=None, content_type="image/png") for index in indexes)
    wanted = order()
    inputs = tuple(MASK if index < 0 else PICTURE for index in indexes)
    return replace(wanted, request=replace(wanted.request, inputs=places), inputs=inputs)


async def test_a_picture_and_a_mask_go_to_the_pipeline_as_large_as_what_is_drawn() -> None:
    asked = await drawn(editing(0, -1), entry(EDITING))
    assert asked.image
    assert asked.mask
    assert (asked.image.mode, asked.mask.mode) == ("RGB", "L")
    assert asked.image.size == asked.mask.size == (96, 64)
    assert (asked.image.getpixel((0, 0)), asked.mask.getpixel((0, 0))) == ((0, 0, 128), 255)

    asked = await drawn(editing(0), entry(EDITING))
    assert asked.image
    assert asked.mask is None


async def test_a_picture_that_does_not_decode_is_refused_before_anything_is_drawn() -> None:
    with pytest.raises(ProviderError) as refusal:
        await drawn(replace(editing(0), inputs=(PICTURE[:60],)), entry(EDITING))
    assert (refusal.value.reason, refusal.value.acceptance) == ("INVALID_INPUT", Acceptance.NOT_ACCEPTED)


@pytest.mark.parametrize(
    ("settings", "wanted", "words"),
    [
        ({}, editing(0), "do not enable image_to_image"),
        ({"inpainting": True}, editing(0), "do not enable image_to_image"),
        ({"image_to_image": True}, editing(0, -1), "do not enable inpainting"),
    ],
)
async def test_an_edit_that_the_file_does_not_offer_is_refused(
    settings: dict[str, Any], wanted: ProviderRequest, words: str
) -> None:
    with pytest.raises(ProviderError, match=words):
        await drawn(wanted, entry(settings))


@pytest.mark.parametrize(
    ("settings", "offered"),
    [({}, (0, False)), ({"image_to_image": True}, (1, False)), ({"inpainting": True}, (1, True)), (EDITING, (1, True))],
)
def test_edits_are_offered_where_the_file_says_so(settings: dict[str, Any], offered: tuple[int, bool]) -> None:
    able = DiffusersProvider(entry(settings), decoder(), load=Pipeline).describe(is_default=False).capabilities

    assert (able.max_input_images, able.mask) == offered


def test_an_adapter_that_is_not_there_is_a_mistake_of_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(torch_pipeline, "find_spec", lambda name: object())

    with pytest.raises(ConfigError, match=r"settings\.loras: .*ink.* does not exist"):
        DiffusersProvider(entry({"loras": [{"path": str(tmp_path / "ink.safetensors")}]}), decoder())


def test_the_library_for_adapters_is_asked_for_only_where_there_are_some(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_pipeline, "find_spec", lambda name: None if name == "peft" else object())
    DiffusersProvider(entry(), decoder())

    with pytest.raises(ConfigError, match="peft not installed"):
        DiffusersProvider(entry({"loras": [{"path": "owner/ink"}]}), decoder())


@pytest.mark.parametrize(
    ("problem", "code", "reason", "retryable", "acceptance"),
    [
        (OutOfMemory("full"), "TEMPORARY", "PROVIDER_UNAVAILABLE", True, Acceptance.NOT_ACCEPTED),
        (MemoryError("full"), "TEMPORARY", "PROVIDER_UNAVAILABLE", True, Acceptance.NOT_ACCEPTED),
        (ModelUnusable("/models/gone"), "PERMANENT", "PROVIDER_REJECTED", False, Acceptance.NOT_ACCEPTED),
        (Unsupported("odd"), "PERMANENT", "UNSUPPORTED", False, Acceptance.NOT_ACCEPTED),
        (Flagged("seen"), "PERMANENT", "CONTENT_POLICY", False, Acceptance.ACCEPTED),
        (DrawingStopped("late"), "TEMPORARY", "PROVIDER_UNAVAILABLE", True, Acceptance.ACCEPTED),
    ],
)
async def test_what_goes_wrong_is_classified(
    problem: Exception, code: str, reason: str, retryable: bool, acceptance: Acceptance
) -> None:
    provider = DiffusersProvider(entry(), decoder(), load=lambda: Pipeline(problem))
    with pytest.raises(ProviderError) as caught:
        await provider.submit(order())
    await provider.close()
    error = caught.value

    assert (error.code, error.reason, error.retryable, error.acceptance) == (code, reason, retryable, acceptance)
    assert error.vendor.code == ("OutOfMemory" if isinstance(problem, MemoryError) else type(problem).__name__)
    assert error.vendor.message
    assert "/models" not in error.message


def test_every_failure_has_a_meaning() -> None:
    from services.generator.adapters.providers.diffusers.errors import MEANINGS

    assert set(MEANINGS) == set(DiffusionFailed.__subclasses__())


async def test_there_are_no_operations() -> None:
    provider = DiffusersProvider(entry(), decoder(), load=Pipeline)

    assert await provider.cancel(Operation(id="x")) is CancelOutcome.UNSUPPORTED
    with pytest.raises(AssertionError):
        await provider.poll(Operation(id="x"))


def test_the_catalogue_tells_what_the_adapter_does() -> None:
    settings = {"side_multiple": 48, "max_side": 960, "max_images_per_call": 4}
    told = DiffusersProvider(entry(settings), decoder(), load=Pipeline).describe(is_default=True)
    able = told.capabilities

    assert (told.name, told.kind, told.default_model, told.max_concurrency) == ("local", "diffusers", "model", 1)
    assert (able.free, able.idempotent, able.resumable, able.cancelable) == (True, True, False, False)
    assert (able.min_side, able.max_side, able.side_multiple, able.max_images_per_call) == (96, 960, 48, 4)
    assert (able.seed, able.negative_prompt, able.max_input_images) == (True, True, 0)


@pytest.mark.parametrize(
    ("settings", "heeded"),
    [({}, True), ({"guidance_scale": 1.5}, True), ({"guidance_scale": 0}, False), ({"negative_prompt": False}, False)],
)
def test_a_negative_prompt_is_offered_where_it_is_heeded(settings: dict[str, Any], heeded: bool) -> None:
    provider = DiffusersProvider(entry(settings), decoder(), load=Pipeline)

    assert provider.describe(is_default=False).capabilities.negative_prompt == heeded


@pytest.mark.parametrize(
    "bad",
    [
        {"settings": {}},
        {"settings": {"path": ""}},
        {"settings": {"path": "a/b", "device": "tpu"}},
        {"settings": {"path": "a/b", "dtype": "int8"}},
        {"settings": {"path": "a/b", "steps": 0}},
        {"settings": {"path": "a/b", "max_side": 100, "side_multiple": 128}},
        {"settings": {"path": "a/b", "max_steps": 0}},
        {"settings": {"path": "a/b", "loras": [{"path": "a/b", "weight": 99}]}},
        {"settings": {"path": "a/b", "loras": [{"weight": 1}]}},
        {"settings": {"path": "a/b"}, "models": [{"name": "one"}, {"name": "two"}]},
        {},
    ],
)
def test_an_entry_that_makes_no_sense_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        DiffusersEntry.model_validate({"name": "local", "kind": "diffusers"} | bad)


def test_a_missing_extra_is_named_with_the_way_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_pipeline, "find_spec", lambda name: None)

    with pytest.raises(ConfigError, match="torch, diffusers") as error:
        DiffusersProvider(entry(), decoder())
    assert INSTALL in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("path", ["/nowhere/model", "./model", "model", "a/b/c", "~/model", "../model"])
def test_a_folder_without_a_model_is_a_mistake_of_the_file(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.setattr(torch_pipeline, "find_spec", lambda name: object())

    with pytest.raises(ConfigError, match=r"settings\.path"):
        DiffusersProvider(entry({"path": path}), decoder())


async def test_what_may_be_a_model_of_the_hub_is_looked_for_by_the_first_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_pipeline, "find_spec", lambda name: object())

    await DiffusersProvider(entry({"path": "owner/model"}), decoder()).close()


def test_a_name_is_the_model_folders_unless_the_file_has_one() -> None:
    assert entry({"path": "/models/small"}).model == "small"
    assert entry(models=(ModelEntry(name="own"),)).model == "own"
    assert entry(default_model="other", models=(ModelEntry(name="own"),)).model == "other"


def test_the_extra_is_not_imported_before_a_call_needs_it() -> None:
    asked = (
        "import sys; from services.generator.adapters import providers;"
        f"sys.exit(any(name in sys.modules for name in {LIBRARIES}))"
    )
    done = subprocess.run([sys.executable, "-c", asked], env={"PYTHONPATH": "proto:."}, timeout=PATIENCE)
    assert done.returncode == 0
