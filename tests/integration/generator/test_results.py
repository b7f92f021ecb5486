"""What a vendor hands over, good and bad: bytes, base64, addresses, and what becomes of a purchase of no use."""

import base64
import hashlib
import json

import pytest

from services.generator.application.stage_images import PAUSES_BEFORE_ANOTHER_FETCH
from services.generator.domain.jobs import CallPhase
from services.generator.domain.provider_results import Generated, ImageSource
from tests.support.generator.fakes import Provider
from tests.support.providers.paid_provider import bomb
from tests.support.providers.provider_fixtures import PRICE
from tests.support.providers.scripted_http import Manner, ScriptedResponse

from .conftest import GOOD, PICTURE, World

MOST_FETCHES = 1 + len(PAUSES_BEFORE_ANOTHER_FETCH)
SHA256 = hashlib.sha256(PICTURE).hexdigest()
NOT_PICTURES = {
    "html": (b"<html>not found</html>", "INVALID_IMAGE"),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "INVALID_IMAGE"),
    "empty": (b"", "INVALID_IMAGE"),
    "gif": (b"GIF89a\x01\x00\x01\x00\x00\x00\x00;", "INVALID_IMAGE"),
    "half": (PICTURE[: len(PICTURE) // 2], "INVALID_IMAGE"),
    "bomb": (bomb(), "TOO_LARGE"),
}


@pytest.mark.parametrize(("body", "reason"), NOT_PICTURES.values(), ids=NOT_PICTURES)
async def test_what_is_no_picture_fails_the_stage_and_was_paid_for(world: World, body: bytes, reason: str) -> None:
    world.will_sell_one()
    is_asked_anew = MOST_FETCHES if reason == "INVALID_IMAGE" else 1
    world.shows("0.png", ScriptedResponse(body=body, headers={"Content-Type": "image/png"}), times=is_asked_anew)
    if reason == "INVALID_IMAGE":
        world.paid.expect_result("0.png")
    await world.run(world.job())

    error, [outcome] = world.facts.error, world.facts.last["calls"]
    assert (error.stage, error.code, error.reason, error.retryable) == ("GENERATING", "PERMANENT", reason, False)
    assert (outcome.phase, outcome.cost_micros) == (CallPhase.SUCCEEDED, PRICE)
    kept = [f"job_1/{outcome.call_id}/raw/0"] if body else []
    assert await world.staged() == kept
    for name in kept:
        assert name in error.message
        assert await world.store.get(name) == body


@pytest.mark.parametrize(
    "address",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://127.0.0.1:9/picture.png",
        "http://10.0.0.1/picture.png",
        "http://[::1]/picture.png",
        "http://localhost:9/picture.png",
        "http://2130706433/picture.png",
        "file:///etc/passwd",
        "ftp://pictures.example/0.png",
    ],
)
async def test_a_picture_at_a_forbidden_address_is_not_fetched(world: World, address: str) -> None:
    world.paid.expect_submit(world.order())
    world.paid.expect_result_at(address)
    await world.run(world.job())

    error = world.facts.error
    assert (error.stage, error.code, error.reason) == ("GENERATING", "PERMANENT", "FORBIDDEN_ADDRESS")
    assert (world.facts.phases, await world.staged()) == ([CallPhase.SUCCEEDED], [])


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (ScriptedResponse(status=302, headers={"Location": "http://169.254.169.254/"}), "FORBIDDEN_ADDRESS"),
        (ScriptedResponse(headers={"Content-Length": str(65 * 1024 * 1024)}), "TOO_LARGE"),
        (ScriptedResponse(manner=Manner.ENDLESS), "TOO_LARGE"),
        (ScriptedResponse(status=400), "FETCH_FAILED"),
    ],
    ids=["redirect", "announced", "endless", "hopeless"],
)
async def test_a_picture_that_cannot_be_had_fails_the_stage_and_was_paid_for(
    world: World, answer: ScriptedResponse, reason: str
) -> None:
    world.will_sell_one()
    world.shows("0.png", answer)
    if reason == "FETCH_FAILED":
        # Whether it has another address is asked once.
        world.paid.expect_result("0.png")
    await world.run(world.job())

    assert (world.facts.error.stage, world.facts.error.reason) == ("GENERATING", reason)
    assert (world.facts.phases, world.facts.error.retryable) == ([CallPhase.SUCCEEDED], False)


