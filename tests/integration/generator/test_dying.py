"""Whenever a generator dies or is not answered, on the real ledger: sold once, and what was sold is there or told."""

import os
from itertools import product

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import Phase as Part
from hypothesis import strategies as st

from services.job.domain.calls import OPEN
from services.job.domain.jobs import ProviderCancel
from services.job.domain.refusals import Refusal
from services.job.domain.requests import OnAmbiguous
from services.job.domain.states import State
from services.job.store import calls, job_writer
from tests.support.generator.crashing_generator import World
from tests.support.generator.fault_points import Fault
from tests.support.job_service.rolled_back_use_cases import rehearsal
from tests.support.job_service.use_cases import JobUseCases
from tests.support.timing.virtual_time import in_virtual_time

#: Longer than any job takes that claims may be tried again for.
MOST_CLAIMS = 30
#: Looks after which the end of every call is known: two that find nothing, one that dies, and one more for each call.
MOST_LOOKS = 6
#: A look that dies before a moment is one that died after the moment before.
ENDS_OF_SETTLE_WORK = (Fault.KILLED_AFTER, Fault.ENDED_AFTER, Fault.AWAY, Fault.LOST)


async def live(world: World, *, patience: int = MOST_CLAIMS + 1) -> None:
    """Claim after claim, until there is nothing to claim, or the job has waited for too long."""
    for _ in range(min(patience, MOST_CLAIMS)):
        if not await world.claim():
            return
    world.give_up()
    assert patience < MOST_CLAIMS, "the job never ends"


async def settle(world: World, *, consents: int = 0) -> None:
    """Look after look, until no call of a job that is over is open. It stays as it is, and nothing is bought."""
    world.upload()
    sold, state, to_be_had = world.delivered_counts(), world.jobs.job(world.id).state, world.obtainable_images()
    for _ in range(MOST_LOOKS):
        if not world.is_to_be_settled():
            break
        await world.settle()
    assert not world.is_to_be_settled()
    job = world.jobs.job(world.id)
    assert (world.delivered_counts(), job.state) == (sold, state)
    assert job.provider_cancel is not ProviderCancel.PENDING
    if state is State.FAILED:
        assert to_be_had <= staged(world)
        check(world, consents=consents, is_settled=True)


def staged(world: World) -> set[int]:
    """Images that the ledger knows to be in staging."""
    return {row.image_index for row in world.jobs.sql("SELECT image_index FROM artifacts")}


def check(world: World, *, consents: int, is_settled: bool = False) -> None:
    """The books and the ledger agree with what the client sees."""
    sold, desk = world.delivered_counts(), world.jobs
    assert all(times <= 1 + consents for times in sold.values()), sold
    job = desk.job(world.id)
    # Not by `get`, which wants a transaction of its own.
    [seen] = desk.run(lambda c: job_writer.snapshots(c, [job])).values()
    [ledger] = desk.run(lambda c: calls.of_jobs(c, [world.id])).values() or [[]]
    here = staged(world)
    lost = set(sold) - here
    match seen.job.state:
        case State.UPLOADING:
            assert here
            missing = set(range(seen.job.image_count)) - here
            assert {warning.image_index for warning in seen.job.warnings} == missing
        case State.FAILED:
            assert not here or is_settled
            is_followed = any(call.phase in OPEN or call.can_be_followed for call in ledger)
            assert not lost or seen.retry_needs_consent or is_followed, (seen.job.failure, ledger)
        case state:
            raise AssertionError(state)


async def try_again(world: World, *, consents: int, retries: list[bool]) -> None:
    """The job to its end again for each retry of its user, after it failed."""
    for consent in retries:
        if world.jobs.job(world.id).state is not State.FAILED:
            return
        try:
            world.jobs.retry(world.id, consents=consent)
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
            await live(world)
            check(world, consents=0)
            await try_again(world, consents=0, retries=[False])
            moments.append(world.moments.number)

    moments: list[int] = []
    at(0)
    for moment in range(1, moments[0] + 1):
        at(moment)


