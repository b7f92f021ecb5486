"""Short requests to servers of this machine; proxies of the environment are not used."""

import http.client
import json
import secrets
import socket
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import grpc
from calotype.broker_users import inbox_prefix
from calotype.ops.v1 import operations_service_pb2 as ops
from calotype.ops.v1 import operations_service_pb2_grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

#: Timeout of a request.
SECONDS = 1.0


def http_response(url: str, *, token: str = "", seconds: float = SECONDS) -> tuple[int, bytes] | None:
    """Status and body of the response to a GET; None without a response. An empty token sends none."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=seconds)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request("GET", target, headers=headers)
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def http_ok(url: str) -> bool:
    """Whether the response to a GET has status 200."""
    response = http_response(url)
    return response is not None and response[0] == http.client.OK


def grpc_ok(address: str) -> bool:
    """Whether a gRPC server reports that it is ready."""
    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        try:
            response = stub.Check(health_pb2.HealthCheckRequest(), timeout=SECONDS)
        except grpc.RpcError:
            return False
        return bool(response.status == health_pb2.HealthCheckResponse.SERVING)


def grpc_conditions(address: str, token: str) -> list[str] | None:
    """What keeps a process from its work, as `NAME: MESSAGE`, by OperationsService; None without a response.

    These are conditions of readiness that do not hold, and a drain. The token is that of an operator.
    """
    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        stub = operations_service_pb2_grpc.OperationsServiceStub(channel)
        try:
            metadata = (("authorization", f"Bearer {token}"),)
            response = stub.GetStatus(ops.GetStatusRequest(), metadata=metadata, timeout=SECONDS)
        except grpc.RpcError:
            return None
        conditions = [{"name": one.name, "ok": one.ok, "message": one.message} for one in response.conditions]
        drained = ["drained: it claims nothing until it is restarted"] if response.draining else []
        return _not_holding(conditions) + drained


def http_conditions(url: str) -> list[str] | None:
    """The conditions of readiness that do not hold, by `/readyz` of a gateway; None without a usable response."""
    response = http_response(f"{url}/readyz")
    try:
        return None if response is None else _not_holding(json.loads(response[1])["conditions"])
    except (ValueError, LookupError, TypeError):
        return None


def _not_holding(conditions: Sequence[Mapping[str, Any]]) -> list[str]:
    """Name and message of each condition that does not hold."""
    return [f"{one['name']}: {one['message']}" for one in conditions if not one["ok"]]


def nats_response(url: str, subject: str, *, seconds: float = SECONDS) -> bytes | None:
    """The response to an empty request over NATS, by the user in the URL; None without one, or when it is refused."""
    parts = urlsplit(url)
    connect = {"user": parts.username, "pass": parts.password, "verbose": False, "lang": "python", "version": "0"}
    inbox = f"{inbox_prefix(parts.username or '')}.{secrets.token_hex(8)}"
    try:
        with (
            socket.create_connection((parts.hostname, parts.port), timeout=seconds) as connection,
            connection.makefile("rwb") as stream,
        ):
            stream.write(f"CONNECT {json.dumps(connect)}\r\nSUB {inbox} 1\r\nPUB {subject} {inbox} 0\r\n\r\n".encode())
            stream.flush()
            for line in stream:
                if line.startswith(b"MSG "):
                    return stream.read(int(line.split()[-1]))
                if line.startswith(b"-ERR"):
                    return None
    except (OSError, ValueError):
        # No server, a frozen server, or another protocol.
        return None
    return None
