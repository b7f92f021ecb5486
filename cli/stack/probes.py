"""Short questions to servers of this machine; a proxy that the caller uses for the world is not asked."""

import http.client
from urllib.parse import urlsplit

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

SECONDS = 1.0


def http_answer(url: str, *, token: str = "", seconds: float = SECONDS) -> tuple[int, bytes] | None:
    """Status and body of the answer to a GET, with a bearer token or none; None when there is no answer."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=seconds)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request("GET", target, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def http_ok(url: str) -> bool:
    """Whether a GET is answered with 200."""
    answer = http_answer(url)
    return answer is not None and answer[0] == http.client.OK


def grpc_ok(address: str) -> bool:
    """Whether a gRPC server says that it is ready."""
    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        try:
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=SECONDS)
        except grpc.RpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
