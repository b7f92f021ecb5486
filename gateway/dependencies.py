"""What routes depend on: the gateway's objects, the principal of a request, and JSON responses."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from typing import Annotated, TypeVar

from calotype.error_reasons import Reason
from fastapi import Depends, Path, Request, Response
from pydantic import BaseModel
from starlette.datastructures import URL

from common.health import Readiness
from gateway.auth import audit
from gateway.auth.authenticator import Authenticator
from gateway.auth.keyring import Principal
from gateway.auth.keys_file import TENANT_NAME
from gateway.http.metrics import Metrics
from gateway.job_service import quotas
from gateway.job_service.job_client import JobServiceClient
from gateway.job_service.notifier_client import NotifierClient
from gateway.job_service.operator_client import OperatorClient
from gateway.job_service.tenants import TenantRegistrar
from gateway.openai_images.public_images import PublicImageReader
from gateway.problems.problem import Problem
from gateway.requests.body_reader import BodyReader
from gateway.schemas.client_tokens import TokenAction
from gateway.streams.follow import StreamTimeouts
from gateway.streams.sse import Streams
from gateway.views import locales
from gateway.views.job import Renderer
from gateway.views.progress import ProgressBars
from gateway.web.policy import page_headers
from gateway.web.static_files import StaticFiles, own_files

T = TypeVar("T")
_ID = re.compile(r"[A-Za-z0-9_-]{1,80}")
#: Bytes. Bodies up to this size are parsed in the event loop; larger ones in a thread, one at a time.
SMALL_BODY = 256 * 1024


@dataclass(frozen=True, kw_only=True)
class Dependencies:
    """The objects that all requests share."""

    jobs: JobServiceClient
    """Calls job-service for tenants."""
    operator: OperatorClient
    """Calls job-service for operators."""
    webhooks: NotifierClient
    """Calls the notifier for tenants."""
    tenants: TenantRegistrar
    """Sends the tenants' limits to job-service."""
    authenticator: Authenticator
    """Finds the principal of a request."""
    ready: Readiness
    """Conditions that `/readyz` reports."""
    draining: asyncio.Event
    """Set when the gateway begins to stop; streams and waiting requests then end."""
    board_url: str | None = None
    """Address of the dashboard of a job, with `{job_id}` or `{trace_id}` in it; None without one."""
    trace_url: str | None = None
    """Address of a trace with `{trace_id}` for its id; None: jobs have no such link."""
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    """Returns the time in UTC."""
    timeouts: StreamTimeouts = field(default_factory=StreamTimeouts)
    """Time limits of streams and of waiting requests."""
    bodies: BodyReader = field(default_factory=BodyReader)
    """Reads request bodies within a memory limit."""
    streams: Streams = field(default_factory=Streams)
    """Counts open streams."""
    bars: ProgressBars = field(default_factory=ProgressBars)
    """Positions of the progress bars of running jobs."""
    images: PublicImageReader = field(default_factory=PublicImageReader)
    """Downloads images for base64 responses."""
    static_files: StaticFiles = field(default_factory=own_files)
    """Files of the pages for people."""
    page_headers: Mapping[str, str] = field(default_factory=lambda: page_headers(None))
    """Security headers of these pages."""
    _parsing: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while a large body is parsed in a thread."""

    @cached_property
    def metrics(self) -> Metrics:
        """The metrics of these objects."""
        return Metrics(streams=self.streams, bodies=self.bodies, images=self.images, limiter=self.jobs.limiter)

    async def parse(self, parser: Callable[[bytes], T], raw: bytes) -> T:
        """Returns `parser(raw)`; runs it in a thread for a large body, so that it does not block other requests."""
        if len(raw) <= SMALL_BODY:
            return parser(raw)
        async with self._parsing:
            return await asyncio.to_thread(parser, raw)

    def renderer(self, request: Request, principal: Principal) -> Renderer:
        """Returns the converter from jobs to views for this client and this time."""
        return Renderer(
            root=root_of(request),
            now=self.clock(),
            grant=principal.grant,
            locale=locales.locale_of(request),
            trace_url=self.trace_url,
            bars=self.bars,
        )


def root_of(request: Request) -> str:
    """Returns the scheme and host that the client used, for links.

    TLS often ends at a proxy, so its X-Forwarded-Proto header is trusted for the scheme; only links depend on it.
    """
    forwarded = request.headers.get("x-forwarded-proto", "").partition(",")[0].strip().lower()
    scope = request.scope
    scheme, server = scope.get("scheme", "http"), scope.get("server")
    return _root(
        scheme,
        forwarded if forwarded in ("http", "https") else scheme,
        request.headers.get("host"),
        None if server is None else tuple(server),
        scope.get("app_root_path", scope.get("root_path", "")),
    )


@lru_cache(256)
def _root(
    scheme: str, link_scheme: str, host: str | None, server: tuple[str, int | None] | None, root_path: str
) -> str:
    headers = [] if host is None else [(b"host", host.encode("latin-1"))]
    path = root_path if root_path.endswith("/") else f"{root_path}/"
    url = URL(scope={"scheme": scheme, "server": server, "path": path, "query_string": b"", "headers": headers})
    return str(url.replace(scheme=link_scheme)).rstrip("/")


async def _deps(request: Request) -> Dependencies:
    deps: Dependencies = request.app.state.deps
    return deps


DependenciesOf = Annotated[Dependencies, Depends(_deps)]


async def _submitter(request: Request, deps: DependenciesOf) -> Principal:
    principal = await deps.authenticator.principal(request)
    if principal.grant is not None:
        raise _denied("A client token gives access to its own job only. Send an API key.")
    return principal


#: A principal with a key whose request is not counted yet: job-service counts it once it knows the Idempotency-Key.
SubmitterOf = Annotated[Principal, Depends(_submitter)]


async def _principal(request: Request, deps: DependenciesOf, principal: SubmitterOf) -> Principal:
    await quotas.count_request(deps.jobs, principal, request.scope)
    return principal


def _denied(detail: str) -> Problem:
    return Problem(reason=Reason.PERMISSION_DENIED, detail=detail)


#: A principal with a key, whose request has been counted against the rate limit.
PrincipalOf = Annotated[Principal, Depends(_principal)]


async def _operator(principal: PrincipalOf) -> Principal:
    if principal.role != "operator":
        raise _denied("This call requires the key of an operator.")
    return principal


#: A principal with the key of an operator.
OperatorOf = Annotated[Principal, Depends(_operator)]


def job_id_of(job_id: str) -> str:
    """Returns the job id if its format is valid. Raises `Problem` JOB_NOT_FOUND."""
    if not _ID.fullmatch(job_id):
        raise _job_not_found()
    return job_id


def _job_not_found() -> Problem:
    return Problem(reason=Reason.JOB_NOT_FOUND, detail="There is no job with this id, or it belongs to another tenant.")


async def _job_id(job_id: str) -> str:
    return job_id_of(job_id)


JobId = Annotated[str, Depends(_job_id)]


async def _webhook_id(webhook_id: str) -> str:
    if not _ID.fullmatch(webhook_id):
        raise not_found("webhook")
    return webhook_id


async def _delivery_id(delivery_id: str) -> str:
    if not _ID.fullmatch(delivery_id):
        raise not_found("delivery")
    return delivery_id


def not_found(kind: str) -> Problem:
    """Returns the problem of an unknown id, or another tenant's; `kind` says what it would be the id of."""
    return Problem(reason=Reason.NOT_FOUND, detail=f"There is no {kind} with this id, or it belongs to another tenant.")


