"""What a provider cannot do, and what nobody may ask, is refused by the name of the field."""

from dataclasses import replace
from typing import Any

import pytest

from services.job.domain.providers import Capabilities, Model, Provider
from services.job.domain.refusals import Refusal
from services.job.domain.request_validation import choose, lost_options
from services.job.domain.requests import InputImage, JobRequest

MIB = 1024 * 1024
ABLE = Capabilities(
    min_side=64,
    max_side=2048,
    side_multiple=8,
    aspect_ratios=("1:1", "16:9"),
    output_formats=("png", "webp"),
    qualities=("high",),
    seed=True,
    negative_prompt=True,
    max_input_images=16,
    mask=True,
    max_prompt_characters=100,
    backgrounds=("transparent", "auto"),
    output_compression=True,
    moderations=("auto", "low"),
    input_fidelities=("high",),
    max_ratio=3.0,
)
ALL_ROUND = Provider(
    name="all", kind="fake", is_default=True, default_model="m", models=(Model(name="m"), Model(name="l")),
    capabilities=ABLE,
)  # fmt: skip
POOR = Provider(name="poor", kind="fake", is_default=False, default_model="any")
CATALOGUE = {one.name: one for one in (ALL_ROUND, POOR)}
PICTURE = InputImage(content_type="image/png", sha256="0" * 64, size_bytes=10)