@pytest.mark.parametrize("fault", Fault)
@pytest.mark.parametrize("resumable", [True, False], ids=["with operations", "synchronous"])
def test_no_moment_between_a_purchase_and_the_staging_of_what_is_no_image_is_the_wrong_one(
    database_url: str, fault: Fault, resumable: bool
) -> None:
    @in_virtual_time
    async def at(moment: int) -> None:
        with rehearsal(database_url) as desk:
            world = World(desk, {moment: fault}, ["bad"], resumable=resumable, n=1)
            await live(world)
            check(world, consents=0)
            await settle(world)
            assert not staged(world)
            moments.append(world.moments.number)
            failure = desk.job(world.id).failure
            # Who dies with an answer in hand that nobody can ask for again takes it along, and the job says so.
            is_told = failure is not None and failure.reason in ("AMBIGUOUS_OUTCOME", "RESULT_LOST")
            assert world.staging.raw or is_told or not world.delivered_counts()
            kept.append(bool(world.staging.raw))

    moments, kept = list[int](), list[bool]()
    at(0)
    assert kept == [True]
    for moment in range(1, moments[0] + 1):
        at(moment)
    assert sum(kept) > 1


async def abandoned(desk: JobUseCases, death: int, *, end: str, resumable: bool) -> World:
    """A job that is over, whose generator died after that moment, with all that it left open."""
    world = World(desk, {death: Fault.KILLED_AFTER}, ["slow"], resumable=resumable, n=2)
    await world.claim()
    if world.moments.is_dead and end == "canceled":
        desk.cancel(world.id)
    else:
        world.give_up()
    return world


@pytest.mark.parametrize("end", ["given up", "canceled"])
@pytest.mark.parametrize("resumable", [True, False], ids=["with operations", "synchronous"])
def test_no_moment_is_the_wrong_one_for_settle_work_to_die(database_url: str, end: str, resumable: bool) -> None:
    @in_virtual_time
    async def at(death: int, moment: int = 0, fault: Fault = Fault.KILLED_AFTER) -> None:
        with rehearsal(database_url) as desk:
            world = await abandoned(desk, death, end=end, resumable=resumable)
            died, before, left = world.moments.is_dead, world.moments.number, world.state()
            if moment or left not in seen:
                world.moments.faults = {before + moment: fault}
                await settle(world)
                ends.append((died, world.moments.number - before))
                await try_again(world, consents=0, retries=[False])
            else:
                ends.append((died, 0))
            seen.append(left)

    seen, ends, death = list[object](), [(True, 0)], 0
    while ends[-1][0]:
        death += 1
        at(death)
        for moment, fault in product(range(1, ends[-1][1] + 1), ENDS_OF_SETTLE_WORK):
            at(death, moment, fault)
    assert any(moments > 1 for _, moments in ends)


@settings(
    # More of them where there is time: CALOTYPE_TEST_EXAMPLES=1000.
    max_examples=int(os.environ.get("CALOTYPE_TEST_EXAMPLES", "40")),
    database=None,
    phases=[Part.generate],
    suppress_health_check=list(HealthCheck),
)
@given(
    faults=st.dictionaries(st.integers(1, 30), st.sampled_from(Fault), min_size=1, max_size=5),
    fates=st.lists(st.sampled_from(["good", "slow", "bad", "limited", "refused", "failed"]), max_size=4),
    resumable=st.booleans(),
    fallback=st.booleans(),
    on_refusal=st.booleans(),
    on_ambiguous=st.sampled_from(OnAmbiguous),
    images=st.integers(1, 3),
    patience=st.sampled_from([1, 2, 3, MOST_CLAIMS + 1]),
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
    images: int,
    patience: int,
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
                n=images,
                fallback=("procedural",) if fallback else (),
                fallback_on_refusal=on_refusal,
                on_ambiguous=on_ambiguous,
            )
            consents = int(on_ambiguous is OnAmbiguous.RETRY)
            await live(world, patience=patience)
            check(world, consents=consents)
            await settle(world, consents=consents)
            await try_again(world, consents=consents, retries=retries)

    run()
