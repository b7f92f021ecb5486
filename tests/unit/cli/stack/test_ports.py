"""Ports are free when taken, and the same ones again after a restart."""

import socket
from pathlib import Path

from cli.stack.ports import CANDIDATES, Ports, free_port, is_free


def test_a_port_that_somebody_listens_on_is_not_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert not is_free("127.0.0.1", server.getsockname()[1])


def test_free_ports_lie_below_those_of_outgoing_connections() -> None:
    # A client that knocks at a stopped server's port from such a port would connect to itself.
    assert free_port() in CANDIDATES
    assert CANDIDATES.stop <= 32_768


def test_names_keep_their_ports_over_a_restart(tmp_path: Path) -> None:
    ports = Ports(tmp_path / "ports.json")
    taken = {name: ports.assign(name) for name in ("storage", "nats")}
    ports.remember()

    again = Ports(tmp_path / "ports.json")

    assert {name: again.assign(name) for name in ("storage", "nats")} == taken
    assert taken["storage"] != taken["nats"]


def test_a_port_that_was_taken_meanwhile_is_replaced(tmp_path: Path) -> None:
    ports = Ports(tmp_path / "ports.json")
    before = ports.assign("storage")
    ports.remember()
    with socket.create_server(("127.0.0.1", before)):
        assert Ports(tmp_path / "ports.json").assign("storage") != before


def test_a_damaged_memory_is_no_obstacle(tmp_path: Path) -> None:
    for damaged in ("", "[1]", '{"storage": "x", "nats": 99999}', "\x00"):
        (tmp_path / "ports.json").write_text(damaged, encoding="utf-8")

        ports = Ports(tmp_path / "ports.json")

        assert {ports.assign("storage"), ports.assign("nats")} <= set(CANDIDATES)
