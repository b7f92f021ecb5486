"""What a request is made of: forms in vendors' spelling, numbers as they were sent, models that are names."""

import pytest
from google.protobuf import json_format, struct_pb2

from common.structs import plain
from services.generator.adapters.providers.http import forms, model_names
from services.generator.domain.provider_results import Acceptance, ProviderError


def test_a_form_has_no_words_of_python() -> None:
    written = forms.fields(
        {"stream": False, "n": 2, "f": 0.5, "s": "x", "none": None, "list": ["a", 1, None], "object": {"a": True}}
    )

    assert written == {
        "stream": "false", "n": "2", "f": "0.5", "s": "x", "list[]": ["a", "1"], "object": '{"a": true}',
    }  # fmt: skip


def test_whole_numbers_are_whole_again() -> None:
    sent = {"steps": 30, "cfg": 3.5, "nested": {"seed": 7, "list": [1, 2.5, -0.0, True, None, "30.0"]}, "huge": 1e300}
    struct = struct_pb2.Struct()
    json_format.ParseDict(sent, struct)
    found = plain(struct)

    assert found == sent
    assert [type(found["steps"]), type(found["nested"]["seed"]), type(found["huge"])] == [int, int, float]


@pytest.mark.parametrize("model", ["flux-1.1-pro", "owner/name", "deployments/o/n", "a@b:c"])
def test_a_name_is_a_path(model: str) -> None:
    assert model_names.path("paid", model, parts=range(1, 4)).replace("%40", "@").replace("%3A", ":") == model


@pytest.mark.parametrize(
    "model",
    [
        "",
        ".",
        "..",
        "../predictions/abc/cancel?x=",
        "a/../b",
        "a//b",
        "/a",
        "a/",
        "a?b",
        "a#b",
        "a%2fb",
        "a b",
        "ä",
        "a\n",
    ],
)
def test_what_a_path_is_resolved_by_is_in_no_name(model: str) -> None:
    with pytest.raises(ProviderError) as refusal:
        model_names.path("paid", model, parts=range(1, 9))

    assert (refusal.value.reason, refusal.value.acceptance) == ("INVALID_INPUT", Acceptance.NOT_ACCEPTED)
