"""Splits many requests into batches of `CreateJobs`, and reads their results."""

from collections.abc import Iterable, Iterator

from calotype.client.call_policy import job_request, new_key
from calotype.client.errors import CalotypeError, from_refusal
from calotype.job.v1 import job_pb2, job_service_pb2
from calotype.size_limits import MAX_BATCH_BYTES, MAX_BATCH_JOBS


def batches(
    tenant: str, requests: Iterable[job_pb2.JobRequest | str], keys: Iterable[str] | None
) -> Iterator[job_service_pb2.CreateJobsRequest]:
    """Yields messages of up to 100 items, as few as their sizes allow; an item without a key gets a new one.

    Raises `ValueError` unless there is a key for each request.
    """
    wanted = [job_request(request) for request in requests]
    named = [new_key() for _ in wanted] if keys is None else [key or new_key() for key in keys]
    if len(named) != len(wanted):
        raise ValueError(f"idempotency_keys: {len(named)} keys for {len(wanted)} requests.")
    batch, size = job_service_pb2.CreateJobsRequest(tenant=tenant), 0
    for request, key in zip(wanted, named, strict=True):
        item = job_service_pb2.CreateJobsItem(idempotency_key=key, request=request)
        if batch.items and (len(batch.items) == MAX_BATCH_JOBS or size + item.ByteSize() > MAX_BATCH_BYTES):
            yield batch
            batch, size = job_service_pb2.CreateJobsRequest(tenant=tenant), 0
        batch.items.append(item)
        size += item.ByteSize()
    if batch.items:
        yield batch


def results(response: job_service_pb2.CreateJobsResponse) -> Iterator[job_pb2.Job | CalotypeError]:
    """Yields the job of each item, or the error why it has none."""
    for result in response.results:
        yield result.job if result.WhichOneof("outcome") == "job" else from_refusal(result.refusal)
