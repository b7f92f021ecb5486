"""What every route has at hand."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Annotated, TypeVar

from fastapi import Depends, Request, Response
from pydantic import BaseModel

from common.health import Readiness
from gateway.auth import audit
from gateway.auth.authenticator import Authenticator
from gateway.auth.keyring import Principal
from gateway.http.metrics import Metrics
from gateway.job_service import quotas
from gateway.job_service.job_client import JobServiceClient
from gateway.job_service.operator_client import OperatorClient
from gateway.job_service.tenants import TenantRegistrar
from gateway.openai_images.pictures import PictureReader
from gateway.problems.problem import Problem
from gateway.requests.body_reader import BodyReader
from gateway.schemas.client_tokens import TokenAction
from gateway.streams.follow import StreamTimeouts
from gateway.streams.sse import Streams
from gateway.views import locales
from gateway.views.job import Renderer

T = TypeVar("T")
_JOB_ID = re.compile(r"[A-Za-z0-9_-]{1,80}")
#: Bodies up to this size are read between two breaths of the loop; larger ones in a thread, one at a time.
SMALL_BODY = 256 * 1024


@dataclass(frozen=True, kw_only=True)
class Dependencies:
    """The gateway's parts; `draining` is set when it is about to stop."""

    jobs: JobServiceClient
    operator: OperatorClient
    tenants: TenantRegistrar
    authenticator: Authenticator
    ready: Readiness
    draining: asyncio.Event
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    timeouts: StreamTimeouts = field(default_factory=StreamTimeouts)
    bodies: BodyReader = field(default_factory=BodyReader)
    streams: Streams = field(default_factory=Streams)
    pictures: PictureReader = field(default_factory=PictureReader)
    _thread: asyncio.Lock = field(default_factory=asyncio.Lock)

    @cached_property
    def metrics(self) -> Metrics:
        """What whoever scrapes is told of these parts."""
        return Metrics(streams=self.streams, bodies=self.bodies, pictures=self.pictures, admission=self.jobs.admission)

    async def digest(self, work: Callable[[bytes], T], raw: bytes) -> T:
        """Do work on a body, away from the loop when it is a large one."""
        if len(raw) <= SMALL_BODY:
            return work(raw)
        async with self._thread:
            return await asyncio.to_thread(work, raw)

    def renderer(self, request: Request, principal: Principal) -> Renderer:
        """What renders for this client, now."""
        return Renderer(
            root=_root(request),
            now=self.clock(),
            grant=principal.grant,
            locale=locales.locale_of(request),
        )


def _root(request: Request) -> str:
    """The address that the client used. TLS often ends at a proxy, which tells of it; only links depend on it."""
    told = request.headers.get("x-forwarded-proto", "").partition(",")[0].strip().lower()
    scheme = told if told in ("http", "https") else request.url.scheme
    return str(request.base_url.replace(scheme=scheme)).rstrip("/")


async def _parts(request: Request) -> Dependencies:
    deps: Dependencies = request.app.state.deps
    return deps


DependenciesOf = Annotated[Dependencies, Depends(_parts)]


async def _submitter(request: Request, deps: DependenciesOf) -> Principal:
    principal = await deps.authenticator.principal(request)
    if principal.grant is not None:
        raise _denied("A client token is for its one job alone; this needs a key.")
    return principal


#: Whoever has a key, before the request is counted: job-service does that, once it knows the Idempotency-Key.
SubmitterOf = Annotated[Principal, Depends(_submitter)]


async def _principal(request: Request, deps: DependenciesOf, principal: SubmitterOf) -> Principal:
    await quotas.take_request(deps.jobs, principal, request.scope)
    return principal


def _denied(detail: str) -> Problem:
    return Problem(reason="PERMISSION_DENIED", detail=detail)


PrincipalOf = Annotated[Principal, Depends(_principal)]


async def _operator(principal: PrincipalOf) -> Principal:
    if principal.role != "operator":
        raise _denied("Only an operator's key may do this.")
    return principal


OperatorOf = Annotated[Principal, Depends(_operator)]


def job_id_of(job_id: str) -> str:
    """An id that can be one of a job. Raises `Problem` JOB_NOT_FOUND."""
    if not _JOB_ID.fullmatch(job_id):
        raise _no_such_job()
    return job_id


def _no_such_job() -> Problem:
    return Problem(reason="JOB_NOT_FOUND", detail="There is no such job.")


async def _job_id(job_id: str) -> str:
    return job_id_of(job_id)


JobId = Annotated[str, Depends(_job_id)]


def require_job_access(
    action: TokenAction, *, token_in_address: bool = False
) -> Callable[[Request, Dependencies, str], Awaitable[Principal]]:
    """Whoever has a key, or a client token for this job and action; to look and to cancel count as requests."""

    async def check(request: Request, deps: DependenciesOf, job_id: JobId) -> Principal:
        principal = await deps.authenticator.principal(request, token_in_address=token_in_address)
        if principal.grant is not None and principal.grant.job_id != job_id:
            audit.note_hidden(request.scope)
            raise _no_such_job()
        if principal.grant is not None and action not in principal.grant.actions:
            raise _denied(f"The client token does not allow to {action} the job.")
        if action != "retry":
            await quotas.take_request(deps.jobs, principal, request.scope)
        return principal

    return check


ReaderOf = Annotated[Principal, Depends(require_job_access("read"))]


def json_response(view: BaseModel, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A view as JSON."""
    return Response(view.model_dump_json(), status_code=status, headers=headers, media_type="application/json")
