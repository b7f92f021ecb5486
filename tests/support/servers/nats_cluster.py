"""Three NATS servers that are one cluster, with the accounts and users of the single one."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from cli.stack.child import Program
from cli.stack.ports import Ports
from cli.stack.probes import http_ok, http_response
from tests.support.servers.embedded_servers import nats_program

NAMES = ("nats-1", "nats-2", "nats-3")
#: Appended to the configuration of a single server. Clients learn of no other servers than those that they are told.
CONFIGURATION = """
server_name: {name}
http: "127.0.0.1:{monitor}"
cluster {{
  name: calotype
  listen: "127.0.0.1:{port}"
  no_advertise: true
  authorization {{user: peer, password: of_peers}}
  routes: [{routes}]
}}
"""


def nats_cluster(folder: Path, clients: Mapping[str, int], ports: Ports) -> Mapping[str, tuple[Program, str]]:
    """Each server's program and operator's URL by its name, with its data below the folder.

    `clients` are the ports for clients, by `NAMES`; others are taken from `ports`.
    """
    peers = {name: ports.assign(f"peer {name}") for name in NAMES}
    routes = ", ".join(f'"nats://peer:of_peers@127.0.0.1:{port}"' for port in peers.values())
    found = {}
    for name in NAMES:
        data, monitor = folder / name, ports.assign(f"monitor {name}")
        log = folder / "logs" / f"{name}.log"
        program, url = nats_program(data, log=log, port=clients[name])
        text = CONFIGURATION.format(name=name, monitor=monitor, port=peers[name], routes=routes)
        with (data / "nats.conf").open("a", encoding="utf-8") as file:
            file.write(text)
        found[name] = (_in_cluster(program, name, f"http://127.0.0.1:{monitor}/healthz"), url)
    return found


def _in_cluster(program: Program, name: str, health: str) -> Program:
    """Ready once it has what the others have; unwell only where a new start is what it needs, as after a full disk."""
    return replace(program, name=name, is_ready=lambda: http_ok(health), is_well=lambda: _is_well(health))


def _is_well(health: str) -> bool | None:
    """One that lags behind mends itself; one that could not write does not, see "A full disk" in docs/operations.md."""
    response = http_response(health)
    return None if response is None else b"write error" not in response[1]
