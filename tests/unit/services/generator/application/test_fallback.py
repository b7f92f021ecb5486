"""A job's ways: the next provider is asked only when this one surely sold nothing."""

from dataclasses import replace
from typing import Any

import grpc
import pytest
from calotype.error_reasons import Code, Reason

from common.errors import ServiceError
from common.leased_work import Slot
from common.memory import Memory
from services.generator.application.run_job import Generator
from services.generator.domain.jobs import CallPhase, InputImage, MaskForm, Request, Route
from services.generator.domain.provider_results import Acceptance
from tests.support.generator.fakes import (
    Facts,
    LedgerJobService,
    Provider,
    Reader,
    Staging,
    call_of,
    job_of,
    made,
    provider_error,
)

ROUTES = (Route(provider="paid", model="m"), Route(provider="spare", model="s"))
AWAY = provider_error(Acceptance.NOT_ACCEPTED)
FAILED = provider_error(Acceptance.ACCEPTED)
LOST = provider_error(Acceptance.UNKNOWN)
REFUSED = provider_error(Acceptance.ACCEPTED, code=Code.PERMANENT, reason=Reason.CONTENT_POLICY, retryable=False)
WRONG = provider_error(Acceptance.NOT_ACCEPTED, code=Code.PERMANENT, reason=Reason.INVALID_INPUT, retryable=False)
NO_KEY = provider_error(Acceptance.NOT_ACCEPTED, code=Code.AUTH_ERROR, reason=Reason.PROVIDER_AUTH, retryable=False)
NO_CREDIT = provider_error(Acceptance.NOT_ACCEPTED, code=Code.PERMANENT, reason=Reason.QUOTA_EXHAUSTED, retryable=False)
BUSY = ServiceError(
    status=grpc.StatusCode.RESOURCE_EXHAUSTED, reason=Reason.PROVIDER_BUSY, message="busy", retry_after_seconds=7
)

EXHAUSTED = ServiceError(
    status=grpc.StatusCode.FAILED_PRECONDITION,
    reason=Reason.BUDGET_EXHAUSTED,
    message="No budget.",
    retry_after_seconds=60,
)


class Once(dict[str, ServiceError]):
    """Refusals, each of which is said one time."""

    def __getitem__(self, method: str) -> ServiceError:
        return self.pop(method)


class World:
    """Two providers, and what became of one job."""

    def __init__(self, paid: Provider | None, spare: Provider) -> None:
        spare.name = "spare"
        known = {"spare": spare} | ({"paid": paid} if paid else {})
        self.desk, self.facts, self.spare = LedgerJobService(*known.values()), Facts(), spare
        self._generator = Generator(
            job_service=self.desk,
            facts=self.facts,
            staging=Staging(),
            reader=Reader(),
            providers=known,
            memory=Memory(64 * 1024 * 1024),
        )

    async def run(self, **changes: Any) -> None:
        """Run a job that may go both ways."""
        job = job_of(**({"routes": ROUTES} | changes))
        await self._generator.run(Slot(token=job.lease_token, work=job))


@pytest.mark.parametrize("error", [AWAY, FAILED, NO_KEY, NO_CREDIT], ids=lambda error: error.reason)
async def test_what_one_surely_did_not_sell_the_next_is_asked_for(error: Exception) -> None:
    world = World(Provider(error), Provider(made()))
    await world.run()

    [provider_request] = world.spare.submitted
    assert provider_request.model == "s"
    assert world.facts.kinds == ["images_generated"]
    assert len(world.desk.begun) == 2


@pytest.mark.parametrize("error", [LOST, REFUSED, WRONG], ids=lambda error: error.reason)
async def test_what_may_have_been_sold_or_is_the_requests_own_fault_ends_the_claim(error: Exception) -> None:
    world = World(Provider(error), Provider(made()))
    await world.run()

    assert world.spare.submitted == []


async def test_a_refusal_goes_on_where_the_job_says_so() -> None:
    world = World(Provider(REFUSED), Provider(made()))
    await world.run(falls_back_on_refusal=True)

    assert len(world.spare.submitted) == 1