WebhookId = Annotated[str, Depends(_webhook_id)]
DeliveryId = Annotated[str, Depends(_delivery_id)]
TenantName = Annotated[str, Path(pattern=rf"^{TENANT_NAME.pattern}$", description="Name of the tenant.")]


def require_job_access(
    action: TokenAction, *, token_in_address: bool = False
) -> Callable[[Request, Dependencies, str], Awaitable[Principal]]:
    """Returns a dependency that requires a key, or a client token for this job and action.

    Counts the request, except a retry, which job-service counts.
    """

    async def check(request: Request, deps: DependenciesOf, job_id: JobId) -> Principal:
        principal = await deps.authenticator.principal(request, token_in_address=token_in_address)
        if principal.grant is not None and principal.grant.job_id != job_id:
            audit.note_hidden(request.scope)
            raise _job_not_found()
        if principal.grant is not None and action not in principal.grant.actions:
            raise _denied(f"The client token does not include the action `{action}`.")
        if action != "retry":
            await quotas.count_request(deps.jobs, principal, request.scope)
        return principal

    return check


#: A principal that may read the job of the path.
ReaderOf = Annotated[Principal, Depends(require_job_access("read"))]


def json_response(view: BaseModel, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Returns a JSON response."""
    return Response(view.model_dump_json(), status_code=status, headers=headers, media_type="application/json")
