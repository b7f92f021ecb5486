"""The client for threads."""

import time
from collections.abc import Callable, Iterator
from typing import Any, Self, TypeVar

import grpc

from calotype.client import calling
from calotype.client.errors import JobNotFound, read
from calotype.job.v1 import job_pb2, job_service_pb2, job_service_pb2_grpc
from calotype.provider.v1 import provider_pb2

T = TypeVar("T")


class JobClient:
    """Jobs of one tenant. May be shared by threads; every method raises `CalotypeError`.

    `target` is `host:port` or a channel of your own, which stays yours to close. `credentials` are for TLS; without
    them the connection is in the clear. What may come twice is asked again while the service is away.
    """

    def __init__(
        self,
        target: str | grpc.Channel,
        *,
        tenant: str,
        token: str | None = None,
        credentials: grpc.ChannelCredentials | None = None,
    ) -> None:
        self._channel = _open(target, credentials) if isinstance(target, str) else target
        self._is_own = isinstance(target, str)
        self._identity = calling.Identity(tenant=tenant, token=token)
        self._stub = job_service_pb2_grpc.JobServiceStub(self._channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connection."""
        if self._is_own:
            self._channel.close()

    def create(self, request: job_pb2.JobRequest | str, *, idempotency_key: str | None = None) -> job_pb2.Job:
        """Submit a job. With a key of your own it is one job however often, from wherever, you ask for it."""
        asked = job_service_pb2.CreateJobRequest(
            tenant=self._identity.tenant,
            idempotency_key=idempotency_key or calling.new_key(),
            request=calling.wanted(request),
        )
        return self._ask(self._stub.CreateJob, asked).job

    def get(self, job_id: str) -> job_pb2.Job:
        """A job as it is now."""
        asked = job_service_pb2.GetJobRequest(tenant=self._identity.tenant, job_id=job_id)
        return self._ask(self._stub.GetJob, asked).job

    def jobs(self, filters: job_service_pb2.ListJobsRequest | None = None) -> Iterator[job_pb2.Job]:
        """All jobs that pass the filters, newest first; pages are fetched as they are needed."""
        asked = job_service_pb2.ListJobsRequest()
        asked.MergeFrom(filters or job_service_pb2.ListJobsRequest())
        asked.tenant = self._identity.tenant
        while True:
            page = self._ask(self._stub.ListJobs, asked)
            yield from page.jobs
            if not page.next_page_token:
                return
            asked.page_token = page.next_page_token

    def cancel(self, job_id: str) -> job_pb2.Job:
        """End a job. Raises `WrongState` when it has ended otherwise."""
        asked = job_service_pb2.CancelJobRequest(tenant=self._identity.tenant, job_id=job_id)
        return self._ask(self._stub.CancelJob, asked).job

    def retry(
        self,
        job_id: str,
        *,
        may_charge_again: bool = False,
        expected_sequence: int | None = None,
        idempotency_key: str | None = None,
    ) -> job_pb2.Job:
        """Put a failed job back. Raises `WrongState`, or `ConsentRequired` unless it `may_charge_again`."""
        asked = job_service_pb2.RetryJobRequest(
            tenant=self._identity.tenant,
            job_id=job_id,
            idempotency_key=idempotency_key or calling.new_key(),
            on_ambiguous=job_pb2.ON_AMBIGUOUS_RETRY if may_charge_again else job_pb2.ON_AMBIGUOUS_UNSPECIFIED,
            expected_sequence=expected_sequence,
        )
        return self._ask(self._stub.RetryJob, asked).job

    def delete(self, job_id: str) -> None:
        """Delete a final job with its pictures. Raises `WrongState` unless it is final."""
        asked = job_service_pb2.DeleteJobRequest(tenant=self._identity.tenant, job_id=job_id)
        try:
            self._ask(self._stub.DeleteJob, asked)
        except JobNotFound as error:
            # A repeated request whose first answer was lost finds it done.
            if error.attempts == 1:
                raise

    def attempts(self, job_id: str) -> list[job_pb2.Attempt]:
        """Every claim of a job with its provider calls, oldest first."""
        asked = job_service_pb2.ListAttemptsRequest(tenant=self._identity.tenant, job_id=job_id)
        return [*self._ask(self._stub.ListAttempts, asked).attempts]

    def providers(self) -> list[provider_pb2.Provider]:
        """The catalogue, by name."""
        return [*self._ask(self._stub.ListProviders, job_service_pb2.ListProvidersRequest()).providers]

    def watch(self, job_id: str, *, after: int | None = None, timeout: float | None = None) -> Iterator[calling.Update]:
        """Every change of a job, each once and in order, and signs of progress; ends after the final change.

        A service that goes away is waited for, and nothing is missed by that. `after` is the last sequence that is
        known already. Raises `DeadlineExceeded` after `timeout` seconds.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        pauses = calling.endless_pauses()
        while True:
            asked = job_service_pb2.WatchJobRequest(tenant=self._identity.tenant, job_id=job_id, after_sequence=after)
            left = None if deadline is None else max(deadline - time.monotonic(), 0.0)
            stream = self._stub.WatchJob(asked, timeout=left, metadata=self._identity.metadata)
            try:
                for response in stream:
                    update = calling.update_of(response)
                    if isinstance(update, job_pb2.Job):
                        after, pauses = update.sequence, calling.endless_pauses()
                    yield update
            except grpc.RpcError as error:
                refusal = read(error)
                if not calling.may_repeat(refusal):
                    raise refusal from error
            else:
                return
            finally:
                stream.cancel()
            pause = next(pauses)
            if timeout is not None and deadline is not None and time.monotonic() + pause >= deadline:
                raise calling.too_late(job_id, timeout)
            time.sleep(pause)

    def wait(self, job_id: str, *, timeout: float | None = None) -> job_pb2.Job:
        """The job once it is final. Raises `DeadlineExceeded` after `timeout` seconds; the job goes on."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while not calling.is_over(job := self.get(job_id)):
            left = None if deadline is None else deadline - time.monotonic()
            if timeout is not None and left is not None and left <= 0:
                raise calling.too_late(job_id, timeout)
            for _ in self.watch(job_id, after=job.sequence, timeout=left):
                pass
        return job

    def _ask(self, method: Callable[..., T], request: Any) -> T:
        """Ask, and again while the service is away."""
        for attempt, pause in enumerate([*calling.pauses(), None], start=1):
            try:
                return method(request, timeout=calling.CALL_SECONDS, metadata=self._identity.metadata)
            except grpc.RpcError as error:
                refusal = read(error, attempts=attempt)
                if pause is None or not calling.may_repeat(refusal):
                    raise refusal from error
            time.sleep(max(pause, min(refusal.retry_after_seconds or 0.0, calling.LONGEST_PAUSE)))
        raise AssertionError("the last attempt returns or raises")


def _open(address: str, credentials: grpc.ChannelCredentials | None) -> grpc.Channel:
    if credentials is None:
        return grpc.insecure_channel(address, options=calling.CHANNEL_OPTIONS)
    return grpc.secure_channel(address, credentials, options=calling.CHANNEL_OPTIONS)
