"""What a call came to is told until somebody has it, and holds no slot for longer than a lease."""

import asyncio
from typing import Any

import pytest
from calotype.error_reasons import Code, Reason

from common.jetstream import BrokerUnavailable, MessageTooLarge
from common.leased_work import Renewal
from common.publishing import BackgroundPublisher, publish_until_confirmed
from services.generator.domain.jobs import CallPhase
from services.generator.domain.provider_results import Acceptance
from tests.support.generator.fakes import Facts, Provider, job_of, provider_error
from tests.support.patience import PATIENCE
from tests.unit.services.generator.application.conftest import World, end, slot_of


class Broker:
    """Away, until it is back."""

    def __init__(self) -> None:
        self.is_back, self.requests, self.has_heard = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.heard: list[str] = []
        self.tried: list[str] = []

    async def publish(self, fact_id: str) -> None:
        """Hear a fact."""
        self.tried.append(fact_id)
        self.requests.set()
        if not self.is_back.is_set():
            raise BrokerUnavailable("away")
        self.heard.append(fact_id)
        self.has_heard.set()


class DistantFacts(Facts):
    """Told through a broker that may be away."""

    def __init__(self, broker: Broker) -> None:
        super().__init__()
        self._broker = broker

    async def stage_failed(self, fact_id: str, **about: Any) -> None:
        """The claim ended badly."""
        await self._broker.publish(fact_id)
        self.published.append(("stage_failed", about))


async def test_a_paid_calls_end_is_told_though_the_job_is_another_workers_and_its_slot_is_free() -> None:
    refused = provider_error(Acceptance.ACCEPTED, code=Code.PERMANENT, reason=Reason.CONTENT_POLICY, retryable=False)
    broker = Broker()
    world = World(Provider(refused, resumable=False), facts=DistantFacts(broker))
    slot = slot_of(job_of())
    running = asyncio.create_task(world.run(slot.work, slot))
    async with asyncio.timeout(PATIENCE):
        await broker.requests.wait()
        end(slot, Renewal.LOST)
        await running
        broker.is_back.set()
        await broker.has_heard.wait()

    assert world.facts.phases == [CallPhase.REFUSED]


async def test_a_fact_outlives_the_lease_under_its_own_id_and_does_not_keep_the_slot() -> None:
    broker, publisher, lease_ended = Broker(), BackgroundPublisher(), asyncio.Event()
    publishing = asyncio.create_task(publisher.publish(broker.publish, lease_ended=lease_ended))
    await broker.requests.wait()
    assert not publishing.done()
    lease_ended.set()
    async with asyncio.timeout(PATIENCE):
        await publishing
    assert broker.heard == []
    broker.is_back.set()
    await publisher.finish(seconds=PATIENCE)

    assert len(broker.heard) == len(set(broker.tried)) == 1


async def test_a_process_that_ends_does_not_wait_for_ever_for_a_broker(caplog: pytest.LogCaptureFixture) -> None:
    broker, publisher, lease_ended = Broker(), BackgroundPublisher(), asyncio.Event()
    lease_ended.set()
    await publisher.publish(broker.publish, lease_ended=lease_ended)
    await publisher.finish(seconds=0.01)

    assert "facts.lost" in caplog.messages
    assert len(asyncio.all_tasks()) == 1


@pytest.mark.parametrize("error", [MessageTooLarge("2 bytes are more than 1"), ValueError("surrogates not allowed")])
async def test_what_can_never_be_told_is_tried_once_and_said_to_be_lost(
    caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    tries = []

    async def publish(fact_id: str) -> None:
        tries.append(fact_id)
        raise error

    async with asyncio.timeout(PATIENCE):
        await publish_until_confirmed(publish, until=asyncio.Event())

    assert len(tries) == 1
    assert "fact.rejected" in caplog.messages