FINE: dict[str, dict[str, Any]] = {
    "a prompt alone": {},
    "a size within the sides": {"size": "1024x768"},
    "a listed aspect ratio": {"aspect_ratio": "16:9"},
    "everything the provider can": {
        "negative_prompt": "fog", "model": "l", "n": 10, "seed": 2**63 - 1, "quality": "high", "output_format": "webp",
        "input_images": (PICTURE, InputImage(url="https://example.test/a.png")), "mask": PICTURE,
        "background": "transparent", "output_compression": 0, "moderation": "low", "input_fidelity": "high",
        "metadata": {"k" * 40: "v" * 500}, "end_user": "u" * 128, "start_within_seconds": 1,
    },
    "sixteen inputs": {"input_images": (PICTURE,) * 16},
    "a longer side of just three times the shorter one": {"size": "192x64"},
    "a poor provider and no wishes": {"provider": "poor"},
    "a fallback that can do as much": {"fallback": ("poor",)},
    "the model of a provider without a list": {"provider": "poor", "model": "any"},
}  # fmt: skip
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "an empty prompt": ({"prompt": ""}, "prompt"),
    "a prompt beyond any": ({"provider": "poor", "prompt": "x" * 32_001}, "prompt"),
    "a prompt beyond the provider's": ({"prompt": "x" * 101}, "prompt"),
    "no image": ({"n": 0}, "n"),
    "too many images": ({"n": 11}, "n"),
    "a negative seed": ({"seed": -1}, "seed"),
    "a seed too large": ({"seed": 2**63}, "seed"),
    "a seed that the provider ignores": ({"provider": "poor", "seed": 1}, "seed"),
    "size and ratio": ({"size": "64x64", "aspect_ratio": "1:1"}, "aspect_ratio"),
    "a size that is none": ({"size": "big"}, "size"),
    "a ratio as size": ({"size": "16:9"}, "size"),
    "a side too small": ({"size": "56x64"}, "size"),
    "a side too large": ({"size": "2056x64"}, "size"),
    "a side off the grid": ({"size": "65x64"}, "size"),
    "a size too long": ({"size": "200x64"}, "size"),
    "a size too tall": ({"size": "64x200"}, "size"),
    "a size where none is chosen": ({"provider": "poor", "size": "64x64"}, "size"),
    "a ratio that is not listed": ({"aspect_ratio": "2:1"}, "aspect_ratio"),
    "a format that is not listed": ({"output_format": "jpeg"}, "output_format"),
    "a quality that is not listed": ({"quality": "low"}, "quality"),
    "a negative prompt nobody reads": ({"provider": "poor", "negative_prompt": "fog"}, "negative_prompt"),
    "a background nobody heeds": ({"provider": "poor", "background": "transparent"}, "background"),
    "a background of nobody here": ({"background": "opaque"}, "background"),
    "a compression nobody heeds": ({"provider": "poor", "output_compression": 80}, "output_compression"),
    "a compression beyond any": ({"output_compression": 101}, "output_compression"),
    "a compression of png": ({"output_compression": 80, "output_format": "png"}, "output_compression"),
    "a moderation nobody heeds": ({"provider": "poor", "moderation": "low"}, "moderation"),
    "a fidelity nobody heeds": ({"input_images": (PICTURE,), "input_fidelity": "low"}, "input_fidelity"),
    "a fidelity to nothing": ({"input_fidelity": "high"}, "input_fidelity"),
    "a mask of nothing": ({"mask": PICTURE}, "mask"),
    "a transparent jpeg": ({"background": "transparent", "output_format": "jpeg"}, "background"),
    "a fallback that ignores the background": ({"fallback": ("poor",), "background": "transparent"}, "fallback.0"),
    "a mask nobody reads": ({"provider": "poor", "mask": PICTURE}, "mask"),
    "a model that is not there": ({"model": "xl"}, "model"),
    "a model beside the only one": ({"provider": "poor", "model": "../predictions/p1/cancel?x="}, "model"),
    "a fallback that is not there": ({"fallback": ("poor", "nobody")}, "fallback.1"),
    "a fallback that ignores the seed": ({"fallback": ("poor",), "seed": 1}, "fallback.0"),
    "options of one provider with a fallback": (
        {"fallback": ("poor",), "provider_options": {"steps": 4}},
        "provider_options",
    ),
    "too many fallbacks": ({"fallback": ("poor",) * 6}, "fallback"),
    "more inputs than the provider's": ({"provider": "poor", "input_images": (PICTURE,)}, "input_images"),
    "too many inputs": ({"input_images": (PICTURE,) * 17}, "input_images"),
    "an input that is nothing": ({"input_images": (PICTURE, InputImage())}, "input_images.1"),
    "a mask that is nothing": ({"mask": InputImage()}, "mask"),
    "an input too large": ({"input_images": (replace(PICTURE, size_bytes=20 * MIB + 1),)}, "input_images.0"),
    "inputs too large together": ({"input_images": (replace(PICTURE, size_bytes=14 * MIB),) * 3}, "input_images"),
    "too much metadata": ({"metadata": {str(one): "" for one in range(17)}}, "metadata"),
    "a metadata key too long": ({"metadata": {"k" * 41: ""}}, f"metadata.{'k' * 40}"),
    "a metadata value too long": ({"metadata": {"k": "v" * 501}}, "metadata.k"),
    "an end user too long": ({"end_user": "u" * 129}, "end_user"),
    "an empty end user": ({"end_user": ""}, "end_user"),
    "a start in no time": ({"start_within_seconds": 0}, "start_within_seconds"),
    "an end in no time": ({"finish_within_seconds": 0}, "finish_within_seconds"),
}


def asking(**fields: Any) -> JobRequest:
    """A request with these wishes."""
    return JobRequest(**({"prompt": "a harbour"} | fields))


@pytest.mark.parametrize("fields", FINE.values(), ids=FINE)
def test_what_a_provider_can_do_is_accepted(fields: dict[str, Any]) -> None:
    provider, model = choose(asking(**fields), CATALOGUE)

    assert provider.name == fields.get("provider", "all")
    assert model == fields.get("model", provider.default_model)


