"""Requests as a provider is sent them: listed models, allowed options, and fixed options that always win."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from common.config import ConfigError
from services.generator.adapters.providers import provider_file
from services.generator.adapters.providers.fal.entry import FalEntry
from services.generator.adapters.providers.gemini.entry import GeminiEntry
from services.generator.adapters.providers.kinds import KINDS, ProviderFile
from services.generator.adapters.providers.option_rules import merged
from services.generator.domain.jobs import Request
from services.generator.domain.provider_results import Acceptance, ProviderError
from tests.support.pages import provider_pages

MODEL = "fal-ai/flux/dev"


def entry(**told: Any) -> FalEntry:
    """An entry of the kind `fal`."""
    return FalEntry.model_validate({"name": "fal", "kind": "fal", "models": [{"name": MODEL}]} | told)


def sent(told: Any, options: dict[str, Any], model: str = MODEL) -> Any:
    """The options that are sent."""
    return told.request_for(model, Request(prompt="x", options=options)).options


def refused(told: Any, options: dict[str, Any], model: str = MODEL) -> ProviderError:
    """Why nothing is sent."""
    with pytest.raises(ProviderError) as error:
        sent(told, options, model)
    assert error.value.acceptance is Acceptance.NOT_ACCEPTED
    return error.value


def test_a_kind_lets_jobs_set_what_it_knows_to_be_harmless() -> None:
    assert sent(entry(), {"guidance_scale": 3, "acceleration": "high"}) == {
        "guidance_scale": 3,
        "acceleration": "high",
    }


@pytest.mark.parametrize(
    "options",
    [
        {"enable_safety_checker": False},
        {"num_images": 8},
        {"image_size": {"width": 14_000, "height": 14_000}},
        {"num_inference_steps": 51},
        {"num_inference_steps": 30.5},
        {"guidance_scale": True},
        {"guidance_scale": float("nan")},
        {"acceleration": "turbo"},
        {"guidance_scale": {"value": 3}},
    ],
)
def test_all_else_is_refused_before_anything_is_sent(options: dict[str, Any]) -> None:
    assert refused(entry(), options).reason == "UNSUPPORTED"


def test_an_entry_adds_to_the_options_and_takes_away() -> None:
    told = entry(allowed_options={"sync_mode": {"type": "boolean"}, "strength": None})

    assert sent(told, {"sync_mode": True, "guidance_scale": 3}) == {"sync_mode": True, "guidance_scale": 3}
    assert refused(told, {"strength": 0.5}).reason == "UNSUPPORTED"


def test_an_operator_who_writes_all_jobs_may_allow_any_option() -> None:
    assert sent(entry(allowed_options="any"), {"enable_safety_checker": False}) == {"enable_safety_checker": False}


@pytest.mark.parametrize("rule", [None, {"type": "integer"}])
def test_a_star_of_another_kind_opens_nothing(rule: Any) -> None:
    assert refused(entry(allowed_options={"*": rule}), {"enable_safety_checker": False}).reason == "UNSUPPORTED"


@pytest.mark.parametrize("allowed", [{"enable_safety_checker": {"type": "boolean"}}, "any"])
def test_fixed_options_always_win(allowed: Any) -> None:
    told = entry(
        allowed_options=allowed,
        fixed_options={"enable_safety_checker": True},
        defaults={"provider_options": {"enable_safety_checker": False}},
    )

    assert sent(told, {}) == {"enable_safety_checker": True}
    if allowed == "any":
        assert sent(told, {"enable_safety_checker": False}) == {"enable_safety_checker": True}
    else:
        assert refused(told, {"enable_safety_checker": False}).reason == "UNSUPPORTED"


def test_a_fixed_option_within_an_object_leaves_its_neighbours_to_jobs() -> None:
    told = GeminiEntry.model_validate(
        {
            "name": "g",
            "kind": "gemini",
            "models": [{"name": "m"}],
            "fixed_options": {"generationConfig": {"topP": 0.5}, "safetySettings": [{"category": "ALL"}]},
        }
    )

    assert sent(told, {"generationConfig": {"temperature": 1}}, "m") == {
        "generationConfig": {"temperature": 1, "topP": 0.5},
        "safetySettings": [{"category": "ALL"}],
    }
    assert refused(told, {"generationConfig": {"topP": 1}}, "m").reason == "UNSUPPORTED"
    assert refused(told, {"safetySettings": []}, "m").reason == "UNSUPPORTED"


def test_defaults_of_the_operator_need_no_rule_and_a_job_changes_what_it_may() -> None:
    told = entry(defaults={"provider_options": {"sync_mode": False, "guidance_scale": 2}})

    assert sent(told, {"guidance_scale": 4}) == {"sync_mode": False, "guidance_scale": 4}


@pytest.mark.parametrize("model", ["", "fal-ai/flux/pro", f"{MODEL}/../../admin", "../predictions/p1/cancel?x=", "*"])
@pytest.mark.parametrize("told", [{}, {"models": [], "default_model": MODEL}], ids=["listed", "default alone"])
def test_a_model_that_the_file_does_not_name_is_refused(told: dict[str, Any], model: str) -> None:
    assert refused(entry(**told), {}, model).reason == "INVALID_INPUT"


def test_the_default_model_may_be_named_beside_the_listed_ones() -> None:
    told = entry(default_model="fal-ai/other")

    assert told.model_names == ("fal-ai/other", MODEL)
    assert sent(told, {}, "fal-ai/other") == {}


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"type": "integer", "minimum": 5, "maximum": 1}, "minimum is larger"),
        ({"type": "boolean", "minimum": 1}, "are for integer and number"),
        ({"type": "number", "values": ["a"]}, "are for string"),
        ({"type": "float"}, "must be 'integer', 'number'"),
        ({"type": "integer", "most": 4}, "There is no key most"),
    ],
)
def test_a_rule_that_makes_no_sense_is_found_in_the_file(tmp_path: Path, rule: dict[str, Any], words: str) -> None:
    file = tmp_path / "providers.yaml"
    told = {"name": "f", "kind": "fal", "api_key_env": "K", "models": [{"name": "m"}], "allowed_options": {"x": rule}}
    file.write_text(yaml.safe_dump({"providers": [told]}), encoding="utf-8")

    with pytest.raises(ConfigError, match=words):
        provider_file.read(file, max_timeout_seconds=600)


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"procedural", "generic", "comfyui"}))
def test_no_kind_lets_jobs_set_what_has_a_field_or_a_price_or_is_for_safety(kind: str) -> None:
    [read] = ProviderFile.model_validate(
        {"providers": [yaml.safe_load(provider_pages.minimal_file(kind))["providers"][0]]}
    ).providers
    rules = read.option_rules()

    assert rules is not None
    words = (
        "safety",
        "moderation",
        "filter",
        "prompt",
        "model",
        "size",
        "width",
        "height",
        "num_images",
        "seed",
        "url",
    )
    allowed = {"search_prompt", "select_prompt", "foreground_prompt", "prompt_strength", "prompt_upsampling"}
    allowed |= {"image_prompt_strength"}
    assert [path for path in rules if any(word in path.lower() for word in words) and path not in allowed] == []


def test_objects_are_merged_and_values_of_the_upper_win() -> None:
    assert merged({"a": {"b": 1, "c": 2}, "d": 1}, {"a": {"b": 3}, "d": {"e": 1}}) == {
        "a": {"b": 3, "c": 2},
        "d": {"e": 1},
    }
