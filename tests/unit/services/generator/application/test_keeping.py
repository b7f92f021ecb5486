"""What a call brought is had and kept, or kept as it came: a purchase is not thrown away for what is odd about it."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from calotype.error_reasons import Code, Reason

from common.object_store import StorageDenied, StorageUnavailable
from services.generator.application import stage_images, storage_retries
from services.generator.domain.jobs import CallPhase
from services.generator.domain.provider_results import Acceptance, FetchError, StageError, VendorError
from tests.support.generator.fakes import Provider, Reader, Staging, at, call_of, job_of, made, provider_error
from tests.support.patience import PATIENCE
from tests.support.timing.clocks import put_into
from tests.support.timing.virtual_time import in_virtual_time

from .conftest import GONE, OPERATION, World

ADDRESS, OTHER = "http://x/1.png", "http://x/2.png"
INVALID = StageError(code=Code.PERMANENT, reason=Reason.INVALID_IMAGE, message="No image.", retryable=False)


def missing(*, appears_within: float = 30.0) -> FetchError:
    """An address that does not know its image."""
    return FetchError(
        code=Code.TEMPORARY,
        reason=Reason.FETCH_FAILED,
        message="It is answered with status 404.",
        retryable=False,
        appears_within_seconds=appears_within,
    )


def busy(seconds: float) -> FetchError:
    """An address that wants to be asked later."""
    return FetchError(
        code=Code.TEMPORARY, reason=Reason.FETCH_FAILED, message="busy", retryable=True, retry_after_seconds=seconds
    )


def unread(body: bytes, acceptance: Acceptance = Acceptance.UNKNOWN, **changes: Any) -> Exception:
    """A success that its adapter could not read."""
    told = {"code": "UNKNOWN", "reason": "UNCLASSIFIED", "retryable": False, **changes}
    error = provider_error(acceptance, **told)
    error.vendor = VendorError(http_status=200, message="odd", body=body)
    return error


def raw_of(staging: Staging) -> dict[str, bytes]:
    """What is staged as it came, by the rest of its name behind job and call."""
    return {name.partition("/raw/")[2]: data for name, data in staging.raw.items()}


# Addresses.


@in_virtual_time
async def test_an_image_that_is_not_there_yet_is_asked_for_until_it_appears() -> None:
    world = World(Provider(at(ADDRESS), resumable=False), reader=Reader(missing(), missing(), missing()))
    await world.run(job_of())

    assert (world.facts.kinds, len(world.provider.submitted)) == (["images_generated"], 1)


@pytest.mark.parametrize("resumable", [True, False])
def test_an_image_that_does_not_appear_is_given_up_after_a_while(
    resumable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    @in_virtual_time
    async def run() -> None:
        clock = put_into(monkeypatch, stage_images, storage_retries)
        answers = (OPERATION, at(ADDRESS)) if resumable else (at(ADDRESS),)
        reader = Reader(*[missing() for _ in range(99)])
        reader.when_failed = lambda: clock.pass_by(4)
        world = World(Provider(*answers, resumable=resumable), reader=reader)
        await world.run(job_of())

        asked = 99 - len(reader.failures)
        assert (world.facts.error.reason, world.facts.error.retryable) == ("FETCH_FAILED", False)
        assert world.facts.phases == [CallPhase.SUCCEEDED]
        assert 7 <= asked <= 10

    run()


@in_virtual_time
async def test_an_address_is_asked_again_when_it_says_so_but_not_after_longer_than_a_minute() -> None:
    world = World(Provider(at(ADDRESS), resumable=False), reader=Reader(busy(7), busy(3600)))
    await world.run(job_of(max_seconds=3600))

    assert world.facts.kinds == ["images_generated"]
    assert asyncio.get_running_loop().time() == pytest.approx(67, abs=1)


@pytest.mark.parametrize(("bad", "kind"), [(2, "images_generated"), (3, "stage_failed")])
def test_what_is_no_image_is_fetched_anew_before_it_counts(bad: int, kind: str) -> None:
    @in_virtual_time
    async def run() -> None:
        world = World(Provider(at(ADDRESS), resumable=False), reader=Reader(*[replace(INVALID) for _ in range(bad)]))
        await world.run(job_of())

        assert (world.facts.kinds, world.facts.phases) == ([kind], [CallPhase.SUCCEEDED])

    run()


@pytest.mark.parametrize(("came", "asked"), [(b"", 2), (b"bad", 2), (b"all of it", 1)])
@in_virtual_time
async def test_a_file_that_is_shorter_than_was_told_counts_once_it_is_an_image(came: bytes, asked: int) -> None:
    short = FetchError(code=Code.TEMPORARY, reason=Reason.FETCH_FAILED, message="short", retryable=True, received=came)
    reader = Reader(short, replace(short))
    world = World(Provider(at(ADDRESS), resumable=False), reader=reader)
    await world.run(job_of())

    assert (world.facts.kinds, 2 - len(reader.failures)) == (["images_generated"], asked)


@pytest.mark.parametrize("images", [(b"bad", b"good"), (b"bad", b"bad", b"good")])
@in_virtual_time
async def test_an_image_beyond_what_was_asked_for_stands_in_for_what_is_none(images: tuple[bytes, ...]) -> None:
    staging = Staging()
    world = World(Provider(made(*images), resumable=False), staging=staging)
    await world.run(job_of())

    assert (world.facts.kinds, raw_of(staging)) == (["images_generated"], {"0": b"bad"})


@in_virtual_time
async def test_what_came_of_a_file_that_stays_shorter_than_was_told_is_staged_as_it_came() -> None:
    short = FetchError(
        code=Code.TEMPORARY, reason=Reason.FETCH_FAILED, message="short", retryable=False, received=b"bad"
    )
    staging = Staging()
    world = World(Provider(at(ADDRESS), resumable=False), reader=Reader(short), staging=staging)
    await world.run(job_of())

    assert (world.facts.error.reason, raw_of(staging)) == ("FETCH_FAILED", {"0": b"bad"})
    assert "is kept in staging as" in world.facts.error.message
    assert short.received == b""


@in_virtual_time
async def test_what_came_with_the_answer_and_is_no_image_is_not_read_again() -> None:
    world = World(Provider(made(b"bad"), resumable=False))
    await world.run(job_of())

    assert (world.facts.error.reason, asyncio.get_running_loop().time()) == ("INVALID_IMAGE", 0)


async def test_an_operation_is_asked_for_another_address_before_its_image_is_given_up() -> None:
    world = World(Provider(OPERATION, at(ADDRESS), at(OTHER)), reader=Reader(missing(appears_within=0)))
    await world.run(job_of())

    assert (world.facts.kinds, world.provider.polled) == (["images_generated"], ["op", "op"])
    assert world.facts.phases == [CallPhase.SUCCEEDED]


@pytest.mark.parametrize("again", [at(ADDRESS), GONE])
async def test_an_operation_that_has_no_other_address_has_lost_its_image(again: Any) -> None:
    reader = Reader(missing(appears_within=0), missing(appears_within=0))
    world = World(Provider(OPERATION, at(ADDRESS), again), reader=reader)
    await world.run(job_of())

    assert (world.facts.error.reason, len(reader.failures)) == ("FETCH_FAILED", 1)
    assert world.facts.phases == [CallPhase.SUCCEEDED]


# As it came.


@pytest.mark.parametrize("resumable", [True, False])
async def test_what_was_paid_for_and_is_no_image_is_staged_as_it_came(resumable: bool) -> None:
    answers = (OPERATION, made(b"good", b"bad")) if resumable else (made(b"good", b"bad"),)
    world = World(Provider(*answers, resumable=resumable))
    await world.run(job_of(n=2))

    [name] = world.staging.raw
    assert (world.facts.error.reason, world.facts.indexes) == ("INVALID_IMAGE", [0])
    assert raw_of(world.staging) == {"1": b"bad"}
    assert world.facts.error.message == f"bad The received data is kept in staging as {name}."
    assert [image.index for image, _ in world.staging.objects.values()] == [0]


async def test_a_paid_image_that_cannot_be_looked_at_now_is_staged_as_it_came_and_looked_at_again() -> None:
    world = World(Provider(made(b"unseen"), resumable=False))
    await world.run(job_of())
    assert (world.facts.error.reason, world.facts.error.retryable) == ("SERVICE_UNAVAILABLE", True)
    assert raw_of(world.staging) == {"0": b"unseen"}

    # Nor can it be later: that does not make a lost one of it.
    world.staging.raw["job_1/call_old/raw/0"] = b"unseen"
    await world.run(job_of(calls=[call_of(CallPhase.SUCCEEDED)]))
    assert (world.facts.error.reason, world.facts.error.retryable) == ("SERVICE_UNAVAILABLE", True)
    assert len(world.provider.submitted) == 1


async def test_what_costs_nothing_to_make_again_is_not_staged_as_it_came() -> None:
    world = World(Provider(made(b"bad"), free=True))
    await world.run(job_of())

    assert (world.facts.error.reason, world.staging.raw) == ("INVALID_IMAGE", {})


async def test_what_is_no_image_outlasts_an_outage_of_staging_too() -> None:
    world = World(Provider(made(b"bad"), resumable=False), staging=Staging(outages=2))
    await world.run(job_of())

    assert raw_of(world.staging) == {"0": b"bad"}


async def test_a_store_that_takes_nothing_changes_nothing_about_the_failure() -> None:
    world = World(Provider(OPERATION, made(b"bad")), staging=Staging(outages=1, problem=StorageDenied("no")))
    await world.run(job_of())

    assert (world.facts.error.reason, world.facts.error.message, world.staging.raw) == ("INVALID_IMAGE", "bad", {})


async def test_an_image_that_this_version_can_read_is_delivered_by_a_retry_and_not_bought_again() -> None:
    world = World(Provider(made(b"new"), resumable=False))
    world.staging.raw["job_1/call_old/raw/0"] = b"good"
    await world.run(job_of(calls=[call_of(CallPhase.SUCCEEDED)], may_pay_again=True))

    assert (world.facts.kinds, world.facts.indexes, world.provider.submitted) == (["images_generated"], [0], [])
    assert list(world.staging.objects) == ["job_1/call_old/0"]


async def test_an_answer_that_this_version_can_read_ends_its_call() -> None:
    world = World(Provider(made(b"new"), resumable=False))
    world.staging.raw["job_1/call_old/raw/answer"] = b"good"
    await world.run(job_of(calls=[call_of(CallPhase.UNKNOWN)]))

    assert (world.facts.kinds, world.facts.phases) == (["images_generated"], [CallPhase.SUCCEEDED])


@pytest.mark.parametrize("phase", [CallPhase.SUCCEEDED, CallPhase.UNKNOWN])
async def test_what_is_staged_as_it_came_is_taken_for_no_image(phase: CallPhase) -> None:
    world = World(Provider(made(b"new"), resumable=False))
    world.staging.raw["job_1/call_old/raw/0"] = b"bad"
    await world.run(job_of(calls=[call_of(phase)]))

    lost = "RESULT_LOST" if phase is CallPhase.SUCCEEDED else "AMBIGUOUS_OUTCOME"
    assert (world.facts.error.reason, world.facts.indexes, world.staging.objects) == (lost, [], {})


# Answers of another form.


@pytest.mark.parametrize("before", [(), (OPERATION,)], ids=["submit", "poll"])
async def test_an_answer_that_is_an_image_is_delivered_whatever_was_expected(before: tuple[Any, ...]) -> None:
    world = World(Provider(*before, unread(b"good"), resumable=bool(before)))
    await world.run(job_of())

    [outcome] = world.facts.last["calls"]
    assert (world.facts.kinds, world.facts.indexes) == (["images_generated"], [0])
    assert (outcome.phase, outcome.cost_micros, world.staging.raw) == (CallPhase.SUCCEEDED, 40_000, {})


async def test_an_answer_that_nobody_can_read_is_staged_and_named_in_the_evidence() -> None:
    world = World(Provider(unread(b"strange"), resumable=False))
    await world.run(job_of())

    [outcome], [name] = world.facts.last["calls"], world.staging.raw
    assert (world.facts.error.reason, outcome.phase) == ("AMBIGUOUS_OUTCOME", CallPhase.UNKNOWN)
    assert raw_of(world.staging) == {"answer": b"strange"}
    assert (outcome.error.vendor.message, outcome.error.vendor.body) == (f"(kept as {name}) odd", b"")


@pytest.mark.parametrize(
    ("error", "is_kept"),
    [
        (unread(b"strange", Acceptance.NOT_ACCEPTED), False),
        (unread(b"refused", Acceptance.ACCEPTED, code=Code.PERMANENT, reason=Reason.CONTENT_POLICY), False),
        (unread(b"an image", Acceptance.ACCEPTED, code=Code.PERMANENT, reason=Reason.CONTENT_POLICY), True),
    ],
    ids=["not accepted", "refused", "refused with an image"],
)
async def test_of_answers_that_were_understood_only_those_with_images_are_staged(
    error: Exception, is_kept: bool
) -> None:
    world = World(Provider(error, resumable=False))
    await world.run(job_of())

    assert bool(world.staging.raw) is is_kept


@in_virtual_time
async def test_an_answer_that_is_told_again_and_again_is_staged_once() -> None:
    class Counting(Staging):
        async def put_raw(self, name: str, data: bytes) -> None:
            written.append(name)
            await super().put_raw(name, data)

    written: list[str] = []
    odd = [
        unread(b"an image", reason=Reason.PROVIDER_UNAVAILABLE, code=Code.TEMPORARY, retryable=True) for _ in range(3)
    ]
    world = World(Provider(OPERATION, *odd, made()), staging=Counting())
    await world.run(job_of())

    assert (world.facts.kinds, len(written)) == (["images_generated"], 1)


async def test_staging_that_is_away_for_all_of_the_stage_leaves_the_failure_as_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    staging = Staging(outages=99, problem=StorageUnavailable("away"))
    staging.when_refused = put_into(monkeypatch, stage_images, storage_retries).once(PATIENCE)
    world = World(Provider(unread(b"strange"), resumable=False), staging=staging)
    await world.run(job_of())

    [outcome] = world.facts.last["calls"]
    assert (world.facts.error.reason, outcome.error.vendor.message) == ("AMBIGUOUS_OUTCOME", "odd")
