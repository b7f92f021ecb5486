"""One claimed job: what earlier claims left is settled first, and what is missing is bought once."""

import time
from collections.abc import Sequence
from dataclasses import replace

import grpc
import pytest
from calotype.error_reasons import Reason

from common.errors import ServiceError
from common.leased_work import Renewal
from common.object_store import StorageDenied
from services.generator.application import claim, provider_call
from services.generator.domain.jobs import CallPhase, Request
from services.generator.domain.provider_results import Acceptance, Pending
from services.generator.domain.settlements import CallOutcome, WorkerReport
from tests.support.generator.fakes import AWAY, LOST, Provider, Staging, call_of, job_of, made, provider_error, staged
from tests.support.patience import PATIENCE
from tests.support.timing.clocks import put_into

from .conftest import GONE, World, end, slot_of


async def test_an_accepted_call_is_followed_and_not_sent_again() -> None:
    world = World(Provider(made()))
    await world.run(job_of(calls=[call_of(CallPhase.ACCEPTED, operation="op")]))

    assert (world.provider.submitted, world.provider.polled) == ([], ["op"])
    assert world.facts.phases == [CallPhase.SUCCEEDED]


@pytest.mark.parametrize("phase", [CallPhase.INTENDED, CallPhase.ACCEPTED, CallPhase.SUCCEEDED])
async def test_what_is_in_staging_is_adopted(phase: CallPhase) -> None:
    world = World(Provider(AssertionError("nobody is asked")))
    world.staging.add(staged(0), count=1)
    await world.run(job_of(calls=[call_of(phase, operation="op")]))

    assert (world.facts.kinds, world.facts.indexes) == (["images_generated"], [0])
    assert world.provider.submitted == world.provider.polled == []


async def test_a_job_whose_images_are_all_staged_is_closed_without_a_call() -> None:
    world = World(Provider(AssertionError("nobody is asked")))
    await world.run(job_of(images=[staged(0)], calls=[call_of(CallPhase.SUCCEEDED)]))

    assert world.facts.kinds == ["images_generated"]
    assert world.desk.begun == []


async def test_an_intended_call_is_sent_again_where_that_costs_nothing() -> None:
    world = World(Provider(made(), free=True))
    await world.run(job_of(calls=[call_of(CallPhase.INTENDED)]))

    assert (world.desk.resent, world.desk.begun) == (["call_old"], [])
    assert [provider_request.idempotency_key for provider_request in world.provider.submitted] == ["call_old"]


@pytest.mark.parametrize("used_up", [False, True])
async def test_an_intended_call_that_was_paid_for_perhaps_is_settled_as_unknown(used_up: bool) -> None:
    world = World(Provider(AssertionError("nobody is asked")))
    earlier = replace(call_of(CallPhase.INTENDED), under_consent=used_up)
    await world.run(job_of(calls=[earlier], may_pay_again=used_up))

    assert (world.facts.kinds, world.facts.phases) == (["stage_failed"], [CallPhase.UNKNOWN])
    assert (world.facts.error.reason, world.facts.error.retryable) == ("AMBIGUOUS_OUTCOME", False)
    assert world.desk.begun == []


async def test_an_intended_call_that_was_paid_for_perhaps_is_bought_again_at_once_with_consent() -> None:
    world = World(Provider(made()))
    await world.run(job_of(calls=[call_of(CallPhase.INTENDED)], may_pay_again=True))

    assert (world.facts.kinds, world.facts.phases) == (["images_generated"], [CallPhase.UNKNOWN, CallPhase.SUCCEEDED])


async def test_an_unknown_call_stops_the_job_until_somebody_consents() -> None:
    stopped, allowed = World(Provider(made())), World(Provider(made()))
    await stopped.run(job_of(calls=[call_of(CallPhase.UNKNOWN)]))
    await allowed.run(job_of(calls=[call_of(CallPhase.UNKNOWN)], may_pay_again=True))

    assert (stopped.facts.error.reason, stopped.desk.begun) == ("AMBIGUOUS_OUTCOME", [])
    assert (allowed.facts.kinds, allowed.desk.begun) == (["images_generated"], [(0,)])


async def test_a_result_that_is_gone_is_lost() -> None:
    world = World(Provider(GONE))
    await world.run(job_of(calls=[call_of(CallPhase.ACCEPTED, operation="op")]))

    assert (world.facts.error.reason, world.facts.phases) == ("RESULT_LOST", [CallPhase.UNKNOWN])


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

    assert (world.provider.submitted, phases(world.desk.released)) == ([], [[CallPhase.NOT_SENT]])


