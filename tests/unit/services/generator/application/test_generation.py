"""One claimed job: what is bought is followed, kept and told, whatever goes wrong on the way."""

import asyncio
from typing import Any

import pytest
from calotype.error_reasons import Code, Reason

from common.leased_work import Renewal, Slot
from common.object_store import ObjectConflict, ObjectMissing, StorageDenied
from services.generator.application import stage_images, storage_retries
from services.generator.domain.jobs import CallPhase, InputImage, Job, Request, Route
from services.generator.domain.provider_results import Acceptance, Pending
from services.generator.domain.settlements import WorkerReport
from tests.support.generator.fakes import (
    AWAY,
    Provider,
    Reader,
    Staging,
    at,
    fetch_failed,
    job_of,
    made,
    provider_error,
)
from tests.support.patience import PATIENCE
from tests.support.timing.clocks import put_into
from tests.support.timing.virtual_time import in_virtual_time

from .conftest import NOT_TOLD, OPERATION, World, slot_of


async def test_a_synchronous_call_becomes_staged_images() -> None:
    world = World(Provider(made(b"a", b"b")))
    await world.run(job_of(n=2))

    assert world.desk.begun == [(0, 1)]
    assert (world.facts.kinds, world.facts.indexes, world.facts.phases) == (
        ["images_generated"],
        [0, 1],
        [CallPhase.SUCCEEDED],
    )
    assert len(world.staging.objects) == 2


async def test_many_images_are_bought_in_as_many_calls_as_it_takes() -> None:
    world = World(Provider(made(), max_images=1))
    await world.run(job_of(n=3, request=Request(prompt="x", seed=10)))

    assert world.desk.begun == [(0,), (1,), (2,)]
    assert [provider_request.seed for provider_request in world.provider.submitted] == [10, 11, 12]


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


@pytest.mark.parametrize(
    ("acceptance", "phase", "reason", "retryable"),
    [
        (Acceptance.NOT_ACCEPTED, CallPhase.NOT_SENT, "PROVIDER_UNAVAILABLE", True),
        (Acceptance.ACCEPTED, CallPhase.FAILED, "PROVIDER_UNAVAILABLE", True),
        (Acceptance.UNKNOWN, CallPhase.UNKNOWN, "AMBIGUOUS_OUTCOME", False),
    ],
)
async def test_a_failed_paid_call_is_booked_as_what_is_known_of_it(
    acceptance: Acceptance, phase: CallPhase, reason: str, retryable: bool
) -> None:
    world = World(Provider(provider_error(acceptance)))
    await world.run(job_of())

    assert (world.facts.kinds, world.facts.phases) == (["stage_failed"], [phase])
    assert (world.facts.error.reason, world.facts.error.retryable) == (reason, retryable)


async def test_a_free_call_of_unknown_outcome_is_simply_tried_again() -> None:
    world = World(Provider(provider_error(Acceptance.UNKNOWN), free=True))
    await world.run(job_of())

    assert (world.facts.phases, world.facts.error.retryable) == ([CallPhase.FAILED], True)


async def test_a_refusal_is_booked_as_one() -> None:
    refused = provider_error(Acceptance.ACCEPTED, code=Code.PERMANENT, reason=Reason.CONTENT_POLICY, retryable=False)
    world = World(Provider(refused))
    await world.run(job_of())

    assert (world.facts.phases, world.facts.error.reason) == ([CallPhase.REFUSED], "CONTENT_POLICY")


async def test_a_provider_that_hangs_is_ambiguous() -> None:
    class Hanging(Provider):
        async def submit(self, provider_request: Any) -> Any:
            await asyncio.Event().wait()

    world = World(Hanging(made(), timeout=0.05))
    await world.run(job_of())

    assert (world.facts.phases, world.facts.error.reason) == ([CallPhase.UNKNOWN], "AMBIGUOUS_OUTCOME")


