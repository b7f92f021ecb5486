"""One claimed job: what earlier claims left is settled, what is missing is bought once, what happened is told."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from common.leased_work import Renewal, Slot
from services.generator.application.generation import Generator
from services.generator.domain.outcomes import Acceptance, Operation, Pending
from services.generator.domain.work import InputImage, Job, Phase, Request
from tests.support.generation import (
    AWAY,
    LOST,
    Desk,
    Facts,
    Provider,
    Reader,
    Staging,
    call_of,
    job_of,
    made,
    provider_error,
    staged,
)

OPERATION = Operation(id="op")


@dataclass
class World:
    """A generator and its surroundings."""

    provider: Provider
    desk: Desk = field(default_factory=Desk)
    facts: Facts = field(default_factory=Facts)
    staging: Staging = field(default_factory=Staging)

    async def run(self, job: Job, slot: Slot[Job] | None = None) -> Slot[Job]:
        """Run one claimed job."""
        slot = slot or Slot(token=job.lease_token, work=job)
        generator = Generator(
            desk=self.desk,
            facts=self.facts,
            staging=self.staging,
            reader=Reader(),
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
    gone = provider_error(Acceptance.ACCEPTED, code="TIMEOUT", reason="RESULT_LOST", retryable=False)
    world = World(Provider(gone))
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
    await world.run(job_of(provider="gone"))

    assert (world.facts.error.stage, world.facts.error.reason) == ("PROCESSING", "PROVIDER_NOT_FOUND")
