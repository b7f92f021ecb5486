"""A claimed job against a vendor's wire, a real staging bucket, and pictures that are really decoded."""

import asyncio
import hashlib
from dataclasses import replace

import pytest

from common.leased_work import Renewal, Slot
from services.generator.application import stage_images, storage_retries
from services.generator.domain.jobs import Call, CallPhase, InputImage, Job, Request
from services.generator.domain.provider_results import Generated, ImageSource
from services.generator.domain.settlements import WorkerReport
from tests.support.generator.fakes import AWAY, LOST, Provider, call_of
from tests.support.patience import PATIENCE
from tests.support.providers.paid_provider import png
from tests.support.providers.provider_fixtures import PRICE
from tests.support.providers.scripted_http import Manner, ScriptedResponse
from tests.support.proxies.storage_proxy import Fault
from tests.support.timing.clocks import put_into

from .conftest import GOOD, PICTURE, World

SHA256 = hashlib.sha256(PICTURE).hexdigest()


def accepted(*indexes: int) -> Call:
    """A call of an earlier claim that the vendor works on."""
    return call_of(CallPhase.ACCEPTED, *indexes, operation="p1")


def held(world: World) -> ScriptedResponse:
    """The vendor's yes, which is on its way until the script says so."""
    return replace(world.paid.accepted, manner=Manner.HOLD)


async def test_a_picture_is_bought_fetched_measured_and_staged(world: World) -> None:
    world.will_sell_one()
    world.shows("0.png", GOOD)
    await world.run(world.job())

    [outcome], [image] = world.facts.last["calls"], world.facts.last["images"]
    assert world.facts.kinds == ["images_generated"]
    assert (outcome.phase, outcome.operation_id, outcome.cost_micros) == (CallPhase.SUCCEEDED, "p1", PRICE)
    assert (image.width, image.height, image.size_bytes, image.sha256) == (96, 64, len(PICTURE), SHA256)
    # By its bytes, whatever the vendor's server calls it.
    assert image.content_type == "image/png"
    assert image.name == f"job_1/{outcome.call_id}/0"
    assert await world.store.get(image.name) == PICTURE


async def test_a_picture_is_fetched_without_the_credential(world: World) -> None:
    world.will_sell_one()
    world.shows("0.png", GOOD)
    await world.run(world.job())

    [fetched] = [request for request in world.vendor.requests if request.path == "/files/0.png"]
    assert "authorization" not in fetched.headers
    assert "cookie" not in fetched.headers


async def test_staging_says_all_that_the_ledger_needs_to_adopt_a_picture(world: World) -> None:
    world.paid.expect_submit(world.order(count=2, seed=7))
    world.paid.expect_result("0.png", "1.png")
    for name in ("0.png", "1.png"):
        world.shows(name, GOOD)
    await world.run(world.job(n=2, request=Request(prompt="a harbour", seed=7)))

    found = await world.store.find("job_1/")
    [call_id] = [outcome.call_id for outcome in world.facts.last["calls"]]
    assert [one.metadata["count"] for one in found] == ["2", "2"]
    assert [one.metadata["index"] for one in found] == ["0", "1"]
    assert {one.metadata["sha256"] for one in found} == {f'"{SHA256}"'}
    assert {one.metadata["call_id"] for one in found} == {f'"{call_id}"'}
    assert {one.content_type for one in found} == {"image/png"}


async def test_more_images_than_a_call_can_bring_are_bought_by_several(world: World) -> None:
    for count, names in ((4, ("0.png", "1.png", "2.png", "3.png")), (2, ("4.png", "5.png"))):
        world.paid.expect_submit(world.order(count=count))
        world.paid.expect_running()
        world.paid.expect_result(*names)
        for name in names:
            world.shows(name, GOOD)
    await world.run(world.job(n=6))

    assert world.desk.begun == [(0, 1, 2, 3), (4, 5)]
    assert world.facts.indexes == [0, 1, 2, 3, 4, 5]
    assert [outcome.cost_micros for outcome in world.facts.last["calls"]] == [4 * PRICE, 2 * PRICE]


async def test_who_takes_over_finds_what_a_dead_worker_staged_and_asks_the_vendor_nothing(world: World) -> None:
    world.will_sell_one()
    world.shows("0.png", GOOD)
    await world.run(world.job())
    first = world.facts.last["images"]
    [outcome] = world.facts.last["calls"]
    # It died before it could say so: the ledger knows no more than that a call was intended.
    earlier = call_of(CallPhase.INTENDED, call_id=outcome.call_id)
    await world.run(world.job(claim_number=2, calls=[earlier]))

    assert world.facts.kinds == ["images_generated"] * 2
    assert world.facts.last["images"] == first
    assert [(one.call_id, one.phase) for one in world.facts.last["calls"]] == [(outcome.call_id, CallPhase.SUCCEEDED)]


