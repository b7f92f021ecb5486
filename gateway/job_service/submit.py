"""Submitting a job, whatever the shape of the call that asks for it."""

import hashlib

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
    wanted: job_pb2.JobRequest,
    *,
    key: str,
    scope: str = "",
    fingerprint: str,
    join_within_seconds: int | None = None,
) -> job_service_pb2.CreateJobResponse:
    """The job, new or found; `key` is the client's or made for it, `scope` keeps the keys of a call apart.

    Raises `Problem`; the one of a job-service that did not answer names the key to ask again with.
    """
    await tenants.ensure(principal)
    try:
        created = await jobs.create(
            principal.tenant,
            wanted,
            # The key is the call's own; hashed, as there would be no room for both beside a long one.
            key=f"{scope}:{hashlib.sha256(key.encode()).hexdigest()}" if scope else key,
            fingerprint=fingerprint,
            quota=quotas.quota_of(principal),
            join_within_seconds=join_within_seconds,
        )
    except Problem as problem:
        quotas.note_refusal(request.scope, problem)
        if problem.reason == "SERVICE_UNAVAILABLE":
            # The job may be written down all the same: with this key, asking again is safe.
            problem.headers = {**problem.headers, IDEMPOTENCY_KEY: f'"{_quoted(key)}"'}
        raise
    if created.HasField("rate"):
        quotas.note(request.scope, created.rate)
    return created


def _quoted(key: str) -> str:
    return key.replace("\\", r"\\").replace('"', r"\"")
