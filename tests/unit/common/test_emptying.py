"""Folders are emptied page after page, and told once they are; one that cannot be now holds up no other."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import pytest

from common.emptying import PAGE, Emptier, Folder, folder_of
from common.folders import StorageFailure
from common.object_store import StorageDenied, StorageUnavailable
from tests.support.patience import PATIENCE


def folder(number: int) -> Folder:
    """One of many."""
    return Folder(id=f"del_{number}", prefix=f"job_{number}/", lease_token="")


class World:
    """Folders that are due, a bucket in which some cannot be emptied, and what was told."""

    def __init__(self, *due: Folder, troubles: dict[str, StorageFailure] | None = None) -> None:
        self.due = list(due)
        self.troubles = troubles or {}
        self.emptied: list[str] = []
        self.listed: list[str] = []
        self.told: list[str] = []
        self.asked = asyncio.Event()
        self.most = 0

    async def claim(self, tokens: Sequence[str], *, emptied: Sequence[Folder]) -> Sequence[Folder]:
        """As many as there are tokens."""
        assert {one.prefix for one in emptied} <= set(self.emptied), "it is not empty yet"
        self.told += [one.id for one in emptied]
        given, self.due = self.due[: len(tokens)], self.due[len(tokens) :]
        self.most = max(self.most, len(given))
        self.asked.set()
        return given

    async def empty(
        self, listed: Sequence[str], names: Mapping[str, Sequence[str]]
    ) -> Mapping[str, int | StorageFailure]:
        """Empty them, or not."""
        prefixes = [*listed, *names]
        self.listed += listed
        self.emptied += [prefix for prefix in prefixes if prefix not in self.troubles]
        return {prefix: self.troubles.get(prefix, 2) for prefix in prefixes}

    def emptier(self, may_begin: Callable[[], bool] = lambda: True) -> Emptier:
        """Who empties them."""
        return Emptier(
            claim=self.claim, empty=self.empty, is_folder=lambda prefix: prefix.startswith("job_"), may_begin=may_begin
        )


async def test_a_run_ends_when_nothing_is_due_any_more_and_everything_is_told() -> None:
    world = World(*(folder(at) for at in range(5 * PAGE + 1)))
    counts = await world.emptier().run_once()

    assert counts == {"folders": 5 * PAGE + 1, "objects": 2 * (5 * PAGE + 1), "postponed": 0}
    assert (len(world.told), world.most) == (5 * PAGE + 1, PAGE)


async def test_a_folder_is_listed_unless_names_in_it_are_given() -> None:
    given = ["job_1/c/0", "job_2/c/0"]
    due = [folder_of(replace(folder(at), names=names)) for at, names in enumerate([[], given, given[:1]])]
    world = World(*due)
    await world.emptier().run_once()

    assert [list(one.names) for one in due] == [[], given[:1], []]
    assert (world.listed, len(world.told)) == (["job_0/", "job_2/"], 3)


@pytest.mark.parametrize("trouble", [StorageUnavailable("away"), StorageDenied("no")])
async def test_a_folder_that_cannot_be_emptied_now_holds_up_no_other_and_is_not_told(trouble: StorageFailure) -> None:
    world = World(*(folder(at) for at in range(PAGE + 3)), troubles={"job_1/": trouble})
    counts = await world.emptier().run_once()

    assert (counts["folders"], counts["postponed"]) == (PAGE + 2, 1)
    assert "del_1" not in world.told


@pytest.mark.parametrize("trouble", [StorageUnavailable("away"), StorageDenied("no")])
async def test_while_the_store_is_away_no_more_is_claimed(trouble: StorageFailure) -> None:
    due = [folder(at) for at in range(3 * PAGE)]
    world = World(*due, troubles={one.prefix: trouble for one in due})
    with pytest.raises(StorageUnavailable):
        await world.emptier().run_once()

    assert (len(world.due), world.told) == (2 * PAGE, [])


async def test_more_than_a_folder_is_never_emptied(caplog: pytest.LogCaptureFixture) -> None:
    world = World(Folder(id="del_1", prefix="", lease_token=""), folder(2))
    with caplog.at_level(logging.ERROR):
        await world.emptier().run_once()

    assert (world.emptied, world.told) == (["job_2/"], ["del_2"])
    assert "deletion.refused" in caplog.messages


async def test_what_is_in_hand_is_told_though_nothing_more_is_begun() -> None:
    world = World(*(folder(at) for at in range(3 * PAGE)))
    await world.emptier(may_begin=lambda: not world.emptied).run_once()

    assert len(world.told) == PAGE
    assert len(world.due) == 2 * PAGE


class Hinted:
    """Says once that something may be due."""

    def __init__(self) -> None:
        self.given = asyncio.Event()

    async def wait(self, most: int, *, seconds: float) -> int:
        """One hint, when the test gives it."""
        await self.given.wait()
        self.given.clear()
        return 1


async def test_a_hint_is_heard_between_two_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("common.emptying.POLL_SECONDS", 10 * PATIENCE)
    world, hints, stop = World(), Hinted(), asyncio.Event()
    emptier = Emptier(claim=world.claim, empty=world.empty, is_folder=lambda _: True, wakeups=hints)
    running = asyncio.create_task(emptier.run(stop))
    async with asyncio.timeout(PATIENCE):
        await world.asked.wait()
        world.asked.clear()
        world.due = [folder(1), folder(2)]
        hints.given.set()
        while len(world.told) < 2:
            await world.asked.wait()
            world.asked.clear()
        stop.set()
        await running

    assert world.emptied == ["job_1/", "job_2/"]
