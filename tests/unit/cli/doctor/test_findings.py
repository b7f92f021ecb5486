"""What doctor says of what it sees."""

import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import psutil
import pytest

from cli.doctor.bucket import judged
from cli.doctor.command import examine
from cli.doctor.database import clock, durability
from cli.doctor.findings import Level
from cli.doctor.machine import GIGABYTE, disk, python
from cli.doctor.stack import broker, process
from cli.stack.readiness import Row
from cli.stack.state import SUPERVISOR, ProcessRecord, write_processes

SAFE = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on", "synchronous_standby_names": "ANY 1 (a)"}


def test_a_database_with_a_synchronous_standby_is_well() -> None:
    assert {finding.level for finding in durability(SAFE)} == {Level.OK}


@pytest.mark.parametrize(
    ("setting", "value", "level"),
    [
        ("fsync", "off", Level.FAIL),
        ("full_page_writes", "off", Level.FAIL),
        ("synchronous_commit", "off", Level.FAIL),
        ("synchronous_commit", "local", Level.FAIL),
        ("synchronous_standby_names", "", Level.WARN),
    ],
)
def test_a_setting_that_loses_jobs_is_told_with_what_to_do(setting: str, value: str, level: Level) -> None:
    found = [finding for finding in durability(SAFE | {setting: value}) if finding.level is level]

    assert len(found) == 1
    assert setting in found[0].advice


@pytest.mark.parametrize(("seconds", "level"), [(0, Level.OK), (-1.9, Level.OK), (3, Level.WARN), (-3, Level.WARN)])
def test_clocks_that_differ_are_told(seconds: float, level: Level) -> None:
    assert clock(timedelta(seconds=seconds)).level is level


@pytest.mark.parametrize(("gigabytes", "level"), [(0.5, Level.FAIL), (3, Level.WARN), (50, Level.OK)])
def test_little_room_is_told(gigabytes: float, level: Level) -> None:
    assert disk(int(gigabytes * GIGABYTE), Path("/")).level is level


@pytest.mark.parametrize(
    ("version", "level"), [((3, 10), Level.FAIL), ((3, 11), Level.OK), ((3, 14), Level.OK), ((3, 15), Level.FAIL)]
)
def test_an_untested_python_is_told(version: tuple[int, int], level: Level) -> None:
    assert python(version).level is level


@pytest.mark.parametrize(("answer", "level"), [(True, Level.OK), (False, Level.WARN), (None, Level.FAIL)])
def test_a_broker_that_confirms_too_early_is_told(answer: bool | None, level: Level) -> None:
    assert broker(answer).level is level


@pytest.mark.parametrize(
    ("alive", "ready", "level"),
    [(True, True, Level.OK), (True, False, Level.FAIL), (False, False, Level.FAIL)],
)
def test_a_process_that_does_not_do_its_work_is_told(alive: bool, ready: bool, level: Level) -> None:
    assert process(Row(name="job", pid=1, alive=alive, ready=ready, address=""), Path("data")).level is level


def test_a_process_that_is_not_ready_is_told_with_its_conditions() -> None:
    row = Row(name="job", pid=1, alive=True, ready=False, address="", why="broker: the broker is not connected")

    assert process(row, Path("data")).fact == "job is not ready: broker: the broker is not connected"


@pytest.mark.parametrize(
    ("status", "level"), [(401, Level.OK), (403, Level.OK), (200, Level.FAIL), (404, Level.WARN), (None, Level.WARN)]
)
def test_a_public_bucket_that_anybody_may_list_is_a_fault(status: int | None, level: Level) -> None:
    found = judged("pictures", status)

    assert found.level is level
    assert ("legacyObjectReader" in found.advice) == (level is Level.FAIL)


def test_a_killed_stack_is_named_and_its_own_port_is_no_other_program(tmp_path: Path) -> None:
    own = ProcessRecord.of("gateway", os.getpid())
    assert own is not None
    gone = replace(own, name=SUPERVISOR, started=psutil.boot_time() - 1000)
    write_processes(tmp_path, [gone, own])

    found = list(examine(tmp_path, ""))

    assert not [finding for finding in found if "port 8080" in finding.fact or "no stack runs" in finding.fact]
    [killed] = [finding for finding in found if "left processes that still run: gateway" in finding.fact]
    assert killed.level is Level.FAIL
    assert "calotype up" in killed.advice
    assert "calotype down" in killed.advice