async def test_a_paid_call_of_which_only_a_part_is_staged_is_unknown_and_its_part_is_kept(world: World) -> None:
    world.paid.expect_submit(world.order(count=2))
    world.paid.expect_result("0.png", "1.png")
    for name in ("0.png", "1.png"):
        world.shows(name, GOOD)
    await world.run(world.job(n=2))
    [outcome] = world.facts.last["calls"]
    await world.store.delete(f"job_1/{outcome.call_id}/1")
    earlier = call_of(CallPhase.INTENDED, 0, 1, call_id=outcome.call_id)
    await world.run(world.job(n=2, calls=[earlier]))

    assert (world.facts.kinds[-1], world.facts.phases, world.facts.indexes) == (
        "stage_failed",
        [CallPhase.UNKNOWN],
        [0],
    )
    assert (world.facts.error.reason, world.facts.error.retryable) == ("AMBIGUOUS_OUTCOME", False)


async def test_what_is_made_anew_gives_way_to_what_the_first_writer_staged(world: World) -> None:
    other = ScriptedResponse(body=png() + b"\0")
    world.paid.expect_result("0.png", "1.png")
    world.shows("0.png", GOOD)
    world.shows("1.png", GOOD)
    await world.run(world.job(n=2, calls=[accepted(0, 1)]))
    first = world.facts.last["images"]
    await world.store.delete("job_1/call_old/1")
    world.paid.expect_result("0.png", "1.png")
    world.shows("0.png", other)
    world.shows("1.png", other)
    await world.run(world.job(n=2, calls=[accepted(0, 1)]))

    [kept, made] = world.facts.last["images"]
    assert kept == first[0]
    assert await world.store.get("job_1/call_old/0") == PICTURE
    assert made.size_bytes == len(PICTURE) + 1


async def test_something_in_staging_that_no_generator_wrote_is_not_taken_for_a_picture(world: World) -> None:
    await world.store.put("job_1/call_old/0", b"planted", content_type="text/plain", metadata={"x": "y"})
    world.paid.expect_result("0.png")
    world.shows("0.png", GOOD)
    await world.run(world.job(calls=[accepted(0)]))

    assert (world.facts.kinds, world.facts.error.reason) == (["stage_failed"], "RESULT_MISMATCH")
    assert world.facts.phases == [CallPhase.SUCCEEDED]


async def test_an_accepted_call_is_followed_after_a_crash_and_not_sent_again(world: World) -> None:
    world.paid.expect_running()
    world.paid.expect_result("0.png")
    world.shows("0.png", GOOD)
    await world.run(world.job(calls=[accepted(0)]))

    assert (world.facts.kinds, world.facts.indexes, world.desk.begun) == (["images_generated"], [0], [])


async def test_the_result_of_a_call_that_succeeded_is_fetched_again_and_found_or_lost(world: World) -> None:
    earlier = call_of(CallPhase.SUCCEEDED, operation="p1")
    world.paid.expect_result("0.png")
    world.shows("0.png", GOOD)
    await world.run(world.job(calls=[earlier]))
    world.paid.expect_poll(ScriptedResponse(status=404))
    await world.run(world.job(id="job_2", calls=[earlier]))

    assert world.facts.kinds == ["images_generated", "stage_failed"]
    assert (world.facts.error.reason, world.facts.error.retryable) == ("RESULT_LOST", False)
    assert world.desk.begun == []


@pytest.mark.parametrize("phase", [CallPhase.INTENDED, CallPhase.UNKNOWN])
async def test_a_paid_call_of_unknown_outcome_is_not_repeated(world: World, phase: CallPhase) -> None:
    await world.run(world.job(calls=[call_of(phase)]))

    assert (world.facts.kinds, world.facts.error.reason) == (["stage_failed"], "AMBIGUOUS_OUTCOME")
    assert world.vendor.requests == []


async def test_a_paid_call_of_unknown_outcome_is_repeated_with_consent(world: World) -> None:
    world.will_sell_one()
    world.shows("0.png", GOOD)
    await world.run(world.job(calls=[call_of(CallPhase.UNKNOWN)], may_pay_again=True))

    assert (world.facts.kinds, world.desk.begun) == (["images_generated"], [(0,)])


