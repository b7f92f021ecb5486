"""A page is read when one is due, and told with whether it was the last."""

from collections.abc import Mapping, Sequence

import pytest

from common.sweeping import NamePage, Sweeper

NAMES = [f"{at:03}" for at in range(10)]


class Desk:
    """Gives one page, and keeps what it is told."""

    def __init__(self, page: NamePage | None) -> None:
        self.page = page
        self.told: list[tuple[list[str], bool]] = []
        self.tokens: list[str] = []

    async def claim_page(self, token: str) -> NamePage | None:
        """The page."""
        self.tokens.append(token)
        return self.page

    async def report_page(self, token: str, names: Sequence[str], *, is_end: bool) -> Mapping[str, int]:
        """Keep it."""
        self.tokens.append(token)
        self.told.append((list(names), is_end))
        return {"to_go": 1}


async def names(after: str, most: int) -> list[str]:
    """A small bucket."""
    return [name for name in NAMES if name > after][:most]


@pytest.mark.parametrize(
    ("page", "told"),
    [
        (NamePage(after="", limit=4), (NAMES[:4], False)),
        (NamePage(after="005", limit=4), (NAMES[6:], False)),
        (NamePage(after="006", limit=4), (NAMES[7:], True)),
        (NamePage(after="009", limit=4), ([], True)),
    ],
)
async def test_a_page_is_told_as_it_is(page: NamePage, told: tuple[list[str], bool]) -> None:
    desk = Desk(page)

    assert await Sweeper(desk, names).run_once() == {"to_go": 1}
    assert desk.told == [told]
    assert len(set(desk.tokens)) == 1


async def test_nothing_is_read_while_no_page_is_due() -> None:
    desk = Desk(None)

    assert await Sweeper(desk, names).run_once() == {}
    assert desk.told == []
