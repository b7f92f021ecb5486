"""A call whose answer is waited for: it is stopped with its job where its provider can be told to, for certain."""

import asyncio

import pytest
from calotype.error_reasons import Code, Reason

from common.leased_work import Renewal
from services.generator.domain.earlier_calls import Traits
from services.generator.domain.jobs import CallPhase
from services.generator.domain.provider_results import Acceptance, CancelOutcome, Generated, Operation
from services.generator.ports import ProviderRequest
from tests.support.generator.fakes import Provider, job_of, made, provider_error

from .conftest import OPERATION, World, end, slot_of

STOPPED = provider_error(Acceptance.ACCEPTED, code=Code.TIMEOUT, reason=Reason.PROVIDER_CANCELED)
STOPPABLE = Traits(free=True, idempotent=False, resumable=False, stoppable=True)


class DrawingProvider(Provider):
    """Draws until it is told to stop, or asked in vain; says to each wish what comes next."""

    poll_interval_seconds = 0.001

    def __init__(self, *says: CancelOutcome) -> None:
        super().__init__()
        self.traits = STOPPABLE
        self.begun = asyncio.Event()
        self.let_go = False
        self._says = list(says)
        self._done = asyncio.Event()

    async def submit(self, provider_request: ProviderRequest) -> Generated:
        """Draw."""
        self.begun.set()
        try:
            await self._done.wait()
        except asyncio.CancelledError:
            self.let_go = True
            raise
        return made()

    async def cancel(self, operation: Operation) -> CancelOutcome:
        """The next answer; after the last the drawing is done."""
        self.canceled.append(operation.id)
        said = self._says.pop(0)
        if not self._says and said is not CancelOutcome.CONFIRMED:
            self._done.set()
        return said


async def canceled(provider: DrawingProvider) -> World:
    """A world in which the job was canceled while the provider drew."""
    world = World(provider)
    slot = slot_of(job_of())
    running = asyncio.create_task(world.run(slot.work, slot))
    await provider.begun.wait()
    end(slot, Renewal.CANCELED)
    await running
    return world


def phases(world: World) -> list[CallPhase]:
    """How the calls of the job ended, as it is told with the job's end or when it is handed back."""
    known = world.desk.released[-1].calls if world.desk.released else world.facts.last["calls"]
    return [outcome.phase for outcome in known]


async def test_a_call_that_was_surely_stopped_is_let_go_and_booked_as_canceled() -> None:
    provider = DrawingProvider(CancelOutcome.CONFIRMED)
    world = await canceled(provider)

    [call_id] = provider.canceled
    assert call_id.startswith("call_")
    assert provider.let_go
    assert phases(world) == [CallPhase.CANCELED]


async def test_who_cannot_stop_it_yet_is_asked_again_until_it_is_stopped() -> None:
    provider = DrawingProvider(CancelOutcome.UNSUPPORTED, CancelOutcome.UNSUPPORTED, CancelOutcome.CONFIRMED)
    world = await canceled(provider)

    assert len(provider.canceled) == 3
    assert phases(world) == [CallPhase.CANCELED]


@pytest.mark.parametrize("said", [CancelOutcome.UNSUPPORTED, CancelOutcome.TOO_LATE])
async def test_what_is_done_before_it_could_be_stopped_counts_as_made(said: CancelOutcome) -> None:
    provider = DrawingProvider(said)
    world = await canceled(provider)

    assert provider.let_go is False
    assert phases(world) == [CallPhase.SUCCEEDED]


@pytest.mark.parametrize(
    ("outcome", "facts"),
    [(Renewal.CANCELED, ["ledger_settled"]), (Renewal.RENEWED, ["stage_failed"]), (Renewal.LOST, ["stage_failed"])],
)
async def test_an_operation_that_the_provider_canceled_is_no_failure_if_the_job_is_canceled(
    outcome: Renewal, facts: list[str]
) -> None:
    world, slot = World(Provider(OPERATION, STOPPED)), slot_of(job_of())

    async def renew() -> None:
        """The settlement of the job's calls told the provider before this process was told."""
        if outcome is not Renewal.RENEWED:
            end(slot, outcome)

    slot.check = renew
    await world.run(slot.work, slot)

    assert (world.facts.kinds, world.facts.phases) == (facts, [CallPhase.CANCELED])