@pytest.mark.parametrize(
    "answer",
    [
        ScriptedResponse(status=503),
        ScriptedResponse(body=PICTURE[:-100], manner=Manner.CUT),
        ScriptedResponse(status=404),
        ScriptedResponse(status=403),
        ScriptedResponse(body=PICTURE[:-100]),
    ],
    ids=["busy", "cut", "not there yet", "not allowed yet", "half"],
)
async def test_a_picture_that_cannot_be_had_for_now_is_fetched_again(world: World, answer: ScriptedResponse) -> None:
    world.will_sell_one()
    world.shows("0.png", answer)
    world.shows("0.png", GOOD)
    await world.run(world.job())

    assert (world.facts.kinds, world.desk.begun) == (["images_generated"], [(0,)])


async def test_a_whole_picture_whose_length_was_told_wrongly_is_fetched_once(world: World) -> None:
    world.will_sell_one()
    world.shows("0.png", ScriptedResponse(body=PICTURE, manner=Manner.CUT))
    await world.run(world.job())

    assert (world.facts.kinds, world.desk.begun) == (["images_generated"], [(0,)])


async def test_an_expired_address_is_given_up_and_another_is_asked_for(world: World) -> None:
    world.will_sell_one()
    # As often as it is asked within its time.
    world.shows("0.png", ScriptedResponse(status=410), times=10)
    world.paid.expect_result("1.png")
    world.shows("1.png", GOOD)
    await world.run(world.job())

    assert (world.facts.kinds, world.desk.begun) == (["images_generated"], [(0,)])
    world.vendor.forget()


@pytest.mark.parametrize(
    "headers", [{"Content-Type": "image/png"}, {"Content-Type": "application/json"}], ids=["its label", "another label"]
)
async def test_a_create_that_is_answered_with_the_picture_itself_has_brought_it(
    world: World, headers: dict[str, str]
) -> None:
    world.paid.expect_submit(world.order(), ScriptedResponse(status=201, body=PICTURE, headers=headers))
    await world.run(world.job())

    [outcome] = world.facts.last["calls"]
    assert [image.sha256 for image in world.facts.last["images"]] == [SHA256]
    assert (outcome.phase, outcome.cost_micros) == (CallPhase.SUCCEEDED, PRICE)


async def test_an_answer_that_nobody_can_read_is_staged_whole(world: World) -> None:
    body = {"pictures": [base64.b64encode(PICTURE).decode()]}
    world.paid.expect_submit(world.order(), ScriptedResponse(status=201, body=body))
    await world.run(world.job())

    [outcome] = world.facts.last["calls"]
    name = f"job_1/{outcome.call_id}/raw/answer"
    assert (outcome.phase, await world.staged()) == (CallPhase.UNKNOWN, [name])
    assert outcome.error.vendor.message.startswith(f"(kept as {name})")
    assert json.loads(await world.store.get(name)) == body


async def test_one_bad_picture_does_not_take_the_others_with_it(world: World) -> None:
    world.paid.expect_submit(world.order(count=3))
    world.paid.expect_result("0.png", "1.png", "2.png")
    world.shows("0.png", GOOD)
    world.shows("1.png", ScriptedResponse(body=b"<html>"), times=MOST_FETCHES)
    world.shows("2.png", GOOD)
    world.paid.expect_result("0.png", "1.png", "2.png")
    await world.run(world.job(n=3))

    assert (world.facts.kinds, world.facts.indexes) == (["stage_failed"], [0, 2])
    assert world.facts.error.reason == "INVALID_IMAGE"


async def test_a_picture_in_base64_is_decoded_and_staged(world: World) -> None:
    text = base64.b64encode(PICTURE).decode()
    provider = Provider(
        Generated(images=(ImageSource(base64=text), ImageSource(base64=f"data:image/png;base64,{text}")))
    )
    await world.run(world.job(n=2), provider=provider)

    assert [image.sha256 for image in world.facts.last["images"]] == [SHA256] * 2


async def test_what_is_no_base64_is_no_picture(world: World) -> None:
    await world.run(world.job(), provider=Provider(Generated(images=(ImageSource(base64="not~base64"),))))

    assert (world.facts.error.reason, world.facts.phases) == ("INVALID_IMAGE", [CallPhase.SUCCEEDED])
