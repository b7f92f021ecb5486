"""The client for threads."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Self, TypeVar

import grpc

from calotype.client import batches, call_policy
from calotype.client.errors import CalotypeError, JobNotFound, from_rpc_error
from calotype.client.sync_admin import AdminMethods
from calotype.client.sync_webhooks import WebhookMethods
from calotype.client.watch_state import STREAM_SECONDS, Update, WatchState
from calotype.job.v1 import job_pb2, job_service_pb2, job_service_pb2_grpc
from calotype.notifier.v1 import webhook_service_pb2_grpc
from calotype.provider.v1 import provider_pb2

T = TypeVar("T")


class JobClient(WebhookMethods):
    """Client for the jobs of one tenant. Threads may share it; every method raises `CalotypeError`.

    `target` is `host:port`, or an open channel, which the client does not close. `token` is the bearer token of the
    caller's identity; None for none. `credentials` None: no TLS. A call that may run twice is made up to 4 times while
    the service is unavailable; each attempt has 10 seconds, and 1 more per MiB of the request. Methods about
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
        opened_for = ((channel, target), (notifier, notifier_address))
        self._own_channels = [opened for opened, address in opened_for if opened is not None and opened is not address]
        self._identity = call_policy.RequestIdentity(tenant=tenant, token=token)
        self._stub = job_service_pb2_grpc.JobServiceStub(channel)
        #: Calls of operators.
        self.admin = AdminMethods(channel, self._call, by=tenant)
        self._webhooks = None if notifier is None else webhook_service_pb2_grpc.WebhookServiceStub(notifier)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections, except open channels that were passed in."""
        for channel in self._own_channels:
            channel.close()

    def create(self, request: job_pb2.JobRequest | str, *, idempotency_key: str | None = None) -> job_pb2.Job:
        """Creates a job; returns it without waiting for its images.

        `request` may be a prompt. Calls with the same `idempotency_key` return the same job; None: a new key, which
        only the attempts of this call share. Raises `InvalidRequest`, `IdempotencyKeyReused`, `JobDeleted`,
        `BudgetExhausted`, and `Unavailable` also for a quota that is used up.
        """
        message = job_service_pb2.CreateJobRequest(
            tenant=self._identity.tenant,
            idempotency_key=idempotency_key or call_policy.new_key(),
            request=call_policy.job_request(request),
        )
        return self._call(self._stub.CreateJob, message).job

    def create_many(
        self,
        requests: Iterable[job_pb2.JobRequest | str],
        *,
        idempotency_keys: Iterable[str] | None = None,
    ) -> list[job_pb2.Job | CalotypeError]:
        """Creates many jobs, in transactions of up to 100; returns the job or the error of each request, in order.

        Each request is decided as by `create`, and a refused one leaves the others as they are. `idempotency_keys` has
        a key, or "" for none, for each request; None: new keys, which only the attempts of this call share. With keys
        of its own the caller may repeat the whole call when it raised an error. Raises `ValueError` unless there is a
        key for each request, `InvalidRequest` for a request that is too large, and `Unavailable`.
        """
        created: list[job_pb2.Job | CalotypeError] = []
        for batch in batches.batches(self._identity.tenant, requests, idempotency_keys):
            created += batches.results(self._call(self._stub.CreateJobs, batch))
        return created

    def get(self, job_id: str) -> job_pb2.Job:
        """Returns the current job. Raises `JobNotFound`."""
        request = job_service_pb2.GetJobRequest(tenant=self._identity.tenant, job_id=job_id)
        return self._call(self._stub.GetJob, request).job

    def jobs(self, filters: job_service_pb2.ListJobsRequest | None = None) -> Iterator[job_pb2.Job]:
        """Yields all jobs that pass the filters, newest first; fetches pages as they are needed.

        `filters` None: all jobs of the tenant. Its `tenant` is ignored; `page_size` is the number of jobs of one fetch.
        Raises `InvalidRequest`.
        """
        request = job_service_pb2.ListJobsRequest()
        request.MergeFrom(filters or job_service_pb2.ListJobsRequest())
        request.tenant = self._identity.tenant
        while True:
            page = self._call(self._stub.ListJobs, request)
            yield from page.jobs
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def cancel(self, job_id: str) -> job_pb2.Job:
        """Cancels a job; returns it. Raises `JobNotFound`, and `WrongState` for a completed or failed job."""
        request = job_service_pb2.CancelJobRequest(tenant=self._identity.tenant, job_id=job_id)
        return self._call(self._stub.CancelJob, request).job

    def retry(
        self,
        job_id: str,
        *,
        may_charge_again: bool = False,
        expected_sequence: int | None = None,
        idempotency_key: str | None = None,
    ) -> job_pb2.Job:
        """Retries a failed job; returns it.

        `may_charge_again` consents to paying again for images whose call has an unknown outcome. `expected_sequence`
        None: any; `idempotency_key` None: a new key. Raises `JobNotFound`, `WrongState` unless the job is failed and at
        this sequence, `ConsentRequired`, `IdempotencyKeyReused`, `BudgetExhausted`, and `Unavailable` also for a quota
        that is used up.
        """
        request = job_service_pb2.RetryJobRequest(
            tenant=self._identity.tenant,
            job_id=job_id,
            idempotency_key=idempotency_key or call_policy.new_key(),
            on_ambiguous=job_pb2.ON_AMBIGUOUS_RETRY if may_charge_again else job_pb2.ON_AMBIGUOUS_UNSPECIFIED,
            expected_sequence=expected_sequence,
        )
        return self._call(self._stub.RetryJob, request).job

    def delete(self, job_id: str) -> None:
        """Deletes a final job with its images. Raises `JobNotFound`, and `WrongState` unless it is final."""
        request = job_service_pb2.DeleteJobRequest(tenant=self._identity.tenant, job_id=job_id)
        try:
            self._call(self._stub.DeleteJob, request)
        except JobNotFound as error:
            # A repeated request finds the job deleted when the response to the first one was lost.
            if error.attempts == 1:
                raise

    def attempts(self, job_id: str) -> list[job_pb2.Attempt]:
        """Returns every claim of a job with its provider calls, oldest first. Raises `JobNotFound`."""
        request = job_service_pb2.ListAttemptsRequest(tenant=self._identity.tenant, job_id=job_id)
        return [*self._call(self._stub.ListAttempts, request).attempts]

    def providers(self) -> list[provider_pb2.Provider]:
        """Returns the providers that the tenant may use, sorted by name."""
        return [
            *self._call(
                self._stub.ListProviders, job_service_pb2.ListProvidersRequest(tenant=self._identity.tenant)
            ).providers
        ]

    def watch(self, job_id: str, *, after: int | None = None, timeout: float | None = None) -> Iterator[Update]:
        """Yields every change of a job, each once and in order, and its progress; ends after the final change.

        Waits through outages of the service and misses no change. `after` is the last sequence that the caller knows;
        None: the current job comes first. `timeout` is in seconds; None for no limit. Raises `JobNotFound`, and
        `DeadlineExceeded` after `timeout`.
        """
        state = WatchState(self._identity.tenant, job_id, after=after, timeout=timeout)
        metadata = self._identity.metadata
        while True:
            seconds = state.call_timeout(STREAM_SECONDS)
            stream = self._stub.WatchJob(state.stream_request(), timeout=seconds, metadata=metadata)
            try:
                for response in stream:
                    yield state.on_response(response)
                if not state.is_complete:
                    # A service that stops ends its streams early; one without a further change ends them at once.
                    seconds = state.call_timeout(call_policy.CALL_SECONDS)
                    now = self._stub.GetJob(state.job_request(), timeout=seconds, metadata=metadata)
                    state.on_current_job(now.job)
            except grpc.RpcError as error:
                state.on_error(error)
            finally:
                stream.cancel()
            if state.is_complete:
                return
            time.sleep(state.pause())

    def wait(self, job_id: str, *, timeout: float | None = None) -> job_pb2.Job:
        """Returns the job once it is final, in whatever status.

        `timeout` is in seconds; None for no limit. Raises `JobNotFound`, and `DeadlineExceeded` after `timeout`; the
        job continues.
        """
        job, request = job_pb2.Job(), job_pb2.JobRequest()
        for update in self.watch(job_id, timeout=timeout):
            if isinstance(update, job_pb2.Job):
                job = update
                # The request never changes; the stream has it once.
                request = job.request if job.HasField("request") else request
        job.request.CopyFrom(request)
        return job

    def _call(self, method: Callable[..., T], request: Any, *, once: bool = False, seconds: float | None = None) -> T:
        """Makes a call, and repeats it while the service is unavailable; with `once`, only if it was not sent."""
        seconds = seconds or call_policy.seconds_for(request)
        for attempt, pause in enumerate([*call_policy.pauses(once=once), None], start=1):
            try:
                return method(request, timeout=seconds, metadata=self._identity.metadata)
            except grpc.RpcError as error:
                refusal = from_rpc_error(error, attempts=attempt)
                if pause is None or not call_policy.may_repeat(refusal):
                    raise refusal from error
            time.sleep(max(pause, refusal.retry_after_seconds or 0.0))
        raise AssertionError("the last attempt returns or raises")


def _open(address: str, credentials: grpc.ChannelCredentials | None) -> grpc.Channel:
    if credentials is None:
        return grpc.insecure_channel(address, options=call_policy.CHANNEL_OPTIONS)
    return grpc.secure_channel(address, credentials, options=call_policy.CHANNEL_OPTIONS)
