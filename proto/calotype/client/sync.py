"""The client for threads."""

import time
from collections.abc import Callable, Iterator
from typing import Any, Self, TypeVar

import grpc

from calotype.client import calling
from calotype.client.errors import JobNotFound, read
from calotype.client.following import STREAM_SECONDS, Following, Update
from calotype.client.sync_webhooks import WebhookMethods
from calotype.job.v1 import job_pb2, job_service_pb2, job_service_pb2_grpc
from calotype.notifier.v1 import webhook_service_pb2_grpc
from calotype.provider.v1 import provider_pb2

T = TypeVar("T")


class JobClient(WebhookMethods):
    """Jobs of one tenant. May be shared by threads; every method raises `CalotypeError`.

    `target` is `host:port` or a channel of your own, which stays yours to close. `credentials` are for TLS; without
    them the connection is in the clear. What may come twice is asked again while the service is away. Methods about
    webhooks need `notifier_address`, of the same kind as `target`.
    """

    def __init__(
        self,
        target: str | grpc.Channel,
        *,
        tenant: str,
        token: str | None = None,
        credentials: grpc.ChannelCredentials | None = None,
        notifier_address: str | grpc.Channel | None = None,
    ) -> None:
        channel = _open(target, credentials) if isinstance(target, str) else target
        notifier = _open(notifier_address, credentials) if isinstance(notifier_address, str) else notifier_address
        given = ((channel, target), (notifier, notifier_address))
        self._own_channels = [opened for opened, address in given if opened is not None and opened is not address]
        self._identity = calling.RequestIdentity(tenant=tenant, token=token)
        self._stub = job_service_pb2_grpc.JobServiceStub(channel)
        self._webhooks = None if notifier is None else webhook_service_pb2_grpc.WebhookServiceStub(notifier)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connections."""
        for channel in self._own_channels:
            channel.close()

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

    def watch(self, job_id: str, *, after: int | None = None, timeout: float | None = None) -> Iterator[Update]:
        """Every change of a job, each once and in order, and signs of progress; ends after the final change.

        A service that goes away is waited for, and nothing is missed by that. `after` is the last sequence that is
        known already. Raises `DeadlineExceeded` after `timeout` seconds.
        """
        following = Following(self._identity.tenant, job_id, after=after, timeout=timeout)
        metadata = self._identity.metadata
        while True:
            seconds = following.seconds(STREAM_SECONDS)
            stream = self._stub.WatchJob(following.stream_request(), timeout=seconds, metadata=metadata)
            try:
                for response in stream:
                    yield following.take(response)
                if not following.is_over:
                    # A service that stops ends its streams early, and one that has nothing to tell ends them at once.
                    seconds = following.seconds(calling.CALL_SECONDS)
                    now = self._stub.GetJob(following.job_request(), timeout=seconds, metadata=metadata)
                    following.compare(now.job)
            except grpc.RpcError as error:
                following.bear(error)
            finally:
                stream.cancel()
            if following.is_over:
                return
            time.sleep(following.pause())

    def wait(self, job_id: str, *, timeout: float | None = None) -> job_pb2.Job:
        """The job once it is final. Raises `DeadlineExceeded` after `timeout` seconds; the job goes on."""
        job, request = job_pb2.Job(), job_pb2.JobRequest()
        for update in self.watch(job_id, timeout=timeout):
            if isinstance(update, job_pb2.Job):
                job = update
                # It is told once, as it never changes.
                request = job.request if job.HasField("request") else request
        job.request.CopyFrom(request)
        return job

    def _ask(self, method: Callable[..., T], request: Any, *, once: bool = False, seconds: float | None = None) -> T:
        """Ask, and again while the service is away, unless the request may not come twice."""
        seconds = seconds or calling.seconds_for(request)
        for attempt, pause in enumerate([*calling.pauses(once=once), None], start=1):
            try:
                return method(request, timeout=seconds, metadata=self._identity.metadata)
            except grpc.RpcError as error:
                refusal = read(error, attempts=attempt)
                if pause is None or not calling.may_repeat(refusal):
                    raise refusal from error
            time.sleep(max(pause, refusal.retry_after_seconds or 0.0))
        raise AssertionError("the last attempt returns or raises")


def _open(address: str, credentials: grpc.ChannelCredentials | None) -> grpc.Channel:
    if credentials is None:
        return grpc.insecure_channel(address, options=calling.CHANNEL_OPTIONS)
    return grpc.secure_channel(address, credentials, options=calling.CHANNEL_OPTIONS)
