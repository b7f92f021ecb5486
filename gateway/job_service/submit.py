"""Submits jobs, for every API that creates them."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from calotype.error_reasons import Reason
from calotype.job.v1 import job_pb2, job_service_pb2
from fastapi import Request

from gateway.auth.keyring import Principal
from gateway.job_service import quotas
from gateway.job_service.job_client import JobServiceClient
from gateway.job_service.tenants import TenantRegistrar
from gateway.problems.problem import Problem
from gateway.requests.headers import IDEMPOTENCY_KEY


async def submit(
    request: Request,
    jobs: JobServiceClient,
    tenants: TenantRegistrar,
    principal: Principal,
    job_request: job_pb2.JobRequest,
    *,
    key: str,
    scope: str = "",
    fingerprint: str,
    join_within_seconds: int | None = None,
) -> job_service_pb2.CreateJobResponse:
    """Returns the new job, or the existing one of an earlier request with this key.

    `key` is the client's Idempotency-Key or one that the gateway made; keys of different `scope` never match.
    Raises `Problem`; when job-service did not respond, its headers name the key with which a repetition is safe.
    """
    await tenants.ensure(principal)
    with _key_named(request, key):
        created = await jobs.create(
            principal.tenant,
            job_request,
            # Hashed, as the scope and a long key together would exceed the length of a key.
            key=f"{scope}:{hashlib.sha256(key.encode()).hexdigest()}" if scope else key,
            fingerprint=fingerprint,
            quota=quotas.quota_of(principal),
            join_within_seconds=join_within_seconds,
        )
    if created.HasField("rate"):
        quotas.note_rate(request.scope, created.rate)
    return created


async def submit_batch(
    request: Request,
    jobs: JobServiceClient,
    tenants: TenantRegistrar,
    principal: Principal,
    items: Mapping[int, job_service_pb2.CreateJobsItem],
    *,
    key: str,
) -> dict[int, job_service_pb2.CreateJobsResult]:
    """Returns the result of each item by its position in the client's batch.

    An item without a key gets one that is derived from `key`, the request's, and its position. Raises `Problem` as
    `submit` does.
    """
    if not items:
        return {}
    await tenants.ensure(principal)
    digest = hashlib.sha256(key.encode()).hexdigest()
    for position, item in items.items():
        item.idempotency_key = item.idempotency_key or f"batch:{digest}:{position}"
    with _key_named(request, key):
        created = await jobs.create_batch(principal.tenant, [*items.values()], quota=quotas.quota_of(principal))
    if created.HasField("rate"):
        quotas.note_rate(request.scope, created.rate)
    return dict(zip(items, created.results, strict=True))


@contextmanager
def _key_named(request: Request, key: str) -> Iterator[None]:
    """Names the key in the headers of a `Problem` when job-service did not respond."""
    try:
        yield
    except Problem as problem:
        quotas.note_refusal(request.scope, problem)
        if problem.reason == Reason.SERVICE_UNAVAILABLE:
            # The job may exist all the same: repeating the request with this key cannot create another.
            problem.headers = {**problem.headers, IDEMPOTENCY_KEY: f'"{_quoted(key)}"'}
        raise


def _quoted(key: str) -> str:
    return key.replace("\\", r"\\").replace('"', r"\"")