async def test_a_lost_result_is_bought_again_with_consent() -> None:
    world = World(Provider(GONE, made()))
    await world.run(job_of(calls=[call_of(CallPhase.SUCCEEDED, operation="op")], may_pay_again=True))

    assert (world.provider.polled, world.desk.begun, world.facts.kinds) == (["op"], [(0,)], ["images_generated"])


async def test_an_accepted_call_whose_operation_is_gone_is_bought_again_at_once_with_consent() -> None:
    world = World(Provider(GONE, made()))
    await world.run(job_of(calls=[call_of(CallPhase.ACCEPTED, operation="op")], may_pay_again=True))

    assert (world.desk.begun, world.facts.phases) == ([(0,)], [CallPhase.UNKNOWN, CallPhase.SUCCEEDED])


async def test_a_consent_pays_for_one_purchase_whose_outcome_nobody_knows() -> None:
    world = World(Provider(provider_error(Acceptance.UNKNOWN)))
    await world.run(job_of(calls=[call_of(CallPhase.UNKNOWN)], may_pay_again=True))

    assert (world.desk.begun, len(world.provider.submitted)) == ([(0,)], 1)
    assert (world.facts.error.reason, world.facts.error.retryable) == ("AMBIGUOUS_OUTCOME", False)


async def test_a_result_that_will_never_do_is_bought_again_only_with_consent() -> None:
    earlier = call_of(CallPhase.SUCCEEDED, operation="op")
    stopped, allowed = World(Provider(made(b"bad"))), World(Provider(made(b"bad"), made(b"good")))
    await stopped.run(job_of(calls=[earlier]))
    await allowed.run(job_of(calls=[earlier], may_pay_again=True))

    assert (stopped.facts.error.reason, stopped.desk.begun) == ("INVALID_IMAGE", [])
    assert (allowed.facts.kinds, allowed.desk.begun) == (["images_generated"], [(0,)])


async def test_an_outage_of_staging_is_no_reason_to_pay_again() -> None:
    world = World(Provider(made()), staging=Staging(outages=99, problem=StorageDenied("no")))
    await world.run(job_of(calls=[call_of(CallPhase.SUCCEEDED, operation="op")], may_pay_again=True))

    assert (world.facts.error.reason, world.desk.begun) == ("STORAGE_DENIED", [])


async def test_an_unknown_call_whose_operation_became_known_is_followed() -> None:
    world = World(Provider(made()))
    await world.run(job_of(calls=[call_of(CallPhase.UNKNOWN, operation="op")]))

    assert (world.provider.polled, world.provider.submitted, world.facts.phases) == (["op"], [], [CallPhase.SUCCEEDED])


async def test_images_of_an_unknown_call_are_found_in_staging() -> None:
    world = World(Provider(AssertionError("nobody is asked")))
    world.staging.add(staged(0), count=1)
    await world.run(job_of(calls=[call_of(CallPhase.UNKNOWN)]))

    assert (world.facts.kinds, world.facts.phases) == (["images_generated"], [CallPhase.SUCCEEDED])


async def test_half_of_a_call_in_staging_is_kept_though_its_end_is_unknown() -> None:
    world = World(Provider(AssertionError("nobody is asked")))
    world.staging.add(staged(0), count=2)
    await world.run(job_of(n=2, calls=[call_of(CallPhase.INTENDED, 0, 1)]))

    assert (world.facts.error.reason, world.facts.phases) == ("AMBIGUOUS_OUTCOME", [CallPhase.UNKNOWN])
    assert world.facts.indexes == [0]


async def test_a_consent_that_bought_nothing_is_no_consent_to_pay_again() -> None:
    calls = [call_of(CallPhase.UNKNOWN, call_id="call_1"), call_of(CallPhase.NOT_SENT, call_id="call_2")]
    world = World(Provider(made()))
    await world.run(job_of(calls=calls))

    assert (world.facts.error.reason, world.desk.begun) == ("AMBIGUOUS_OUTCOME", [])


async def test_what_can_be_had_of_earlier_calls_is_had_before_the_claim_ends() -> None:
    calls = [
        call_of(CallPhase.UNKNOWN, 0, call_id="call_1"),
        call_of(CallPhase.ACCEPTED, 1, call_id="call_2", operation="op"),
    ]
    world = World(Provider(made()))
    await world.run(job_of(n=2, calls=calls))

    assert (world.facts.error.reason, world.facts.indexes) == ("AMBIGUOUS_OUTCOME", [1])


# Sending.


