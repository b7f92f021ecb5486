"""Whenever a generator dies or is not answered, on the real ledger: sold once, and what was sold is there or told."""

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import Phase as Part
from hypothesis import strategies as st

from services.job.domain.calls import OPEN, Phase
from services.job.domain.failures import Refusal
from services.job.domain.requests import OnAmbiguous
from services.job.domain.states import State
from services.job.store import calls, transitions
from tests.support.dying import Fault, World
from tests.support.jobs import JobDesk
from tests.support.rehearsing import rehearsal
from tests.support.virtual_time import in_virtual_time

#: Longer than any job takes that claims may be tried again for.
MOST_CLAIMS = 30
SOLD = frozenset({Phase.SUCCEEDED, Phase.UNKNOWN})


async def live(world: World) -> None:
    """Claim after claim, until there is nothing to claim."""
    for _ in range(MOST_CLAIMS):
        if not await world.claim():
            return
    raise AssertionError("the job never ends")


def check(world: World, *, consents: int) -> None:
    """The books and the ledger agree with what the client sees."""
    sold, desk = world.sold(), world.jobs
    assert all(times <= 1 + consents for times in sold.values()), sold
    job = desk.job(world.id)
    # Not by `get`, which wants a transaction of its own.
    [seen] = desk.run(lambda c: transitions.snapshots(c, [job])).values()
    [ledger] = desk.run(lambda c: calls.of_jobs(c, [world.id])).values() or [[]]
    staged = {row.image_index for row in desk.sql("SELECT image_index FROM artifacts")}
    lost = set(sold) - staged
    match seen.job.state:
        case State.UPLOADING:
            assert staged
            missing = set(range(seen.job.image_count)) - staged
            assert {warning.image_index for warning in seen.job.warnings} == missing
        case State.FAILED:
            assert not staged
            is_followed = any(call.phase in OPEN or call.can_be_followed for call in ledger)
            assert not lost or seen.retry_needs_consent or is_followed, (seen.job.failure, ledger)
        case state:
            raise AssertionError(state)


async def go_through(desk: JobDesk, world: World, *, consents: int, retries: list[bool]) -> None:
    """The job to its end, and again for each retry of its user."""
    await live(world)
    check(world, consents=consents)
    for consent in retries:
        if desk.job(world.id).state is not State.FAILED:
            return
        try:
            desk.retry(world.id, consents=consent)
        except Refusal as refusal:
            assert (refusal.reason, consent) == ("CONSENT_REQUIRED", False)
            continue
        consents += consent
        await live(world)
        check(world, consents=consents)


@pytest.mark.parametrize("fault", Fault)
@pytest.mark.parametrize("resumable", [True, False], ids=["with operations", "synchronous"])
def test_no_moment_is_the_wrong_one_to_die(database_url: str, fault: Fault, resumable: bool) -> None:
    @in_virtual_time
    async def at(moment: int) -> None:
        with rehearsal(database_url) as desk:
            world = World(desk, {moment: fault}, (), resumable=resumable, n=3)
            await go_through(desk, world, consents=0, retries=[False])
            moments.append(world.moments.number)

    moments: list[int] = []
    at(0)
    for moment in range(1, moments[0] + 1):
        at(moment)


@settings(
    # More of them where there is time: CALOTYPE_TEST_EXAMPLES=1000.
    max_examples=int(os.environ.get("CALOTYPE_TEST_EXAMPLES", "40")),
    database=None,
    phases=[Part.generate],
    suppress_health_check=list(HealthCheck),
)
@given(
    faults=st.dictionaries(st.integers(1, 30), st.sampled_from(Fault), min_size=1, max_size=5),
    fates=st.lists(st.sampled_from(["good", "good", "limited", "refused", "failed"]), max_size=4),
    resumable=st.booleans(),
    fallback=st.booleans(),
    on_refusal=st.booleans(),
    on_ambiguous=st.sampled_from(OnAmbiguous),
    count=st.integers(1, 3),
    retries=st.lists(st.booleans(), max_size=3),
)
def test_what_is_sold_is_sold_once_and_is_there_or_told(
    database_url: str,
    faults: dict[int, Fault],
    fates: list[str],
    resumable: bool,
    fallback: bool,
    on_refusal: bool,
    on_ambiguous: OnAmbiguous,
    count: int,
    retries: list[bool],
) -> None:
    @in_virtual_time
    async def run() -> None:
        with rehearsal(database_url) as desk:
            world = World(
                desk,
                faults,
                fates,
                resumable=resumable,
                n=count,
                fallback=("procedural",) if fallback else (),
                fallback_on_refusal=on_refusal,
                on_ambiguous=on_ambiguous,
            )
            await go_through(desk, world, consents=on_ambiguous is OnAmbiguous.RETRY, retries=retries)

    run()
