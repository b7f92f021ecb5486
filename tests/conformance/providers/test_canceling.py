"""A job that is canceled while any request to the vendor is under way: nothing more is bought, nothing is forgotten."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from common.leased_work import Renewal, Slot
from common.memory import Memory
from common.publishing import BackgroundPublisher
from services.generator.application.claim import Claim, Interrupted
from services.generator.application.provider_call import ProviderCallRunner
from services.generator.application.raw_results import RawResults
from services.generator.application.unread_responses import UnreadResponses
from services.generator.domain.jobs import CallPhase, Route
from services.generator.domain.settlements import WorkerReport
from tests.support.generator.fakes import Facts, LedgerJobService, Reader, Staging, job_of
from tests.support.providers import goldens
from tests.support.providers.goldens import Golden
from tests.support.providers.scripted_http import Manner, ScriptedServer, scripted_server

GOLDENS = {kind: goldens.read(kind) for kind in goldens.kinds()}
#: Paths of the requests that make an operation.
SUBMITS = {kind: {golden.cases["good"]["steps"][0]["request"]["path"]} for kind, golden in GOLDENS.items()}
MOMENTS = [(kind, moment) for kind, golden in GOLDENS.items() for moment in range(len(golden.cases["good"]["steps"]))]


def script(golden: Golden, vendor: ScriptedServer, *, held: int) -> None:
    """Play the good case up to its request number `held`, whose answer waits until the test says so."""
    for number, (method, path, answer) in enumerate(goldens.script_of(golden, "good", vendor.url)[: held + 1]):
        vendor.expect(method, path, replace(answer, manner=Manner.HOLD) if number == held else answer)


def then(golden: Golden, vendor: ScriptedServer, *, after: int) -> list[tuple[str, str]]:
    """Let the look that is under way end as in the good case, and answer a wish to cancel; the requests of the wish."""
    wish = [step for step in goldens.script_of(golden, "cancel", vendor.url) if step[1] not in SUBMITS[golden.kind]]
    for method, path, answer in [*wish, *goldens.script_of(golden, "good", vendor.url)[after + 1 :]]:
        vendor.expect(method, path, answer, in_turn=False)
    return [(method, path) for method, path, _ in wish]


@pytest.mark.parametrize(("kind", "moment"), MOMENTS)
async def test_a_job_that_is_canceled_at_that_moment_leaves_nothing_behind(kind: str, moment: int) -> None:
    golden = GOLDENS[kind]
    order = goldens.order_of(golden, golden.cases["good"])
    route = Route(provider=golden.entry["name"], model=order.model)
    job = job_of(n=order.count, max_seconds=60.0, routes=(route,))
    slot: Slot[Any] = Slot(token="t", work=job)
    claim = Claim(slot=slot)
    async with scripted_server() as vendor:
        script(golden, vendor, held=moment)
        provider = goldens.provider_of(golden, vendor.url)
        desk = LedgerJobService(provider)
        call = await desk.begin_call(
            job,
            call_id=order.call_id,
            provider=provider.name,
            model=order.model,
            indexes=range(order.count),
            digest="",
            report=WorkerReport(),
        )

        async def cancel() -> list[tuple[str, str]]:
            await vendor.wait_for(moment + 1)
            wish = then(golden, vendor, after=moment)
            slot.outcome = Renewal.CANCELED
            slot.ended.set()
            vendor.release()
            return wish

        staging, reader, memory = Staging(), Reader(), Memory(64 * 1024 * 1024)
        raw = RawResults(job.id, deadline=lambda: claim.deadline, staging=staging, reader=reader, memory=memory)
        unread = UnreadResponses(reader=reader, raw=raw)
        caller = ProviderCallRunner(
            claim, job_service=desk, facts=Facts(), publisher=BackgroundPublisher(), unread=unread
        )
        generated, wish = await _both(caller.send(provider, call, order), cancel())
        await provider.close()
        vendor.forget()

        assert vendor.surprises == []
        if generated:
            # It was done before anybody could be told: paid, and in the ledger.
            assert claim.outcomes[call.id].phase is CallPhase.SUCCEEDED
        elif provider.traits.stoppable:
            # It was stopped while its answer was waited for, and the ledger is told so.
            assert claim.outcomes[call.id].phase is CallPhase.CANCELED
            assert all(vendor.count(*one) == 1 for one in wish)
        else:
            # It stays open in the ledger under its operation, and whoever settles it learns its end.
            assert len(desk.recorded) == 1
            assert call.id not in claim.outcomes
            assert not wish or any(vendor.count(*one) for one in wish)
        assert sum(request.path in SUBMITS[kind] for request in vendor.requests) == 1


async def _both(send: Any, cancel: Any) -> tuple[bool, list[tuple[str, str]]]:
    """Whether the call came to its end, and what a wish to cancel it looks like."""
    canceling = asyncio.create_task(cancel)
    try:
        await send
    except Interrupted:
        return False, await canceling
    return True, await canceling