async def test_a_refused_connection_is_known_to_have_bought_nothing(world: World) -> None:
    await world.vendor.close()
    await world.run(world.job())

    assert (world.facts.kinds, world.facts.phases) == (["stage_failed"], [CallPhase.NOT_SENT])
    assert (world.facts.error.reason, world.facts.error.retryable) == ("PROVIDER_UNAVAILABLE", True)


@pytest.mark.parametrize(
    "answer", [ScriptedResponse(manner=Manner.HANG_UP), ScriptedResponse(status=500), ScriptedResponse(status=201)]
)
async def test_a_purchase_whose_answer_is_lost_is_ambiguous_and_made_once(
    world: World, answer: ScriptedResponse
) -> None:
    world.paid.expect_submit(world.order(), answer)
    await world.run(world.job())

    assert (world.facts.kinds, world.facts.phases) == (["stage_failed"], [CallPhase.UNKNOWN])
    assert (world.facts.error.code, world.facts.error.reason) == ("TIMEOUT", "AMBIGUOUS_OUTCOME")
    assert len(world.vendor.requests) == 1


async def test_a_vendor_that_asks_to_slow_down_is_left_alone_for_the_time_it_names(world: World) -> None:
    words = {"detail": "Request was throttled. Your rate limit resets in ~30s."}
    world.paid.expect_submit(world.order(), ScriptedResponse(status=429, body=words))
    await world.run(world.job())

    error = world.facts.error
    assert (error.code, error.retryable, error.retry_after_seconds) == ("RATE_LIMIT", True, 30)
    assert world.facts.phases == [CallPhase.NOT_SENT]


async def test_a_refusal_is_booked_as_one_and_bought_no_second_time(world: World) -> None:
    world.paid.expect_submit(world.order(count=2))
    world.paid.expect_failure("NSFW content detected")
    await world.run(world.job(n=2))

    assert (world.facts.error.reason, world.facts.phases) == ("CONTENT_POLICY", [CallPhase.REFUSED])
    assert len(world.desk.begun) == 1


async def test_a_paid_picture_in_hand_is_kept_until_staging_is_back(world: World) -> None:
    provider = Provider(Generated(images=(ImageSource(data=PICTURE),), cost_micros=PRICE))
    world.proxy.go_away()
    running = asyncio.create_task(world.run(world.job(), provider=provider))
    await asyncio.to_thread(world.proxy.wait_for, "upload", times=2)
    world.proxy.come_back()
    await running

    assert (world.facts.kinds, len(provider.submitted)) == (["images_generated"], 1)
    assert len(await world.staged()) == 1


async def test_a_write_whose_answer_was_lost_is_found_to_be_done(world: World) -> None:
    world.will_sell_one()
    world.shows("0.png", GOOD)
    world.proxy.order(Fault.LOSE_RESPONSE, on="upload")
    await world.run(world.job())

    assert (world.facts.kinds, world.proxy.count("upload")) == (["images_generated"], 2)
    assert world.vendor.count("GET", "/files/0.png") == 1


