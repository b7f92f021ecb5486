"""Who comes after a stack finds it, or what is left of it."""

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from cli.errors import CommandFailed, ExitCode
from cli.stack.state import (
    SUPERVISOR,
    ProcessRecord,
    StackState,
    find_supervisor,
    read_processes,
    read_state,
    require_state,
    stop_leftovers,
    write_processes,
)
from tests.support.patience import PATIENCE

STATE = StackState(
    http="http://127.0.0.1:8080",
    grpc={"job": "127.0.0.1:1"},
    database_url="postgresql://x",
    notifier_database_url="postgresql://y",
    nats_url="nats://x",
    nats_monitor_url="nats://y",
    storage_url="http://x",
    public_base_url="http://x/b",
    bucket="b",
    staging_bucket="s",
    api_key="k",
    operator_key="o",
    grpc_token="t",
    storage_tokens={"uploader": "u", "generator": "g"},
    pids={"job": [1]},
    admin={"job": ["http://127.0.0.1:9464"]},
)


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that runs until it is told to end."""
    with subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"]) as process:
        yield process
        process.kill()


def record_of(name: str, pid: int) -> ProcessRecord:
    found = ProcessRecord.of(name, pid)
    assert found is not None
    return found


def test_the_state_of_a_running_stack_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_processes(tmp_path, [record_of(SUPERVISOR, os.getpid())])
    STATE.write(tmp_path)

    assert read_state(tmp_path) == STATE


def test_only_the_owner_reads_the_keys(tmp_path: Path) -> None:
    STATE.write(tmp_path)

    assert stat.S_IMODE((tmp_path / "stack.json").stat().st_mode) == 0o600


def test_a_stack_whose_supervisor_is_gone_does_not_run(tmp_path: Path) -> None:
    gone = replace(record_of(SUPERVISOR, os.getpid()), started=1.0)
    write_processes(tmp_path, [gone])
    STATE.write(tmp_path)

    assert find_supervisor(tmp_path) is None
    assert read_state(tmp_path) is None


@pytest.mark.parametrize("text", ["", "{", "[]", '[{"name": "job"}]', "null", "3"])
def test_damaged_files_are_the_same_as_none(tmp_path: Path, text: str) -> None:
    for name in ("stack.json", "processes.json"):
        (tmp_path / name).write_text(text, encoding="utf-8")

    assert read_processes(tmp_path) == []
    assert read_state(tmp_path) is None


def test_leftovers_are_stopped(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    write_processes(tmp_path, [record_of("job", sleeper.pid)])
    told = list[str]()

    stop_leftovers(tmp_path, told.append)

    assert not psutil.pid_exists(sleeper.pid) or sleeper.wait(PATIENCE) == -signal.SIGTERM
    assert "job" in told[0]
    assert not (tmp_path / "processes.json").exists()


def test_a_process_that_only_has_the_number_of_a_leftover_is_left_alone(
    tmp_path: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    other = replace(record_of("job", sleeper.pid), started=psutil.Process(sleeper.pid).create_time() - 60)
    write_processes(tmp_path, [other])

    stop_leftovers(tmp_path, lambda _: None)

    assert sleeper.poll() is None


def why_there_is_no_stack(folder: Path) -> str:
    """What a command says that needs a stack."""
    with pytest.raises(CommandFailed) as failed:
        require_state(folder)
    assert failed.value.code == ExitCode.NOT_REACHABLE
    return failed.value.message


def test_a_command_that_needs_a_stack_says_why_there_is_none(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    none = why_there_is_no_stack(tmp_path)
    write_processes(tmp_path, [replace(record_of(SUPERVISOR, os.getpid()), started=1.0), record_of("job", sleeper.pid)])
    killed = why_there_is_no_stack(tmp_path)
    write_processes(tmp_path, [record_of(SUPERVISOR, os.getpid())])
    starting = why_there_is_no_stack(tmp_path)

    assert none == f"No stack runs in {tmp_path}; start one with: calotype up"
    assert "was killed, and left processes that still run: job." in killed
    assert "calotype down" in killed
    assert "is starting or stopping" in starting
