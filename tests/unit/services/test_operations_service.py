"""OperationsService: a level for a time, and what a drain names."""

import asyncio
import logging
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from calotype.ops.v1 import operations_service_pb2 as ops

from common import logs
from common.errors import ServiceError
from common.health import Readiness
from services.operations_service import OperationsService
from tests.support.patience import PATIENCE, pause


@pytest.fixture(autouse=True)
def _level() -> Iterator[None]:
    before = logging.getLogger().level
    logs.set_level("info")
    yield
    logging.getLogger().setLevel(before)


async def set_level(service: OperationsService, level: str, seconds: int = 0) -> str:
    """Sets the level; returns the previous one."""
    response = await service.SetLogLevel(ops.SetLogLevelRequest(level=level, seconds=seconds), None)
    return response.previous_level


async def level_becomes(level: str) -> None:
    """Waits until the process has a level."""
    async with asyncio.timeout(PATIENCE):
        while logs.current_level() != level:
            await pause()


async def test_a_level_for_a_time_returns_by_itself() -> None:
    service = OperationsService("job", Readiness())
    assert await set_level(service, "debug", 1) == "info"
    status = await service.GetStatus(ops.GetStatusRequest(), None)
    assert (status.log_level, 0 < status.log_level_seconds <= 1) == ("debug", True)
    await level_becomes("info")
    status = await service.GetStatus(ops.GetStatusRequest(), None)

    assert (status.log_level, status.log_level_seconds) == ("info", 0)


async def test_after_two_levels_for_a_time_the_one_before_both_returns() -> None:
    service = OperationsService("job", Readiness())
    await set_level(service, "debug", 600)
    await set_level(service, "error", 1)

    await level_becomes("info")


async def test_a_level_without_a_time_stays() -> None:
    service = OperationsService("job", Readiness())
    await set_level(service, "debug", 600)
    await set_level(service, "warning")
    status = await service.GetStatus(ops.GetStatusRequest(), None)

    assert (status.log_level, status.log_level_seconds) == ("warning", 0)


@pytest.mark.parametrize(("level", "seconds"), [("loud", 0), ("debug", -1), ("debug", 86_401)])
async def test_a_wrong_level_or_time_changes_nothing(level: str, seconds: int) -> None:
    with pytest.raises(ServiceError):
        await set_level(OperationsService("job", Readiness()), level, seconds)

    assert logs.current_level() == "info"


async def test_a_drain_stops_all_claims_and_names_what_is_held() -> None:
    jobs: Any = SimpleNamespace(draining=False, busy=2, held_ids=lambda: ["job_1", "job_2"])
    calls: Any = SimpleNamespace(draining=False, busy=1, held_ids=lambda: ["job_3"])
    service = OperationsService("generator", Readiness(), work=[jobs, calls])
    response = await service.Drain(ops.DrainRequest(), None)
    status = await service.GetStatus(ops.GetStatusRequest(), None)

    assert (response.held, [*response.held_ids]) == (3, ["job_1", "job_2", "job_3"])
    assert (jobs.draining, calls.draining, status.draining, status.held) == (True, True, True, 3)