async def test_a_call_that_was_allowed_too_late_does_not_leave() -> None:
    world = World(Provider(made()))
    await world.run(job_of(lease_seconds=0))

    assert (world.provider.submitted, world.facts.kinds) == ([], ["stage_failed"])
    assert (world.facts.phases, world.facts.error.retryable) == ([CallPhase.NOT_SENT], True)


async def test_an_earlier_call_that_was_allowed_too_late_is_not_said_to_be_unsent() -> None:
    world = World(Provider(made(), free=True))
    await world.run(job_of(lease_seconds=0, calls=[call_of(CallPhase.INTENDED)]))

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
    told = world.desk.released or [world.facts.last["calls"]]
    assert phases(told) == [[CallPhase.NOT_SENT]]


async def test_a_process_that_stops_while_the_call_is_written_down_names_it_as_never_sent() -> None:
    job = job_of()
    slot = slot_of(job)
    world = World(Provider(made()))
    world.desk.when_begun = slot.stopping.set
    await world.run(job, slot)

    assert (world.provider.submitted, phases(world.desk.released)) == ([], [[CallPhase.NOT_SENT]])


async def test_a_call_that_never_left_is_told_as_a_fact_while_the_desk_is_away() -> None:
    world = World(Provider(made()))
    world.desk.refusals |= {"begin_call": AWAY, "release": AWAY}
    await world.run(job_of())

    assert (world.facts.kinds, world.facts.phases) == (["ledger_settled"], [CallPhase.NOT_SENT])


async def test_a_claim_that_has_used_up_its_time_buys_nothing() -> None:
    world = World(Provider(made()))
    await world.run(job_of(max_processing_seconds=0))

    assert (world.desk.begun, world.facts.error.reason, world.facts.error.retryable) == ([], "STAGE_TIMEOUT", True)
    assert world.facts.error.stage == "PROCESSING"


async def test_once_a_call_has_begun_the_claim_has_the_time_for_generating() -> None:
    world = World(Provider(made(), max_images=1))
    job = job_of(n=2, max_seconds=2 * PATIENCE)
    slot = slot_of(job)
    world.desk.when_begun = lambda: setattr(slot, "claimed_at", time.monotonic() - PATIENCE)
    await world.run(job, slot)

    assert (world.facts.kinds, world.desk.begun) == (["images_generated"], [(0,), (1,)])


async def test_whoever_follows_an_operation_has_the_time_for_generating(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = put_into(monkeypatch, claim, provider_call)
    job = job_of(calls=[call_of(CallPhase.ACCEPTED, operation="op")], max_seconds=10 * PATIENCE)
    provider = Provider(Pending(), made(), timeout=10 * PATIENCE, hook=clock.once(2 * PATIENCE))
    world = World(provider)
    await world.run(job)

    assert (world.desk.followed, provider.polled, provider.canceled) == (["call_old"], ["op", "op"], [])
    assert world.facts.kinds == ["images_generated"]


@pytest.mark.parametrize("refusal", [Reason.ALREADY_BOUGHT, Reason.INVALID_INPUT, Reason.INTERNAL])
async def test_an_ask_that_is_refused_without_a_cause_is_an_alarm_and_a_counted_failure(
    refusal: Reason, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(Provider(made()))
    world.desk.refusals["begin_call"] = ServiceError(status=grpc.StatusCode.INTERNAL, reason=refusal, message="no")
    await world.run(job_of())

    assert (world.facts.kinds, world.facts.error.reason) == (["stage_failed"], "INTERNAL")
    assert [record.levelname for record in caplog.records if record.message == "call.refused"] == ["ERROR"]


async def test_a_job_whose_operation_cannot_be_said_to_be_followed_is_handed_back() -> None:
    world = World(Provider(made()))
    world.desk.refusals["follow_call"] = AWAY
    await world.run(job_of(calls=[call_of(CallPhase.ACCEPTED, operation="op")]))

    assert (world.provider.polled, world.desk.released) == ([], [WorkerReport()])


def phases(told: Sequence[WorkerReport | Sequence[CallOutcome]]) -> list[list[CallPhase]]:
    """How calls ended, by each word that was told."""
    return [[one.phase for one in (known.calls if isinstance(known, WorkerReport) else known)] for known in told]


async def test_the_last_seeds_of_all_stay_within_their_bounds() -> None:
    world = World(Provider(made(), max_images=1))
    await world.run(job_of(n=2, request=Request(prompt="x", seed=2**63 - 1)))

    assert [provider_request.seed for provider_request in world.provider.submitted] == [2**63 - 1, 0]
