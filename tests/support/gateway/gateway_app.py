"""The gateway in front of a job-service: as an application in this process, or behind a real HTTP server."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx
from calotype.provider.v1 import provider_pb2
from fastapi import FastAPI

from common.grpc_client import channel
from common.health import Readiness
from gateway.app import create_app
from gateway.auth.authenticator import Authenticator
from gateway.auth.free_use import FreeUse
from gateway.dependencies import Dependencies
from gateway.http import server
from gateway.http.connection import HttpConnection
from gateway.job_service import readiness
from gateway.job_service.job_client import JobServiceClient
from gateway.job_service.notifier_client import NotifierClient
from gateway.job_service.operator_client import OperatorClient
from gateway.job_service.tenants import TenantRegistrar
from tests.support.job_service.fake_job_service import NOON
from tests.support.patience import PATIENCE

LARGEST = 48 * 1024 * 1024


@dataclass
class Clock:
    """A clock that does not advance."""

    now: datetime = NOON

    def __call__(self) -> datetime:
        """The time."""
        return self.now


def free_use(*providers: provider_pb2.Provider) -> FreeUse:
    """Returns the free use of these providers, by default of one that is free; makes no calls."""

    async def catalogue() -> Sequence[provider_pb2.Provider]:
        return providers or (provider(),)

    return FreeUse(catalogue)


def provider(kind: str = "procedural", *, free: bool = True, **fields: Any) -> provider_pb2.Provider:
    """A provider of the catalogue."""
    able = provider_pb2.Capabilities(free=free)
    return provider_pb2.Provider(name="drawn", kind=kind, capabilities=able, **fields)


@asynccontextmanager
async def assembled(
    address: str, *, notifier: str = "127.0.0.1:1", **parts: Any
) -> AsyncIterator[tuple[FastAPI, Dependencies]]:
    """Yields the application and its dependencies, some of which may be passed in; by default there is no notifier.

    Its calls to job-service have more time than in production: a busy machine is not an outage.
    """
    async with channel(address, max_message_bytes=LARGEST) as opened, channel(notifier) as to_notifier:
        chosen: dict[str, Any] = {
            "jobs": JobServiceClient(opened, call_seconds=PATIENCE),
            "operator": OperatorClient(opened, call_seconds=PATIENCE),
            "webhooks": NotifierClient(to_notifier, call_seconds=PATIENCE, test_seconds=PATIENCE),
            "authenticator": Authenticator(None, free_use=free_use()),
            "ready": Readiness(readiness.NAME),
            "draining": asyncio.Event(),
            "clock": Clock(),
            **parts,
        }
        chosen.setdefault("tenants", TenantRegistrar(chosen["operator"], lambda: chosen["authenticator"].keyring))
        made = Dependencies(**chosen)
        try:
            yield create_app(made), made
        finally:
            await made.images.close()


@asynccontextmanager
async def in_process(
    app: FastAPI, *, client: str = "127.0.0.1", host: str = "127.0.0.1:8080"
) -> AsyncIterator[httpx.AsyncClient]:
    """A client that calls the application without a network, as if from that address."""
    transport = httpx.ASGITransport(app, client=(client, 50_000))
    async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}", timeout=PATIENCE) as opened:
        yield opened


@asynccontextmanager
async def over_http(
    app: FastAPI, parts: Dependencies, *, protocol: type[HttpConnection] = HttpConnection
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the application behind a real server, which drains when the block ends."""
    opened = server.bind("127.0.0.1:0")
    url = f"http://127.0.0.1:{opened.getsockname()[1]}"
    async with httpx.AsyncClient(base_url=url, timeout=PATIENCE, trust_env=False) as client:
        serving = asyncio.create_task(server.serve(app, opened, stop=parts.draining, protocol=protocol))
        try:
            yield client
        finally:
            parts.draining.set()
            await serving
