"""A job that should be finished: nothing new is begun, and what can be stopped is."""

from typing import Any

import pytest

from services.generator.application import claim, provider_call
from services.generator.domain.jobs import CallPhase, Job
from services.generator.domain.provider_results import CancelOutcome, Operation, Pending
from tests.support.generator.fakes import Provider, job_of, made
from tests.support.patience import PATIENCE
from tests.support.timing.clocks import AheadClock, put_into
from tests.unit.services.generator.application.test_generation import World

OPERATION = Operation(id="op", state={})


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> AheadClock:
    """What the generator looks at."""
    return put_into(monkeypatch, claim, provider_call)


def late(**fields: Any) -> Job:
    """A job that should be finished long before the time of its claim is over."""
    return job_of(finish_seconds=PATIENCE, max_seconds=10 * PATIENCE, **fields)


async def test_nothing_is_bought_when_the_job_should_be_finished() -> None:
    world = World(Provider(made()))
    await world.run(job_of(finish_seconds=0))

    assert world.desk.begun == []
    assert (world.facts.error.reason, world.facts.error.retryable) == ("DEADLINE_EXCEEDED", True)
    assert world.facts.error.message == "The job's deadline passed before the job was finished."


async def test_an_operation_is_stopped_when_the_job_should_be_finished(clock: AheadClock) -> None:
    world = World(Provider(OPERATION, Pending(), timeout=10 * PATIENCE, hook=clock.once(PATIENCE)))
    await world.run(late())

    assert world.provider.canceled == ["op"]
    assert world.facts.phases == [CallPhase.CANCELED]
    assert world.facts.error.reason == "DEADLINE_EXCEEDED"


@pytest.mark.parametrize("answer", [CancelOutcome.UNSUPPORTED, CancelOutcome.TOO_LATE])
async def test_what_cannot_be_stopped_is_paid_for_and_waited_for(answer: CancelOutcome, clock: AheadClock) -> None:
    provider = Provider(OPERATION, Pending(), timeout=10 * PATIENCE, hook=clock.once(PATIENCE))
    provider.cancels = answer
    world = World(provider)
    provider.when_canceled = lambda: provider.then(made())
    await world.run(late())

    assert provider.canceled == ["op"]
    assert world.facts.kinds == ["images_generated"]
    assert world.facts.phases == [CallPhase.SUCCEEDED]


async def test_pictures_that_were_made_in_time_are_stored_however_late_that_is() -> None:
    world = World(Provider(made()))
    await world.run(late())

    assert world.facts.kinds == ["images_generated"]
