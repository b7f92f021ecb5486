"""What holds for every provider behind HTTP: what is sent, to whom, and what an answer, or none, says of the bill."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from services.generator.domain.provider_results import (
    Acceptance,
    CancelOutcome,
    Generated,
    Operation,
    Pending,
    ProviderError,
)
from tests.support.providers.provider_fixtures import KEY, MALFORMED_RESPONSES, RemoteProviderFixture
from tests.support.providers.scripted_http import Manner, ScriptedResponse, ScriptedServer, scripted_server

Open = Callable[[ScriptedServer], RemoteProviderFixture]
NOT_TAKEN = {
    400: ("PERMANENT", "INVALID_INPUT"),
    401: ("AUTH_ERROR", "PROVIDER_AUTH"),
    402: ("PERMANENT", "QUOTA_EXHAUSTED"),
    403: ("AUTH_ERROR", "PROVIDER_AUTH"),
    404: ("PERMANENT", "PROVIDER_REJECTED"),
    422: ("PERMANENT", "INVALID_INPUT"),
    429: ("RATE_LIMIT", "PROVIDER_RATE_LIMIT"),
}


async def accepted(remote: RemoteProviderFixture) -> Operation:
    """A call that the vendor works on."""
    order = remote.order()
    remote.expect_submit(order)
    operation = await remote.provider.submit(order)
    assert isinstance(operation, Operation)
    return operation


async def failure_of(asked: Awaitable[object]) -> ProviderError:
    """How it fails."""
    with pytest.raises(ProviderError) as failed:
        await asked
    return failed.value


async def failure_of_submit(remote: RemoteProviderFixture, answer: ScriptedResponse) -> ProviderError:
    """How a submission fails that is answered so."""
    order = remote.order()
    remote.expect_submit(order, answer)
    return await failure_of(remote.provider.submit(order))


async def test_a_call_is_taken_followed_and_done(remote: RemoteProviderFixture) -> None:
    operation = await accepted(remote)
    remote.expect_running()
    remote.expect_result("0.png", "1.png")

    assert isinstance(await remote.provider.poll(operation), Pending)
    made = await remote.provider.poll(operation)
    assert isinstance(made, Generated)
    assert [(image.url or "").rpartition("/")[2] for image in made.images] == ["0.png", "1.png"]


async def test_an_operation_is_followed_by_what_the_ledger_keeps_of_it(remote: RemoteProviderFixture) -> None:
    operation = await accepted(remote)
    remote.expect_result("0.png")
    kept = Operation(id=operation.id, state={str(name): str(value) for name, value in operation.state.items()})

    assert kept == operation
    assert isinstance(await remote.provider.poll(kept), Generated)


@pytest.mark.parametrize("status", NOT_TAKEN)
async def test_a_request_that_was_refused_bought_nothing(remote: RemoteProviderFixture, status: int) -> None:
    error = await failure_of_submit(remote, ScriptedResponse(status=status, body={"detail": "no"}))

    assert (error.code, error.reason) == NOT_TAKEN[status]
    assert error.acceptance is Acceptance.NOT_ACCEPTED
    assert error.retryable is (status == 429)
    assert (error.vendor.http_status, error.vendor.message) == (status, '{"detail": "no"}')


async def test_who_asks_to_slow_down_is_asked_again_when_he_said(remote: RemoteProviderFixture) -> None:
    error = await failure_of_submit(remote, ScriptedResponse(status=429, headers={"Retry-After": "17"}))

    assert error.retry_after_seconds == 17


@pytest.mark.parametrize("named", ["soon", "-5", "", "nan", "inf"])
async def test_a_senseless_time_to_wait_is_none_that_the_job_waits_for(
    remote: RemoteProviderFixture, named: str
) -> None:
    error = await failure_of_submit(remote, ScriptedResponse(status=429, headers={"Retry-After": named}))

    assert error.retry_after_seconds in (None, 0)


@pytest.mark.parametrize("status", [408, 409, 500, 502, 503, 504, 529])
async def test_an_answer_that_does_not_say_so_may_have_bought(remote: RemoteProviderFixture, status: int) -> None:
    error = await failure_of_submit(remote, ScriptedResponse(status=status, headers={"Location": "/elsewhere"}))

    assert error.acceptance is Acceptance.UNKNOWN


@pytest.mark.parametrize("answer", MALFORMED_RESPONSES.values(), ids=MALFORMED_RESPONSES)
async def test_an_answer_that_makes_no_sense_may_have_bought(
    remote: RemoteProviderFixture, answer: ScriptedResponse
) -> None:
    error = await failure_of_submit(remote, answer)

    assert error.acceptance is Acceptance.UNKNOWN
    assert len(error.vendor.message) <= 2_000


async def test_a_connection_that_breaks_after_the_request_may_have_bought(remote: RemoteProviderFixture) -> None:
    error = await failure_of_submit(remote, ScriptedResponse(manner=Manner.HANG_UP))

    assert (error.code, error.acceptance) == ("TEMPORARY", Acceptance.UNKNOWN)


async def test_who_hangs_up_is_not_asked_again_behind_our_back(
    remote: RemoteProviderFixture, vendor: ScriptedServer
) -> None:
    await failure_of_submit(remote, ScriptedResponse(manner=Manner.HANG_UP))
    await failure_of_submit(remote, ScriptedResponse(status=503))
    await failure_of_submit(remote, ScriptedResponse(status=429))

    assert len(vendor.requests) == 3


async def test_a_vendor_that_does_not_answer_is_left_when_the_caller_wants(
    remote: RemoteProviderFixture, vendor: ScriptedServer
) -> None:
    order = remote.order()
    remote.expect_submit(order, ScriptedResponse(manner=Manner.MUTE))
    asking = asyncio.ensure_future(remote.provider.submit(order))
    await vendor.wait_for()
    asking.cancel()

    with pytest.raises(asyncio.CancelledError):
        await asking


async def test_a_refused_connection_surely_bought_nothing(opened: Open) -> None:
    async with scripted_server() as gone:
        remote = opened(gone)
    order = remote.order()
    error = await failure_of(remote.provider.submit(order))
    await remote.provider.close()

    assert (error.code, error.reason, error.retryable) == ("TEMPORARY", "PROVIDER_UNAVAILABLE", True)
    assert error.acceptance is Acceptance.NOT_ACCEPTED


@pytest.mark.parametrize("words", ["NSFW content detected", "The prompt was flagged as sensitive."])
async def test_a_refusal_by_policy_is_known_as_one(remote: RemoteProviderFixture, words: str) -> None:
    operation = await accepted(remote)
    remote.expect_failure(words)
    error = await failure_of(remote.provider.poll(operation))

    assert (error.code, error.reason, error.retryable) == ("PERMANENT", "CONTENT_POLICY", False)
    assert (error.acceptance, error.vendor.message) == (Acceptance.ACCEPTED, words)
    assert words not in error.message


async def test_a_failed_operation_was_accepted(remote: RemoteProviderFixture) -> None:
    operation = await accepted(remote)
    remote.expect_failure("width must be even")
    error = await failure_of(remote.provider.poll(operation))

    assert (error.code, error.acceptance) == ("PERMANENT", Acceptance.ACCEPTED)


@pytest.mark.parametrize("status", [404, 410])
async def test_an_operation_that_the_vendor_forgot_is_a_lost_result(remote: RemoteProviderFixture, status: int) -> None:
    operation = await accepted(remote)
    remote.expect_poll(ScriptedResponse(status=status))
    error = await failure_of(remote.provider.poll(operation))

    assert (error.code, error.reason, error.acceptance) == ("TIMEOUT", "RESULT_LOST", Acceptance.ACCEPTED)


@pytest.mark.parametrize(
    "answer",
    [
        ScriptedResponse(status=429),
        ScriptedResponse(status=500),
        ScriptedResponse(status=503),
        ScriptedResponse(manner=Manner.HANG_UP),
    ],
    ids=["429", "500", "503", "hang up"],
)
async def test_a_look_that_is_not_answered_says_nothing_and_is_repeated(
    remote: RemoteProviderFixture, answer: ScriptedResponse
) -> None:
    operation = await accepted(remote)
    remote.expect_poll(answer)
    remote.expect_result("0.png")
    error = await failure_of(remote.provider.poll(operation))

    assert (error.retryable, error.acceptance) == (True, Acceptance.UNKNOWN)
    assert isinstance(await remote.provider.poll(operation), Generated)


@pytest.mark.parametrize("answer", MALFORMED_RESPONSES.values(), ids=MALFORMED_RESPONSES)
async def test_a_look_that_makes_no_sense_says_nothing_about_the_operation(
    remote: RemoteProviderFixture, answer: ScriptedResponse
) -> None:
    operation = await accepted(remote)
    remote.expect_poll(replace(answer, status=200))
    error = await failure_of(remote.provider.poll(operation))

    assert error.reason != "RESULT_LOST"
    assert len(error.vendor.message) <= 2_000


@pytest.mark.parametrize("status", [401, 403])
async def test_a_look_that_is_denied_is_the_credentials_fault(remote: RemoteProviderFixture, status: int) -> None:
    operation = await accepted(remote)
    remote.expect_poll(ScriptedResponse(status=status))
    error = await failure_of(remote.provider.poll(operation))

    assert (error.reason, error.acceptance) == ("PROVIDER_AUTH", Acceptance.UNKNOWN)


@pytest.mark.parametrize(("in_time", "outcome"), [(True, CancelOutcome.CONFIRMED), (False, CancelOutcome.TOO_LATE)])
async def test_a_wish_to_cancel_is_told_what_became_of_it(
    remote: RemoteProviderFixture, in_time: bool, outcome: CancelOutcome
) -> None:
    operation = await accepted(remote)
    remote.expect_cancel(in_time=in_time)

    assert await remote.provider.cancel(operation) is outcome


async def test_a_wish_to_cancel_that_nobody_hears_is_an_error(opened: Open) -> None:
    async with scripted_server() as gone:
        remote = opened(gone)
        operation = await accepted(remote)
    error = await failure_of(remote.provider.cancel(operation))
    await remote.provider.close()

    assert error.retryable


async def test_the_key_is_sent_to_no_other_host(remote: RemoteProviderFixture) -> None:
    # `elsewhere` expects nothing: whatever comes there fails the test.
    async with scripted_server() as elsewhere:
        operation = await accepted(remote)
        state = {name: f"{elsewhere.url}/{name}" for name in operation.state}
        remote.expect_result("0.png")
        remote.expect_cancel(in_time=True)
        await remote.provider.poll(replace(operation, state=state))
        await remote.provider.cancel(replace(operation, state=state))


async def test_a_redirect_is_not_followed_with_the_key(remote: RemoteProviderFixture) -> None:
    async with scripted_server() as elsewhere:
        away = ScriptedResponse(status=307, headers={"Location": f"{elsewhere.url}/v1"})
        await failure_of_submit(remote, away)
        operation = await accepted(remote)
        remote.expect_poll(away)
        await failure_of(remote.provider.poll(operation))


async def test_the_key_is_in_no_error_and_no_line_of_the_log(
    remote: RemoteProviderFixture, caplog: pytest.LogCaptureFixture
) -> None:
    echo = {"title": f"bad key {KEY}", "detail": f"Incorrect API key provided: {KEY}"}
    with caplog.at_level(logging.DEBUG):
        errors = [
            await failure_of_submit(remote, ScriptedResponse(status=401, body=echo)),
            await failure_of_submit(remote, ScriptedResponse(status=500, body=echo)),
            await failure_of_submit(remote, ScriptedResponse(status=201, body=KEY.encode())),
            await failure_of_submit(remote, ScriptedResponse(manner=Manner.HANG_UP)),
        ]
        operation = await accepted(remote)
        remote.expect_failure(f"no such key: {KEY}")
        errors.append(await failure_of(remote.provider.poll(operation)))

    assert "Incorrect API key provided" in errors[0].vendor.message
    for error in errors:
        assert KEY not in f"{error!r} {error} {error.message} {error.vendor}"
    assert KEY not in caplog.text


async def test_a_key_that_comes_back_as_the_id_of_a_request_is_not_kept(remote: RemoteProviderFixture) -> None:
    error = await failure_of_submit(remote, ScriptedResponse(status=401, headers={"X-Request-Id": f"for-{KEY}"}))

    assert error.vendor.request_id == "for-***"