@in_virtual_time
async def test_a_defect_of_an_adapter_loses_no_operation_that_it_looks_at() -> None:
    world = World(Provider(OPERATION, RuntimeError("a bug"), made()))
    await world.run(job_of())

    assert (world.facts.kinds, len(world.provider.polled)) == (["images_generated"], 2)


async def test_a_defect_of_an_adapter_is_a_failure_that_counts() -> None:
    world = World(Provider(RuntimeError("a bug"), free=True))
    await world.run(job_of())

    assert (world.facts.kinds, world.facts.phases) == (["stage_failed"], [CallPhase.FAILED])
    assert (world.facts.error.code, world.facts.error.reason) == ("UNKNOWN", "INTERNAL")


async def test_one_bad_image_does_not_take_the_good_ones_with_it() -> None:
    world = World(Provider(made(b"good", b"bad", b"good")))
    await world.run(job_of(n=3))

    assert (world.facts.error.reason, world.facts.phases) == ("INVALID_IMAGE", [CallPhase.SUCCEEDED])
    assert world.facts.indexes == [0, 2]


async def test_fewer_images_than_were_bought_are_kept_and_told() -> None:
    world = World(Provider(made(b"good")))
    await world.run(job_of(n=2))

    assert (world.facts.error.reason, world.facts.indexes) == ("RESULT_MISMATCH", [0])


async def test_a_paid_result_outlasts_an_outage_of_staging() -> None:
    world = World(Provider(made()), staging=Staging(outages=2))
    await world.run(job_of())

    assert (world.facts.kinds, len(world.provider.submitted)) == (["images_generated"], 1)


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

    assert (world.provider.canceled, world.facts.kinds, world.desk.released) == ([], [], [WorkerReport()])


async def test_what_was_made_before_the_lease_was_lost_is_told_to_the_ledger() -> None:
    job = job_of(n=2)
    slot: Slot[Job] = Slot(token=job.lease_token, work=job)

    def lose() -> None:
        slot.outcome = Renewal.LOST
        slot.ended.set()

    world = World(Provider(made(), max_images=1, hook=lose))
    await world.run(job, slot)

    assert (world.facts.kinds, world.facts.indexes) == (["ledger_settled"], [0])
    assert world.desk.begun == [(0,)]


@pytest.mark.parametrize(("names", "reasons"), [(("a", "b"), []), (("a-told", "b", "c-told"), ["METADATA_REMOVED"])])
async def test_a_job_says_once_that_metadata_of_its_inputs_was_left_out(
    names: tuple[str, ...], reasons: list[str]
) -> None:
    inputs = tuple(InputImage(index=at, url=f"http://x/{name}.png", content_type="") for at, name in enumerate(names))
    world = World(Provider(made(b"1")))
    await world.run(job_of(request=Request(prompt="x", inputs=inputs)))

    assert [one.reason for one in world.facts.last["warnings"]] == reasons


async def test_inputs_are_read_once_and_in_order() -> None:
    inputs = (
        InputImage(index=0, url="http://x/a.png", content_type=""),
        InputImage(index=-1, url=None, content_type=""),
    )
    world = World(Provider(made(), max_images=1))
    await world.run(job_of(n=2, request=Request(prompt="x", inputs=inputs)))

    assert [provider_request.inputs for provider_request in world.provider.submitted] == [
        (b"http://x/a.png", b"white input")
    ] * 2


@in_virtual_time
async def test_an_input_is_waited_for_no_longer_than_its_claim_may_take() -> None:
    class Stalling(Reader):
        async def read_input(self, url: str) -> bytes:
            await asyncio.Event().wait()
            return b""

    world = World(Provider(made()), reader=Stalling())
    inputs = (InputImage(index=0, url="http://x/a.png", content_type=""),)
    await world.run(job_of(max_processing_seconds=1, request=Request(prompt="x", inputs=inputs)))

    assert (world.desk.begun, world.facts.error.reason) == ([], "SERVICE_UNAVAILABLE")
    assert asyncio.get_running_loop().time() <= 1


