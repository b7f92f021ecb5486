"""A client's request on its way to the generator: through every hop that gives it another form, without servers."""

import json
from collections.abc import Mapping
from typing import Any

from calotype.job.v1 import job_pb2, worker_service_pb2

from gateway.requests import strict_json
from gateway.requests import to_protobuf as from_clients
from gateway.schemas.requests import CreateJob
from services.generator.adapters import grpc_job_service
from services.generator.domain.jobs import Request
from services.job.domain.requests import JobRequest
from services.job.messages import from_protobuf, to_protobuf
from services.job.store import rows


def as_generator_sees(body: Mapping[str, Any]) -> Request:
    """The body of `POST /v1/jobs`, as the adapters get it: gateway, job-service, its table, and the claim between."""
    checked = CreateJob.model_validate(strict_json.parse(json.dumps(body).encode()))
    message = job_pb2.JobRequest.FromString(from_clients.job_request(checked).SerializeToString())
    row = rows.as_json(rows.to_json(from_protobuf.request(message)))
    claimed = worker_service_pb2.ClaimedJob()
    claimed.job.request.CopyFrom(to_protobuf.request(rows.from_json(JobRequest, json.loads(row))))
    return grpc_job_service.claimed_job(worker_service_pb2.ClaimedJob.FromString(claimed.SerializeToString())).request
