"""Submits a job, for every API that creates jobs."""

import hashlib

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
    try:
        created = await jobs.create(
            principal.tenant,
            job_request,
            # Hashed, as the scope and a long key together would exceed the length of a key.
            key=f"{scope}:{hashlib.sha256(key.encode()).hexdigest()}" if scope else key,
            fingerprint=fingerprint,
            quota=quotas.quota_of(principal),
            join_within_seconds=join_within_seconds,
        )
    except Problem as problem:
        quotas.note_refusal(request.scope, problem)
        if problem.reason == Reason.SERVICE_UNAVAILABLE:
            # The job may exist all the same: repeating the request with this key cannot create another.
            problem.headers = {**problem.headers, IDEMPOTENCY_KEY: f'"{_quoted(key)}"'}
        raise
    if created.HasField("rate"):
        quotas.note_rate(request.scope, created.rate)
    return created


def _quoted(key: str) -> str:
    return key.replace("\\", r"\\").replace('"', r"\"")