async def test_a_provider_that_is_no_longer_configured_fails_the_job_before_anything_is_sent() -> None:
    world = World(Provider(made()))
    await world.run(job_of(routes=(Route(provider="gone", model="m"),)))

    assert (world.facts.error.stage, world.facts.error.reason) == ("PROCESSING", "PROVIDER_NOT_FOUND")


# Following.


async def test_a_poll_that_is_not_answered_says_nothing_about_the_operation() -> None:
    world = World(Provider(OPERATION, NOT_TOLD, NOT_TOLD, made()))
    await world.run(job_of())

    assert (world.facts.kinds, world.facts.phases) == (["images_generated"], [CallPhase.SUCCEEDED])


async def test_an_operation_that_nobody_tells_about_stays_open_for_the_next_claim() -> None:
    world = World(Provider(OPERATION, NOT_TOLD, timeout=0.01))
    world.provider.cancels = NOT_TOLD
    await world.run(job_of())

    assert (world.facts.error.reason, world.facts.error.retryable) == ("PROVIDER_TIMEOUT", True)
    assert (world.facts.phases, world.provider.canceled) == ([], ["op"])


async def test_an_operation_that_takes_too_long_and_was_stopped_is_booked_as_canceled() -> None:
    world = World(Provider(OPERATION, Pending(), timeout=0.01))
    await world.run(job_of())

    assert (world.facts.error.reason, world.facts.phases) == ("PROVIDER_TIMEOUT", [CallPhase.CANCELED])


async def test_a_provider_that_refuses_to_tell_fails_the_stage_and_leaves_the_call_open() -> None:
    refused = provider_error(Acceptance.UNKNOWN, code=Code.AUTH_ERROR, reason=Reason.PROVIDER_AUTH, retryable=False)
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
        async def submit(self, provider_request: Any) -> Any:
            self.submitted.append(provider_request)
            called.set()
            await asyncio.Event().wait()

    called = asyncio.Event()
    world = World(Hanging(made()))
    run = asyncio.create_task(world.run(job_of()))
    await called.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run

    assert (world.desk.released, world.facts.kinds) == ([WorkerReport()], [])


async def test_a_run_that_is_cut_short_tells_what_it_knows_though_the_desk_is_away() -> None:
    class Hanging(Provider):
        async def submit(self, provider_request: Any) -> Any:
            if self.submitted:
                called.set()
                await asyncio.Event().wait()
            return await super().submit(provider_request)

    called = asyncio.Event()
    world = World(Hanging(made(), max_images=1))
    world.desk.refusals["release"] = AWAY
    run = asyncio.create_task(world.run(job_of(n=2)))
    await called.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run

    assert (world.facts.kinds, world.facts.phases, world.facts.indexes) == (
        ["ledger_settled"],
        [CallPhase.SUCCEEDED],
        [0],
    )


# Keeping.


async def test_an_address_that_fails_for_now_is_asked_again() -> None:
    world = World(Provider(at("http://x/1.png")), reader=Reader(*[fetch_failed(retryable=True)] * 2))
    await world.run(job_of())

    assert (world.facts.kinds, len(world.provider.submitted)) == (["images_generated"], 1)


async def test_an_address_that_is_gone_fails_a_call_that_was_paid() -> None:
    world = World(Provider(at("http://x/1.png")), reader=Reader(fetch_failed(retryable=False)))
    await world.run(job_of())

    assert (world.facts.error.reason, world.facts.phases) == ("FETCH_FAILED", [CallPhase.SUCCEEDED])
    assert world.facts.last["calls"][0].cost_micros == 40_000


async def test_a_process_that_stops_leaves_an_address_that_can_be_had_again() -> None:
    job = job_of()
    slot = slot_of(job)
    reader = Reader(*[fetch_failed(retryable=True)] * 99)
    reader.when_failed = slot.stopping.set
    world = World(Provider(OPERATION, at("http://x/1.png")), reader=reader)
    await world.run(job, slot)

    [known] = world.desk.released
    assert (world.facts.kinds, [one.phase for one in known.calls]) == ([], [CallPhase.SUCCEEDED])


