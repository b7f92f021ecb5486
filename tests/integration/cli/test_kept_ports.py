"""Ports that are given are kept until their servers listen."""

import subprocess
import sys
from pathlib import Path

import pytest

from cli.stack import ports


def _from_another_process() -> int:
    told = subprocess.check_output([sys.executable, "-c", "from cli.stack.ports import free_port; print(free_port())"])
    return int(told)


def test_two_processes_are_not_given_the_same_port(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = ports.free_port()
    monkeypatch.setattr(ports, "CANDIDATES", range(kept, kept + 1))
    monkeypatch.setattr(ports, "TRIES", 1)
    look = (
        "from cli.stack import ports; "
        f"ports.CANDIDATES, ports.TRIES = range({kept}, {kept + 1}), 1; "
        "print(ports.free_port())"
    )

    with pytest.raises(ports.NoFreePort):
        ports.free_port()
    assert "NoFreePort" in subprocess.run([sys.executable, "-c", look], capture_output=True, text=True).stderr


def test_what_a_process_kept_is_free_after_its_end(tmp_path: Path) -> None:
    port = _from_another_process()
    (tmp_path / "ports.json").write_text(f'{{"http": {port}}}', encoding="utf-8")

    assert ports.Ports(tmp_path / "ports.json").assign("http") == port


def test_a_stack_that_starts_again_in_one_process_gets_its_ports_again(tmp_path: Path) -> None:
    first = ports.Ports(tmp_path / "ports.json")
    port = first.assign("http")
    first.remember()

    assert ports.Ports(tmp_path / "ports.json").assign("http") == port


def test_a_process_keeps_no_more_than_a_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_MAX_RESERVED", 8)
    monkeypatch.setattr(ports, "_RESERVED", {})
    for _ in range(2 * ports._MAX_RESERVED):
        ports.free_port()
    kept = list(ports._RESERVED.values())
    for one in kept:
        one.close()

    assert len(kept) <= ports._MAX_RESERVED
