"""When the progress of a job is published."""

import asyncio
from typing import Any, cast

from services.generator.application.progress import MIN_INTERVAL_SECONDS, REPEAT_SECONDS, ProgressReporter


class Published:
    """Facts that note the published percent."""

    def __init__(self) -> None:
        self.percent: list[float] = []

    async def progress(self, job: Any, *, percent: float) -> None:
        self.percent.append(percent)


async def test_the_furthest_position_is_repeated_for_a_job_service_that_lost_it() -> None:
    facts, now = Published(), 100.0
    report = ProgressReporter(cast("Any", facts), cast("Any", None), clock=lambda: now)
    for seconds, fraction in ((0.0, 0.0), (0.0, 0.3), (MIN_INTERVAL_SECONDS, 0.3), (REPEAT_SECONDS, 0.2), (0.1, 0.9)):
        now += seconds
        report(fraction)
    for _ in range(3):
        await asyncio.sleep(0)

    assert facts.percent == [30.0, 30.0]
