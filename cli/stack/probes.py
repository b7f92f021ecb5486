"""Short requests to servers of this machine; proxies of the environment are not used."""

import http.client
import json
import secrets
import socket
from urllib.parse import urlsplit

import grpc
from calotype.broker_users import inbox_prefix
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