@pytest.mark.parametrize(("fields", "field"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_refused_by_its_field(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(Refusal) as refusal:
        choose(asking(**fields), CATALOGUE)
    assert refusal.value.reason == "INVALID_INPUT"
    assert field in [one.field for one in refusal.value.violations]
    assert refusal.value.message.startswith(refusal.value.violations[0].field)


def test_every_violation_is_named_at_once() -> None:
    with pytest.raises(Refusal) as refusal:
        choose(asking(n=11, seed=-1, quality="low"), CATALOGUE)
    assert {one.field for one in refusal.value.violations} == {"n", "seed", "quality"}


def test_listed_sizes_are_the_only_ones() -> None:
    listed = replace(ALL_ROUND, capabilities=replace(ABLE, sizes=("1024x1024",)))

    assert choose(asking(size="1024x1024"), {"all": listed})[0] == listed
    with pytest.raises(Refusal, match="1024x1024"):
        choose(asking(size="512x512"), {"all": listed})


def test_whoever_asks_for_what_a_provider_would_drop_is_told_which_do_not() -> None:
    other = replace(ALL_ROUND, name="other", is_default=False)
    with pytest.raises(Refusal) as refusal:
        choose(asking(provider="poor", background="transparent"), CATALOGUE | {"other": other})
    assert refusal.value.message == "background: poor does not support transparent. These do: all, other."

    with pytest.raises(Refusal, match="No provider here does"):
        choose(asking(provider="poor", background="opaque"), CATALOGUE)


def test_a_request_loses_nothing_where_it_names_nothing() -> None:
    assert lost_options(asking(), Capabilities()) == ()


def test_a_model_is_asked_for_what_it_can_do_itself() -> None:
    edits = replace(ABLE, max_input_images=3, seed=False, sizes=("512x512",))
    own = Model(name="edit", capabilities=edits)
    both = replace(ALL_ROUND, models=(*ALL_ROUND.models, own))
    pictures = tuple(InputImage(url=f"https://a.test/{place}") for place in range(3))

    assert choose(asking(model="edit", size="512x512", input_images=pictures), {"all": both})[1] == "edit"
    with pytest.raises(Refusal) as refusal:
        choose(asking(model="edit", seed=1, size="1024x1024"), {"all": both})
    assert [one.field for one in refusal.value.violations] == ["seed", "size"]
    assert choose(asking(seed=1), {"all": both})[1] == ALL_ROUND.default_model


def test_a_fallback_is_asked_for_what_its_default_model_can_do() -> None:
    own = Model(name=POOR.default_model, capabilities=ABLE)
    catalogue = CATALOGUE | {"poor": replace(POOR, models=(own,))}

    assert choose(asking(seed=1, fallback=("poor",)), catalogue)[0].name == "all"
    with pytest.raises(Refusal):
        choose(asking(seed=1, fallback=("poor",)), CATALOGUE)


def test_who_names_a_size_where_there_are_ratios_alone_is_told_to_name_one() -> None:
    shaped = replace(ALL_ROUND, capabilities=replace(ABLE, sizes=(), max_side=0, aspect_ratios=("1:1", "16:9")))

    with pytest.raises(Refusal, match=r"has no size to choose. Name an aspect_ratio: 1:1, 16:9\."):
        choose(asking(size="512x512"), {"all": shaped})


def test_without_a_catalogue_the_asker_is_told_to_come_again() -> None:
    with pytest.raises(Refusal) as refusal:
        choose(asking(), {})
    assert (refusal.value.reason, refusal.value.retry_after_seconds) == ("SERVICE_UNAVAILABLE", 2)


def test_an_unknown_provider_is_answered_with_the_known_ones() -> None:
    with pytest.raises(Refusal, match="all, poor") as refusal:
        choose(asking(provider="nobody"), CATALOGUE)
    assert refusal.value.reason == "PROVIDER_NOT_FOUND"
    assert [one.field for one in refusal.value.violations] == ["provider"]


def test_without_a_default_the_first_by_name_serves() -> None:
    rivals = {name: replace(POOR, name=name) for name in ("b", "a")}

    assert choose(asking(), rivals)[0].name == "a"
