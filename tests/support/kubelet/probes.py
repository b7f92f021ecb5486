"""Probes of containers, as kubelet sends them: over HTTP, TCP, or a command inside of the container."""

import http.client
import socket
import subprocess
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

#: Seconds that a response may take at least: one probe's timeout is a measure of this machine.
_LEAST_TIMEOUT = 10.0


def succeeds(
    probe: Mapping[str, Any], *, port_of: Callable[[int | str], int], run: Callable[[list[str], float], int]
) -> bool:
    """Whether one probe succeeds.

    `port_of` returns the port of this machine for a number or name; `run` returns the exit code of a command that may
    take as many seconds.
    """
    timeout = max(_LEAST_TIMEOUT, probe.get("timeoutSeconds", 1))
    if "exec" in probe:
        try:
            return run(probe["exec"]["command"], timeout) == 0
        except subprocess.TimeoutExpired:
            return False
    for kind, check in (("httpGet", _http_responds), ("tcpSocket", _connects)):
        if kind in probe:
            return check(probe[kind], port_of(probe[kind]["port"]), timeout)
    raise LookupError(f"no kind of probe that is known: {sorted(probe)}")


def _http_responds(probe: Mapping[str, Any], port: int, timeout: float) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    headers = {one["name"]: one["value"] for one in probe.get("httpHeaders", ())}
    try:
        connection.request("GET", probe.get("path", "/"), headers=headers)
        return HTTPStatus.OK <= connection.getresponse().status < HTTPStatus.BAD_REQUEST
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _connects(_: Mapping[str, Any], port: int, timeout: float) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=timeout).close()
    except OSError:
        return False
    return True
