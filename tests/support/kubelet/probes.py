"""Probes of containers, as kubelet sends them: over HTTP, gRPC, TCP, or a command inside of the container."""

import http.client
import socket
import subprocess
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

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
    for kind, check in (("grpc", _grpc_serves), ("httpGet", _http_responds), ("tcpSocket", _connects)):
        if kind in probe:
            return check(probe[kind], port_of(probe[kind]["port"]), timeout)
    raise LookupError(f"no kind of probe that is known: {sorted(probe)}")


def _grpc_serves(probe: Mapping[str, Any], port: int, timeout: float) -> bool:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        request = health_pb2.HealthCheckRequest(service=probe.get("service", ""))
        try:
            response = health_pb2_grpc.HealthStub(channel).Check(request, timeout=timeout)
        except grpc.RpcError:
            return False
    return bool(response.status == health_pb2.HealthCheckResponse.SERVING)


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
