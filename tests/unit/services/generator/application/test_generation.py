"""One claimed job: what earlier claims left is settled, what is missing is bought once, what happened is told."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from common.leased_work import Renewal, Slot
from common.object_store import ObjectConflict, ObjectMissing, StorageDenied
from services.generator.application.generation import Generator
from services.generator.domain.outcomes import Acceptance, Operation, Pending
from services.generator.domain.work import InputImage, Job, Phase, Request, Route
from tests.support.generation import (
    AWAY,
    LOST,
    Desk,
    Facts,
    Provider,
    Reader,
    Staging,
    at,
    call_of,
    fetch_failed,
    job_of,
    made,
    provider_error,
    staged,
)

OPERATION = Operation(id="op")
GONE = provider_error(Acceptance.ACCEPTED, code="TIMEOUT", reason="RESULT_LOST", retryable=False)
NOT_TOLD = provider_error(Acceptance.UNKNOWN)


@dataclass
class World:
    """A generator and its surroundings."""

    provider: Provider
    desk: Desk = field(default_factory=Desk)
    facts: Facts = field(default_factory=Facts)
    staging: Staging = field(default_factory=Staging)
    reader: Reader = field(default_factory=Reader)

    async def run(self, job: Job, slot: Slot[Job] | None = None) -> Slot[Job]:
        """Run one claimed job."""
        slot = slot or Slot(token=job.lease_token, work=job)
        generator = Generator(
            desk=self.desk,
            facts=self.facts,
            staging=self.staging,
            reader=self.reader,
            providers={"paid": self.provider},
        )
        await generator.run(slot)
        return slot


async def test_a_synchronous_call_becomes_staged_images() -> None:
    world = World(Provider(made(b"a", b"b")))
    await world.run(job_of(n=2))

    assert world.desk.begun == [(0, 1)]
    assert (world.facts.kinds, world.facts.indexes, world.facts.phases) == (
        ["images_generated"],
        [0, 1],
        [Phase.SUCCEEDED],
    )
    assert len(world.staging.objects) == 2


async def test_many_images_are_bought_in_as_many_calls_as_it_takes() -> None:
    world = World(Provider(made(), most=1))
    await world.run(job_of(n=3, request=Request(prompt="x", seed=10)))

    assert world.desk.begun == [(0,), (1,), (2,)]
    assert [order.seed for order in world.provider.submitted] == [10, 11, 12]


async def test_an_operation_is_written_down_and_followed() -> None:
    world = World(Provider(OPERATION, Pending(), Pending(progress=0.5), made()))
    await world.run(job_of())

    assert (world.desk.recorded, world.provider.polled) == (["op"], ["op"] * 3)
    assert world.facts.kinds == ["images_generated"]


async def test_an_operation_that_cannot_be_written_down_is_told_as_a_fact() -> None:
    world = World(Provider(OPERATION, made()))
    world.desk.refusals["record_operation"] = AWAY
    await world.run(job_of())

    assert world.facts.kinds == ["call_accepted", "images_generated"]


async def test_an_accepted_call_is_followed_and_not_sent_again() -> None:
    world = World(Provider(made()))
    await world.run(job_of(calls=[call_of(Phase.ACCEPTED, operation="op")]))

    assert (world.provider.submitted, world.provider.polled) == ([], ["op"])
    assert world.facts.phases == [Phase.SUCCEEDED]


@pytest.mark.parametrize("phase", [Phase.INTENDED, Phase.ACCEPTED, Phase.SUCCEEDED])
async def test_what_is_in_staging_is_adopted(phase: Phase) -> None:
    world = World(Provider(AssertionError("nobody is asked")))
    world.staging.add(staged(0), count=1)
    await world.run(job_of(calls=[call_of(phase, operation="op")]))

    assert (world.facts.kinds, world.facts.indexes) == (["images_generated"], [0])
    assert world.provider.submitted == world.provider.polled == []


async def test_a_job_whose_images_are_all_staged_is_closed_without_a_call() -> None:
    world = World(Provider(AssertionError("nobody is asked")))
    await world.run(job_of(images=[staged(0)], calls=[call_of(Phase.SUCCEEDED)]))

    assert world.facts.kinds == ["images_generated"]
    assert world.desk.begun == []


async def test_an_intended_call_is_sent_again_where_that_costs_nothing() -> None:
    world = World(Provider(made(), free=True))
    await world.run(job_of(calls=[call_of(Phase.INTENDED)]))

    assert (world.desk.resent, world.desk.begun) == (["call_old"], [])
    assert [order.idempotency_key for order in world.provider.submitted] == ["call_old"]


@pytest.mark.parametrize("consent", [False, True])
async def test_an_intended_call_that_was_paid_for_perhaps_is_settled_as_unknown(consent: bool) -> None:
    world = World(Provider(AssertionError("nobody is asked")))
    await world.run(job_of(calls=[call_of(Phase.INTENDED)], may_pay_again=consent))

    assert (world.facts.kinds, world.facts.phases) == (["stage_failed"], [Phase.UNKNOWN])
    assert (world.facts.error.reason, world.facts.error.retryable) == ("AMBIGUOUS_OUTCOME", consent)
    assert world.desk.begun == []


async def test_an_unknown_call_stops_the_job_until_somebody_consents() -> None:
    stopped, allowed = World(Provider(made())), World(Provider(made()))
    await stopped.run(job_of(calls=[call_of(Phase.UNKNOWN)]))
    await allowed.run(job_of(calls=[call_of(Phase.UNKNOWN)], may_pay_again=True))

    assert (stopped.facts.error.reason, stopped.desk.begun) == ("AMBIGUOUS_OUTCOME", [])
    assert (allowed.facts.kinds, allowed.desk.begun) == (["images_generated"], [(0,)])


async def test_a_result_that_is_gone_is_lost() -> None:
    world = World(Provider(GONE))
    await world.run(job_of(calls=[call_of(Phase.ACCEPTED, operation="op")]))

    assert (world.facts.error.reason, world.facts.phases) == ("RESULT_LOST", [Phase.UNKNOWN])


@pytest.mark.parametrize(
    ("acceptance", "phase", "reason", "retryable"),
    [
        (Acceptance.NOT_ACCEPTED, Phase.NOT_SENT, "PROVIDER_UNAVAILABLE", True),
        (Acceptance.ACCEPTED, Phase.FAILED, "PROVIDER_UNAVAILABLE", True),
        (Acceptance.UNKNOWN, Phase.UNKNOWN, "AMBIGUOUS_OUTCOME", False),
    ],
)
async def test_a_failed_paid_call_is_booked_as_what_is_known_of_it(
    acceptance: Acceptance, phase: Phase, reason: str, retryable: bool
) -> None:
    world = World(Provider(provider_error(acceptance)))
    await world.run(job_of())

    assert (world.facts.kinds, world.facts.phases) == (["stage_failed"], [phase])
    assert (world.facts.error.reason, world.facts.error.retryable) == (reason, retryable)


async def test_a_free_call_of_unknown_outcome_is_simply_tried_again() -> None:
    world = World(Provider(provider_error(Acceptance.UNKNOWN), free=True))
    await world.run(job_of())

    assert (world.facts.phases, world.facts.error.retryable) == ([Phase.FAILED], True)


async def test_a_refusal_is_booked_as_one() -> None:
    refused = provider_error(Acceptance.ACCEPTED, code="PERMANENT", reason="CONTENT_POLICY", retryable=False)
    world = World(Provider(refused))
    await world.run(job_of())

    assert (world.facts.phases, world.facts.error.reason) == ([Phase.REFUSED], "CONTENT_POLICY")


async def test_a_provider_that_hangs_is_ambiguous() -> None:
    class Hanging(Provider):
        async def submit(self, order: Any) -> Any:
            await asyncio.Event().wait()

    world = World(Hanging(made(), timeout=0.05))
    await world.run(job_of())

    assert (world.facts.phases, world.facts.error.reason) == ([Phase.UNKNOWN], "AMBIGUOUS_OUTCOME")


async def test_a_defect_of_an_adapter_is_a_failure_that_counts() -> None:
    world = World(Provider(RuntimeError("a bug"), free=True))
    await world.run(job_of())

    assert (world.facts.kinds, world.facts.phases) == (["stage_failed"], [Phase.FAILED])
    assert (world.facts.error.code, world.facts.error.reason) == ("UNKNOWN", "INTERNAL")


async def test_one_bad_image_does_not_take_the_good_ones_with_it() -> None:
    world = World(Provider(made(b"good", b"bad", b"good")))
    await world.run(job_of(n=3))

    assert (world.facts.error.reason, world.facts.phases) == ("INVALID_IMAGE", [Phase.SUCCEEDED])
    assert world.facts.indexes == [0, 2]


async def test_fewer_images_than_were_bought_are_kept_and_told() -> None:
    world = World(Provider(made(b"good")))
    await world.run(job_of(n=2))

    assert (world.facts.error.reason, world.facts.indexes) == ("RESULT_MISMATCH", [0])


async def test_a_paid_result_outlasts_an_outage_of_staging() -> None:
    world = World(Provider(made()), staging=Staging(outages=2))
    await world.run(job_of())

    assert (world.facts.kinds, len(world.provider.submitted)) == (["images_generated"], 1)


async def test_nothing_is_bought_once_the_lease_is_lost() -> None:
    world = World(Provider(made()))
    world.desk.refusals["begin_call"] = LOST
    slot = await world.run(job_of())

    assert (slot.outcome, world.provider.submitted) == (Renewal.LOST, [])
    assert (world.facts.kinds, world.desk.released) == ([], [])


async def test_a_call_that_could_not_be_written_down_is_named_as_never_sent() -> None:
    world = World(Provider(made()))
    world.desk.refusals["begin_call"] = AWAY
    await world.run(job_of())

    assert (world.provider.submitted, len(world.desk.released[0])) == ([], 1)


async def test_a_cancel_is_carried_to_the_provider() -> None:
    job = job_of()
    slot: Slot[Job] = Slot(token=job.lease_token, work=job)

    def cancel() -> None:
        slot.outcome = Renewal.CANCELED
        slot.ended.set()

    world = World(Provider(OPERATION, Pending(), hook=cancel))
    await world.run(job, slot)

    assert (world.provider.canceled, world.facts.kinds, world.desk.released) == (["op"], [], [])


async def test_a_process_that_stops_hands_its_job_back_and_leaves_the_operation() -> None:
    job = job_of()
    slot: Slot[Job] = Slot(token=job.lease_token, work=job)
    world = World(Provider(OPERATION, Pending(), hook=slot.stopping.set))
    await world.run(job, slot)

    assert (world.provider.canceled, world.facts.kinds, world.desk.released) == ([], [], [()])


async def test_what_was_made_before_the_lease_was_lost_is_told_to_the_ledger() -> None:
    job = job_of(n=2)
    slot: Slot[Job] = Slot(token=job.lease_token, work=job)

    def lose() -> None:
        slot.outcome = Renewal.LOST
        slot.ended.set()

    world = World(Provider(made(), most=1, hook=lose))
    await world.run(job, slot)

    assert (world.facts.kinds, world.facts.indexes) == (["ledger_settled"], [0])
    assert world.desk.begun == [(0,)]


async def test_inputs_are_read_once_and_in_order() -> None:
    inputs = (
        InputImage(index=0, url="http://x/a.png", content_type=""),
        InputImage(index=-1, url=None, content_type=""),
    )
    world = World(Provider(made(), most=1))
    await world.run(job_of(n=2, request=Request(prompt="x", inputs=inputs)))

    assert [order.inputs for order in world.provider.submitted] == [(b"http://x/a.png", b"input")] * 2


async def test_a_provider_that_is_no_longer_configured_fails_the_job_before_anything_is_sent() -> None:
    world = World(Provider(made()))
    await world.run(job_of(routes=(Route(provider="gone", model="m"),)))

    assert (world.facts.error.stage, world.facts.error.reason) == ("PROCESSING", "PROVIDER_NOT_FOUND")


def slot_of(job: Job) -> Slot[Job]:
    """The job in hand."""
    return Slot(token=job.lease_token, work=job)


def end(slot: Slot[Job], outcome: Renewal) -> None:
    """The desk takes the lease away."""
    slot.outcome = outcome
    slot.ended.set()


# What earlier claims left.


async def test_a_lost_result_is_bought_again_with_consent() -> None:
    world = World(Provider(GONE, made()))
    await world.run(job_of(calls=[call_of(Phase.SUCCEEDED, operation="op")], may_pay_again=True))

    assert (world.provider.polled, world.desk.begun, world.facts.kinds) == (["op"], [(0,)], ["images_generated"])


async def test_an_accepted_call_whose_operation_is_gone_is_bought_again_by_the_next_claim_with_consent() -> None:
    world = World(Provider(GONE))
    await world.run(job_of(calls=[call_of(Phase.ACCEPTED, operation="op")], may_pay_again=True))

    assert (world.facts.error.reason, world.facts.error.retryable, world.desk.begun) == ("RESULT_LOST", True, [])


async def test_a_result_that_will_never_do_is_bought_again_only_with_consent() -> None:
    earlier = call_of(Phase.SUCCEEDED, operation="op")
    stopped, allowed = World(Provider(made(b"bad"))), World(Provider(made(b"bad"), made(b"good")))
    await stopped.run(job_of(calls=[earlier]))
    await allowed.run(job_of(calls=[earlier], may_pay_again=True))

    assert (stopped.facts.error.reason, stopped.desk.begun) == ("INVALID_IMAGE", [])
    assert (allowed.facts.kinds, allowed.desk.begun) == (["images_generated"], [(0,)])


async def test_an_outage_of_staging_is_no_reason_to_pay_again() -> None:
    world = World(Provider(made()), staging=Staging(outages=99, problem=StorageDenied("no")))
    await world.run(job_of(calls=[call_of(Phase.SUCCEEDED, operation="op")], may_pay_again=True))

    assert (world.facts.error.reason, world.desk.begun) == ("STORAGE_DENIED", [])


async def test_an_unknown_call_whose_operation_became_known_is_followed() -> None:
    world = World(Provider(made()))
    await world.run(job_of(calls=[call_of(Phase.UNKNOWN, operation="op")]))

    assert (world.provider.polled, world.provider.submitted, world.facts.phases) == (["op"], [], [Phase.SUCCEEDED])


async def test_images_of_an_unknown_call_are_found_in_staging() -> None:
    world = World(Provider(AssertionError("nobody is asked")))
    world.staging.add(staged(0), count=1)
    await world.run(job_of(calls=[call_of(Phase.UNKNOWN)]))

    assert (world.facts.kinds, world.facts.phases) == (["images_generated"], [Phase.SUCCEEDED])


async def test_half_of_a_call_in_staging_is_kept_though_its_end_is_unknown() -> None:
    world = World(Provider(AssertionError("nobody is asked")))
    world.staging.add(staged(0), count=2)
    await world.run(job_of(n=2, calls=[call_of(Phase.INTENDED, 0, 1)]))

    assert (world.facts.error.reason, world.facts.phases) == ("AMBIGUOUS_OUTCOME", [Phase.UNKNOWN])
    assert world.facts.indexes == [0]


async def test_a_consent_that_bought_nothing_is_no_consent_to_pay_again() -> None:
    calls = [call_of(Phase.UNKNOWN, call_id="call_1"), call_of(Phase.NOT_SENT, call_id="call_2")]
    world = World(Provider(made()))
    await world.run(job_of(calls=calls))

    assert (world.facts.error.reason, world.desk.begun) == ("AMBIGUOUS_OUTCOME", [])


async def test_what_can_be_had_of_earlier_calls_is_had_before_the_claim_ends() -> None:
    calls = [
        call_of(Phase.UNKNOWN, 0, call_id="call_1"),
        call_of(Phase.ACCEPTED, 1, call_id="call_2", operation="op"),
    ]
    world = World(Provider(made()))
    await world.run(job_of(n=2, calls=calls))

    assert (world.facts.error.reason, world.facts.indexes) == ("AMBIGUOUS_OUTCOME", [1])


# Sending.


async def test_a_call_that_was_allowed_too_late_does_not_leave() -> None:
    world = World(Provider(made()))
    await world.run(job_of(lease_seconds=0))

    assert (world.provider.submitted, world.facts.kinds) == ([], ["stage_failed"])
    assert (world.facts.phases, world.facts.error.retryable) == ([Phase.NOT_SENT], True)


async def test_an_earlier_call_that_was_allowed_too_late_is_not_said_to_be_unsent() -> None:
    world = World(Provider(made(), free=True))
    await world.run(job_of(lease_seconds=0, calls=[call_of(Phase.INTENDED)]))

    assert (world.provider.submitted, world.facts.phases, world.facts.error.retryable) == ([], [], True)


@pytest.mark.parametrize("outcome", [Renewal.LOST, Renewal.CANCELED])
async def test_a_lease_that_ends_while_the_call_is_written_down_is_not_used(outcome: Renewal) -> None:
    job = job_of()
    slot = slot_of(job)
    world = World(Provider(made()))
    world.desk.when_begun = lambda: end(slot, outcome)
    await world.run(job, slot)

    assert world.provider.submitted == []
    # Told at once, so that the next claimer does not take the call for one that may have left.
    assert [len(not_sent) for not_sent in world.desk.released] == [1]


async def test_a_process_that_stops_while_the_call_is_written_down_names_it_as_never_sent() -> None:
    job = job_of()
    slot = slot_of(job)
    world = World(Provider(made()))
    world.desk.when_begun = slot.stopping.set
    await world.run(job, slot)

    assert (world.provider.submitted, len(world.desk.released[0])) == ([], 1)


async def test_a_call_that_never_left_is_told_as_a_fact_while_the_desk_is_away() -> None:
    world = World(Provider(made()))
    world.desk.refusals |= {"begin_call": AWAY, "release": AWAY}
    await world.run(job_of())

    assert (world.facts.kinds, world.facts.phases) == (["ledger_settled"], [Phase.NOT_SENT])


async def test_a_claim_that_has_used_up_its_time_buys_nothing() -> None:
    world = World(Provider(made()))
    await world.run(job_of(max_seconds=0))

    assert (world.desk.begun, world.facts.error.reason, world.facts.error.retryable) == ([], "STAGE_TIMEOUT", True)


async def test_the_last_seeds_of_all_stay_within_their_bounds() -> None:
    world = World(Provider(made(), most=1))
    await world.run(job_of(n=2, request=Request(prompt="x", seed=2**63 - 1)))

    assert [order.seed for order in world.provider.submitted] == [2**63 - 1, 0]


# Following.


async def test_a_poll_that_is_not_answered_says_nothing_about_the_operation() -> None:
    world = World(Provider(OPERATION, NOT_TOLD, NOT_TOLD, made()))
    await world.run(job_of())

    assert (world.facts.kinds, world.facts.phases) == (["images_generated"], [Phase.SUCCEEDED])


async def test_an_operation_that_nobody_tells_about_stays_open_for_the_next_claim() -> None:
    world = World(Provider(OPERATION, NOT_TOLD, timeout=0.01))
    world.provider.cancels = NOT_TOLD
    await world.run(job_of())

    assert (world.facts.error.reason, world.facts.error.retryable) == ("PROVIDER_TIMEOUT", True)
    assert (world.facts.phases, world.provider.canceled) == ([], ["op"])


async def test_an_operation_that_takes_too_long_and_was_stopped_is_booked_as_canceled() -> None:
    world = World(Provider(OPERATION, Pending(), timeout=0.01))
    await world.run(job_of())

    assert (world.facts.error.reason, world.facts.phases) == ("PROVIDER_TIMEOUT", [Phase.CANCELED])


async def test_a_provider_that_refuses_to_tell_fails_the_stage_and_leaves_the_call_open() -> None:
    refused = provider_error(Acceptance.UNKNOWN, code="AUTH_ERROR", reason="PROVIDER_AUTH", retryable=False)
    world = World(Provider(OPERATION, refused))
    await world.run(job_of())

    assert (world.facts.error.reason, world.facts.phases) == ("PROVIDER_AUTH", [])


async def test_an_operation_that_nobody_could_resume_is_followed_to_its_end_by_a_process_that_stops() -> None:
    job = job_of()
    slot = slot_of(job)
    world = World(Provider(OPERATION, Pending(), made(), resumable=False, hook=slot.stopping.set))
    await world.run(job, slot)

    assert world.facts.kinds == ["images_generated"]


async def test_a_job_whose_acceptance_is_still_on_its_way_is_not_handed_back() -> None:
    job = job_of()
    slot = slot_of(job)
    world = World(Provider(OPERATION, Pending(), hook=slot.stopping.set))
    world.desk.refusals["record_operation"] = AWAY
    await world.run(job, slot)

    assert (world.facts.kinds, world.desk.released) == (["call_accepted"], [])


async def test_a_run_that_is_cut_short_gives_its_job_back() -> None:
    class Hanging(Provider):
        async def submit(self, order: Any) -> Any:
            self.submitted.append(order)
            called.set()
            await asyncio.Event().wait()

    called = asyncio.Event()
    world = World(Hanging(made()))
    run = asyncio.create_task(world.run(job_of()))
    await called.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run

    assert (world.desk.released, world.facts.kinds) == ([()], [])


# Keeping.


async def test_an_address_that_fails_for_now_is_asked_again() -> None:
    world = World(Provider(at("http://x/1.png")), reader=Reader(*[fetch_failed(retryable=True)] * 2))
    await world.run(job_of())

    assert (world.facts.kinds, len(world.provider.submitted)) == (["images_generated"], 1)


async def test_an_address_that_is_gone_fails_a_call_that_was_paid() -> None:
    world = World(Provider(at("http://x/1.png")), reader=Reader(fetch_failed(retryable=False)))
    await world.run(job_of())

    assert (world.facts.error.reason, world.facts.phases) == ("FETCH_FAILED", [Phase.SUCCEEDED])
    assert world.facts.last["calls"][0].cost_micros == 40_000


async def test_a_process_that_stops_leaves_an_address_that_can_be_had_again() -> None:
    job = job_of()
    slot = slot_of(job)
    reader = Reader(*[fetch_failed(retryable=True)] * 99)
    reader.when_failed = slot.stopping.set
    world = World(Provider(OPERATION, at("http://x/1.png")), reader=reader)
    await world.run(job, slot)

    assert (world.facts.kinds, world.facts.phases) == (["ledger_settled"], [Phase.SUCCEEDED])
    assert world.desk.released == [()]


async def test_what_was_paid_and_cannot_be_had_again_outlasts_a_store_that_refuses_us() -> None:
    paid = World(Provider(made(), resumable=False), staging=Staging(outages=1, problem=StorageDenied("no")))
    again = World(Provider(made(), resumable=True), staging=Staging(outages=1, problem=StorageDenied("no")))
    await paid.run(job_of())
    await again.run(job_of())

    assert paid.facts.kinds == ["images_generated"]
    assert (again.facts.error.reason, again.facts.phases) == ("STORAGE_DENIED", [Phase.SUCCEEDED])


async def test_a_bucket_that_is_not_there_may_be_made_yet() -> None:
    world = World(Provider(made()), staging=Staging(outages=1, problem=ObjectMissing("no bucket")))
    await world.run(job_of())

    assert world.facts.kinds == ["images_generated"]


async def test_something_else_under_the_images_name_is_no_result_of_ours() -> None:
    world = World(Provider(made()), staging=Staging(outages=1, problem=ObjectConflict("other")))
    await world.run(job_of())

    assert (world.facts.error.code, world.facts.error.reason) == ("PERMANENT", "RESULT_MISMATCH")


async def test_a_free_call_whose_images_could_not_be_kept_is_no_lost_purchase() -> None:
    world = World(Provider(made(cost=0), free=True), staging=Staging(outages=99))
    await world.run(job_of(max_seconds=0.3))

    assert (world.facts.error.reason, world.facts.phases) == ("STORAGE_UNAVAILABLE", [Phase.FAILED])


async def test_a_call_under_a_key_stays_open_to_be_sent_again_under_it() -> None:
    world = World(Provider(made(), idempotent=True), staging=Staging(outages=99))
    await world.run(job_of(max_seconds=0.3))

    assert (world.facts.error.reason, world.facts.phases) == ("STORAGE_UNAVAILABLE", [])


# Several images.


async def test_an_image_that_will_not_do_does_not_keep_others_from_being_bought() -> None:
    world = World(Provider(made(b"bad"), made(b"good"), most=1))
    await world.run(job_of(n=3))

    assert world.desk.begun == [(0,), (1,), (2,)]
    assert (world.facts.error.reason, world.facts.indexes) == ("INVALID_IMAGE", [1, 2])


async def test_a_refused_prompt_is_not_sent_again_for_the_next_image() -> None:
    refused = provider_error(Acceptance.ACCEPTED, code="PERMANENT", reason="CONTENT_POLICY", retryable=False)
    world = World(Provider(refused, most=1))
    await world.run(job_of(n=3))

    assert (world.desk.begun, world.facts.error.reason) == ([(0,)], "CONTENT_POLICY")


async def test_a_refused_image_of_a_prompt_that_brought_others_is_one_that_is_missing() -> None:
    refused = provider_error(Acceptance.ACCEPTED, code="PERMANENT", reason="CONTENT_POLICY", retryable=False)
    world = World(Provider(made(), refused, made(), most=1))
    await world.run(job_of(n=3))

    assert (world.facts.error.reason, world.facts.indexes) == ("CONTENT_POLICY", [0, 2])
    assert world.facts.phases == [Phase.SUCCEEDED, Phase.REFUSED, Phase.SUCCEEDED]


async def test_a_provider_in_trouble_is_not_asked_for_the_next_image() -> None:
    world = World(Provider(made(), provider_error(Acceptance.NOT_ACCEPTED), most=1))
    await world.run(job_of(n=3))

    assert (world.desk.begun, world.facts.indexes) == ([(0,), (1,)], [0])