async def test_each_provider_gets_the_mask_in_the_form_that_it_reads() -> None:
    world = World(paid := Provider(AWAY), Provider(made()))
    world.spare.masks = MaskForm.TWO_WAY
    places = tuple(InputImage(index=index, url=None, content_type="") for index in (0, -1))
    await world.run(request=Request(prompt="x", inputs=places))

    assert [one.inputs for one in (*paid.submitted, *world.spare.submitted)] == [
        (b"input", b"white input"),
        (b"input", b"two_way input"),
    ]


async def test_a_provider_that_is_not_configured_here_is_gone_around() -> None:
    world = World(None, Provider(made()))
    await world.run()

    assert len(world.spare.submitted) == 1


async def test_a_provider_that_would_lose_a_field_by_now_is_gone_around() -> None:
    paid = Provider(made())
    world = World(paid, Provider(made()))
    catalogue = world.desk.ledger.catalogue
    able = replace(catalogue["spare"].capabilities, backgrounds=("transparent",))
    catalogue["spare"] = replace(catalogue["spare"], capabilities=able)
    await world.run(request=Request(prompt="a harbour", background="transparent"))

    assert (len(paid.submitted), len(world.spare.submitted)) == (0, 1)


async def test_where_every_provider_would_lose_a_field_the_job_ends_and_nothing_is_sent() -> None:
    paid, spare = Provider(made()), Provider(made())
    world = World(paid, spare)
    await world.run(request=Request(prompt="a harbour", background="transparent"))

    assert (world.facts.error.reason, world.facts.error.retryable) == ("UNSUPPORTED", False)
    assert (paid.submitted, spare.submitted) == ([], [])


async def test_when_all_fail_the_job_is_told_what_gives_most_hope() -> None:
    world = World(Provider(AWAY), Provider(NO_KEY))
    await world.run()

    assert (world.facts.error.reason, world.facts.error.retryable) == ("PROVIDER_UNAVAILABLE", True)


async def test_the_images_that_are_left_are_bought_where_the_last_one_was_sold() -> None:
    paid = Provider(AWAY)
    world = World(paid, Provider(made(), max_images=1))
    await world.run(n=3)

    assert (len(paid.submitted), len(world.spare.submitted)) == (1, 3)


async def test_where_the_budget_does_not_cover_the_first_a_cheaper_one_is_asked() -> None:
    paid = Provider(made())
    world = World(paid, Provider(made()))
    world.desk.refusals = Once(begin_call=EXHAUSTED)
    await world.run()

    assert (len(paid.submitted), len(world.spare.submitted)) == (0, 1)


async def test_a_budget_that_covers_nothing_ends_the_job_and_nothing_is_sent() -> None:
    paid = Provider(made())
    world = World(paid, Provider(made()))
    world.desk.refusals["begin_call"] = EXHAUSTED
    await world.run(routes=ROUTES[:1])

    error = world.facts.error
    assert (error.stage, error.code, error.reason) == ("GENERATING", "PERMANENT", "BUDGET_EXHAUSTED")
    assert (error.retryable, error.retry_after_seconds, paid.submitted) == (False, 60, [])


async def test_a_provider_that_is_busy_is_waited_for() -> None:
    world = World(Provider(made()), Provider(made()))
    world.desk.refusals["begin_call"] = BUSY
    await world.run()

    error = world.facts.error
    assert (error.reason, error.deferred, error.retry_after_seconds) == ("PROVIDER_BUSY", True, 7)
    assert world.spare.submitted == []


async def test_a_call_that_a_busy_provider_should_get_again_waits_too() -> None:
    paid = Provider(made(), idempotent=True)
    world = World(paid, Provider(made()))
    world.desk.refusals["resend_call"] = BUSY
    await world.run(calls=(call_of(CallPhase.INTENDED),))

    error = world.facts.error
    assert (error.reason, error.deferred, error.retry_after_seconds) == ("PROVIDER_BUSY", True, 7)
    assert (paid.submitted, world.spare.submitted, world.facts.phases) == ([], [], [])


async def test_a_paid_call_without_an_answer_stays_open_where_its_key_is_honoured() -> None:
    world = World(Provider(LOST, idempotent=True), Provider(made()))
    await world.run()

    assert world.facts.phases == []
    assert world.spare.submitted == []
