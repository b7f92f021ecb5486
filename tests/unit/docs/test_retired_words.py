"""Words that were given up do not come back as names."""

from pathlib import Path

from tests.support.checks import retired_words


def test_no_name_uses_a_retired_word() -> None:
    assert retired_words.violations() == []


def test_a_retired_word_is_noticed_in_every_kind_of_name(tmp_path: Path) -> None:
    for folder in retired_words.FOLDERS:
        (tmp_path / folder).mkdir()
    (tmp_path / "common" / "nats_hints.py").write_text(
        "class ImageKeeper:\n    async def fold(self, *, door: int) -> None: ...\n", encoding="utf-8"
    )

    found = [line.split(": ")[1] for line in retired_words.violations(tmp_path)]

    assert found == ["nats_hints", "ImageKeeper", "fold", "door"]


def test_a_word_counts_only_when_it_is_whole() -> None:
    assert retired_words.advice("folder_of_doorways") is None
