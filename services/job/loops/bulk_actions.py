"""The runner of bulk actions: works through what operators do with all jobs of a filter."""

import asyncio
from collections.abc import Mapping

from common.loops import run_every
from common.postgres import Database
from common.telemetry import registry
from common.tracing import Attributes, span
from services.job.application import bulk_actions, bulk_pages
from services.job.domain.bulk_actions import BulkActionKind, BulkActionState
from services.job.domain.jobs import Job
from services.job.domain.states import Transition
from services.job.loops.outbox_relay import OutboxRelay

#: Seconds between two looks for due bulk actions; a new one wakes the replica that got it.
INTERVAL_SECONDS = 2.0
_TRANSITIONS = {
    BulkActionKind.CANCEL: Transition.CANCEL,
    BulkActionKind.RETRY: Transition.USER_RETRY,
}


class BulkActionRunner:
    """Works in every replica without a leader: one page of one bulk action at a time, each in its turn."""

    def __init__(self, database: Database, relay: OutboxRelay) -> None:
        self._database = database
        self._relay = relay
        self._wake = asyncio.Event()
        self._had_work = False

    def wake(self) -> None:
        """Makes the next page begin at once."""
        self._wake.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Works until `stop` is set."""
        await run_every("bulk_actions", self.run_once, interval=self._pause, stop=stop, wake=self._wake)

    async def run_once(self) -> Mapping[str, int]:
        """Works on one page; returns the number of changed jobs, which is 0 also when there was no page."""
        self._had_work = False
        bulk_id = await self._database.run(bulk_pages.claim_next)
        if bulk_id is None:
            return {}
        page = await self._database.run(lambda connection: bulk_pages.work_page(connection, bulk_id))
        self._had_work = True
        if page is None:
            return {}
        for job in page.changed:
            _note(job, _TRANSITIONS[page.bulk_action.request.kind])
        if page.changed:
            self._relay.wake()
        if page.bulk_action.state is not BulkActionState.RUNNING:
            bulk_actions.log_end(page.bulk_action)
        return {"jobs": len(page.changed)}

    def _pause(self) -> float:
        return 0.0 if self._had_work else INTERVAL_SECONDS


def _note(job: Job, transition: Transition) -> None:
    """Notes in the trace of a job that an operator canceled or retried it."""
    if job.traceparent is None:
        return
    attributes: Attributes = {registry.JOB_ID: job.id, registry.TRANSITION: transition}
    with span(registry.USER_ACTION, attributes, parent=job.traceparent):
        pass