async def test_what_was_paid_and_cannot_be_had_again_outlasts_a_store_that_refuses_us() -> None:
    paid = World(Provider(made(), resumable=False), staging=Staging(outages=1, problem=StorageDenied("no")))
    again = World(Provider(made(), resumable=True), staging=Staging(outages=1, problem=StorageDenied("no")))
    await paid.run(job_of())
    await again.run(job_of())

    assert paid.facts.kinds == ["images_generated"]
    assert (again.facts.error.reason, again.facts.phases) == ("STORAGE_DENIED", [CallPhase.SUCCEEDED])


async def test_a_bucket_that_is_not_there_may_be_made_yet() -> None:
    world = World(Provider(made()), staging=Staging(outages=1, problem=ObjectMissing("no bucket")))
    await world.run(job_of())

    assert world.facts.kinds == ["images_generated"]


async def test_something_else_under_the_images_name_is_no_result_of_ours() -> None:
    world = World(Provider(made()), staging=Staging(outages=1, problem=ObjectConflict("other")))
    await world.run(job_of())

    assert (world.facts.error.code, world.facts.error.reason) == ("PERMANENT", "RESULT_MISMATCH")


async def test_a_free_call_whose_images_could_not_be_kept_is_no_lost_purchase(monkeypatch: pytest.MonkeyPatch) -> None:
    staging = Staging(outages=99)
    staging.when_refused = put_into(monkeypatch, stage_images, storage_retries).once(PATIENCE)
    world = World(Provider(made(cost=0), free=True), staging=staging)
    await world.run(job_of())

    assert (world.facts.error.reason, world.facts.phases) == ("STORAGE_UNAVAILABLE", [CallPhase.FAILED])


async def test_a_call_under_a_key_stays_open_to_be_sent_again_under_it(monkeypatch: pytest.MonkeyPatch) -> None:
    staging = Staging(outages=99)
    staging.when_refused = put_into(monkeypatch, stage_images, storage_retries).once(PATIENCE)
    world = World(Provider(made(), idempotent=True), staging=staging)
    await world.run(job_of())

    assert (world.facts.error.reason, world.facts.phases) == ("STORAGE_UNAVAILABLE", [])


# Several images.


async def test_an_image_that_will_not_do_does_not_keep_others_from_being_bought() -> None:
    world = World(Provider(made(b"bad"), made(b"good"), max_images=1))
    await world.run(job_of(n=3))

    assert world.desk.begun == [(0,), (1,), (2,)]
    assert (world.facts.error.reason, world.facts.indexes) == ("INVALID_IMAGE", [1, 2])


async def test_a_refused_prompt_is_not_sent_again_for_the_next_image() -> None:
    refused = provider_error(Acceptance.ACCEPTED, code=Code.PERMANENT, reason=Reason.CONTENT_POLICY, retryable=False)
    world = World(Provider(refused, max_images=1))
    await world.run(job_of(n=3))

    assert (world.desk.begun, world.facts.error.reason) == ([(0,)], "CONTENT_POLICY")


async def test_a_refused_image_of_a_prompt_that_brought_others_is_one_that_is_missing() -> None:
    refused = provider_error(Acceptance.ACCEPTED, code=Code.PERMANENT, reason=Reason.CONTENT_POLICY, retryable=False)
    world = World(Provider(made(), refused, made(), max_images=1))
    await world.run(job_of(n=3))

    assert (world.facts.error.reason, world.facts.indexes) == ("CONTENT_POLICY", [0, 2])
    assert world.facts.phases == [CallPhase.SUCCEEDED, CallPhase.REFUSED, CallPhase.SUCCEEDED]


async def test_a_provider_in_trouble_is_not_asked_for_the_next_image() -> None:
    world = World(Provider(made(), provider_error(Acceptance.NOT_ACCEPTED), max_images=1))
    await world.run(job_of(n=3))

    assert (world.desk.begun, world.facts.indexes) == ([(0,), (1,)], [0])