async def test_staging_that_stays_away_for_the_whole_of_the_stage_fails_it_for_now(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = put_into(monkeypatch, stage_images, storage_retries)
    world.will_sell_one()
    world.shows("0.png", GOOD)
    world.proxy.go_away(Fault.HANG_UP)
    running = asyncio.create_task(world.run(world.job()))
    await asyncio.to_thread(world.proxy.wait_for, "upload")
    clock.pass_by(10 * PATIENCE)
    await running

    error = world.facts.error
    assert (error.code, error.reason, error.retryable) == ("TEMPORARY", "STORAGE_UNAVAILABLE", True)
    # The next claim fetches it again by its operation.
    assert (world.facts.phases, world.facts.last["calls"][0].operation_id) == ([CallPhase.SUCCEEDED], "p1")


async def test_staging_that_cannot_be_looked_into_leaves_it_open_what_was_staged(world: World) -> None:
    world.proxy.go_away()
    await world.run(world.job(calls=[call_of(CallPhase.INTENDED)], max_processing_seconds=0.5))

    assert (world.facts.error.reason, world.facts.last["calls"]) == ("STORAGE_UNAVAILABLE", ())
    assert world.vendor.requests == []


async def test_nothing_is_bought_under_a_lease_that_is_lost(world: World) -> None:
    world.desk.refusals["begin_call"] = LOST
    slot = await world.run(world.job())

    assert (slot.outcome, world.facts.kinds, world.desk.released) == (Renewal.LOST, [], [])
    assert world.vendor.requests == []


async def test_nothing_is_bought_when_the_permission_came_too_late(world: World) -> None:
    await world.run(world.job(lease_seconds=0))

    assert (world.facts.kinds, world.facts.phases) == (["stage_failed"], [CallPhase.NOT_SENT])
    assert (world.facts.error.stage, world.facts.error.retryable) == ("PROCESSING", True)
    assert world.vendor.requests == []


async def test_a_call_that_was_perhaps_written_down_is_handed_back_as_never_sent(world: World) -> None:
    world.desk.refusals["begin_call"] = AWAY
    await world.run(world.job())

    [known] = world.desk.released
    assert [one.phase for one in known.calls] == [CallPhase.NOT_SENT]
    assert (world.facts.kinds, world.vendor.requests) == ([], [])


async def test_a_call_that_was_perhaps_written_down_is_told_as_a_fact_when_nobody_takes_the_job_back(
    world: World,
) -> None:
    world.desk.refusals |= {"begin_call": AWAY, "release": AWAY}
    await world.run(world.job())

    assert (world.facts.kinds, world.facts.phases) == (["ledger_settled"], [CallPhase.NOT_SENT])


async def test_an_operation_that_job_service_cannot_note_is_told_as_a_fact_before_its_result(world: World) -> None:
    world.desk.refusals["record_operation"] = AWAY
    world.will_sell_one()
    world.shows("0.png", GOOD)
    await world.run(world.job())

    assert world.facts.kinds == ["call_accepted", "images_generated"]
    assert world.facts.published[0][1]["operation"].id == "p1"


async def test_a_job_that_is_canceled_while_the_vendor_works_is_canceled_there_too(world: World) -> None:
    job = world.job()
    slot: Slot[Job] = Slot(token=job.lease_token, work=job)
    world.paid.expect_submit(world.order(), held(world))
    world.paid.expect_cancel(in_time=True)
    running = asyncio.create_task(world.run(job, slot=slot))
    await world.vendor.wait_for()
    slot.outcome = Renewal.CANCELED
    slot.ended.set()
    world.vendor.release()
    await running

    assert (world.facts.kinds, world.desk.recorded, world.desk.released) == ([], ["p1"], [])


async def test_a_process_that_stops_leaves_the_operation_to_the_next_and_gives_the_job_back(world: World) -> None:
    job = world.job()
    slot: Slot[Job] = Slot(token=job.lease_token, work=job)
    world.paid.expect_submit(world.order(), held(world))
    running = asyncio.create_task(world.run(job, slot=slot))
    await world.vendor.wait_for()
    slot.stopping.set()
    world.vendor.release()
    await running

    assert (world.facts.kinds, world.desk.recorded, world.desk.released) == ([], ["p1"], [WorkerReport()])


async def test_a_call_under_way_when_the_grace_ends_is_not_told_to_be_unsent(world: World) -> None:
    world.paid.expect_submit(world.order(), ScriptedResponse(manner=Manner.MUTE))
    running = asyncio.create_task(world.run(world.job()))
    await world.vendor.wait_for()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert (world.desk.released, world.facts.kinds) == ([WorkerReport()], [])


async def test_an_input_at_a_forbidden_address_fails_before_anything_is_bought(world: World) -> None:
    inputs = (InputImage(index=0, url="http://169.254.169.254/", content_type=""),)
    await world.run(world.job(request=Request(prompt="a harbour", inputs=inputs)))

    error = world.facts.error
    assert (error.stage, error.code, error.reason) == ("PROCESSING", "PERMANENT", "FORBIDDEN_ADDRESS")
    assert (world.desk.begun, world.vendor.requests) == ([], [])


async def test_an_accepted_call_of_which_only_a_part_is_staged_is_not_booked_before_its_end(world: World) -> None:
    world.paid.expect_result("0.png", "1.png")
    for name in ("0.png", "1.png"):
        world.shows(name, GOOD)
    await world.run(world.job(n=2, calls=[accepted(0, 1)]))
    await world.store.delete("job_1/call_old/1")
    job = world.job(n=2, calls=[accepted(0, 1)])
    slot: Slot[Job] = Slot(token=job.lease_token, work=job)
    world.paid.expect_poll(replace(ScriptedResponse(status=503), manner=Manner.HOLD))
    running = asyncio.create_task(world.run(job, slot=slot))
    await world.vendor.wait_for(4)
    slot.stopping.set()
    world.vendor.release()
    await running

    [known] = world.desk.released
    assert (known.calls, [image.index for image in known.images]) == ((), [0])
