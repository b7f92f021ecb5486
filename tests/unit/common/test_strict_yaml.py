"""YAML in which a key occurs twice."""

import pytest

from common import strict_yaml


def test_keys_of_a_merged_mapping_may_be_replaced() -> None:
    text = "a: &a {x: 1, y: 1}\nb: &b {<<: *a, x: 2}\nc: {<<: *b, x: 3}\nd: [{x: 1}, {x: 2}]"

    assert strict_yaml.load(text)["c"] == {"x": 3, "y": 1}


@pytest.mark.parametrize("text", ["{a: 1, a: 1}", "{a: 1, 'a': 2}", "- b: {a: 1, a: 2}", "{1: a, 1: b}"])
def test_a_key_that_occurs_twice_is_refused(text: str) -> None:
    with pytest.raises(strict_yaml.DuplicateKey, match="occurs twice"):
        strict_yaml.load(text)


def test_a_long_key_is_cut_in_the_message() -> None:
    with pytest.raises(strict_yaml.DuplicateKey) as refused:
        strict_yaml.load("{%s: 1, %s: 2}" % (("k" * 500,) * 2))

    assert len(str(refused.value.problem)) < 150
