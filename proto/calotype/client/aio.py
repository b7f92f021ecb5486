"""The client for asyncio."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any, Self, TypeVar

import grpc

from calotype.client import calling
from calotype.client.aio_webhooks import AsyncWebhookMethods
from calotype.client.errors import JobNotFound, read
from calotype.client.following import STREAM_SECONDS, Following, Update
from calotype.job.v1 import job_pb2, job_service_pb2, job_service_pb2_grpc
from calotype.notifier.v1 import webhook_service_pb2_grpc
from calotype.provider.v1 import provider_pb2

T = TypeVar("T")


class AsyncJobClient(AsyncWebhookMethods):
    """Jobs of one tenant. Made inside the running loop, may be shared by tasks; every method raises `CalotypeError`.

    `target` is `host:port` or a channel of your own, which stays yours to close. `credentials` are for TLS; without
    them the connection is in the clear. What may come twice is asked again while the service is away. Methods about
    webhooks need `notifier_address`, of the same kind as `target`.
    """

    def __init__(
        self,
        target: str | grpc.aio.Channel,
        *,
        tenant: str,
        token: str | None = None,
        credentials: grpc.ChannelCredentials | None = None,
        notifier_address: str | grpc.aio.Channel | None = None,
    ) -> None:
        channel = _open(target, credentials) if isinstance(target, str) else target
        notifier = _open(notifier_address, credentials) if isinstance(notifier_address, str) else notifier_address
        given = ((channel, target), (notifier, notifier_address))
        self._own_channels = [opened for opened, address in given if opened is not None and opened is not address]
        self._identity = calling.RequestIdentity(tenant=tenant, token=token)
        self._stub = job_service_pb2_grpc.JobServiceStub(channel)
        self._webhooks = None if notifier is None else webhook_service_pb2_grpc.WebhookServiceStub(notifier)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Let go of the connections."""
        for channel in self._own_channels:
            await channel.close()

    async def create(self, request: job_pb2.JobRequest | str, *, idempotency_key: str | None = None) -> job_pb2.Job:
        """Submit a job. With a key of your own it is one job however often, from wherever, you ask for it."""
        asked = job_service_pb2.CreateJobRequest(
            tenant=self._identity.tenant,
            idempotency_key=idempotency_key or calling.new_key(),
            request=calling.wanted(request),
        )
        return (await self._ask(self._stub.CreateJob, asked)).job

    async def get(self, job_id: str) -> job_pb2.Job:
        """A job as it is now."""
        asked = job_service_pb2.GetJobRequest(tenant=self._identity.tenant, job_id=job_id)
        return (await self._ask(self._stub.GetJob, asked)).job

    async def jobs(self, filters: job_service_pb2.ListJobsRequest | None = None) -> AsyncIterator[job_pb2.Job]:
        """All jobs that pass the filters, newest first; pages are fetched as they are needed."""
        asked = job_service_pb2.ListJobsRequest()
        asked.MergeFrom(filters or job_service_pb2.ListJobsRequest())
        asked.tenant = self._identity.tenant
        while True:
            page = await self._ask(self._stub.ListJobs, asked)
            for job in page.jobs:
                yield job
            if not page.next_page_token:
                return
            asked.page_token = page.next_page_token

    async def cancel(self, job_id: str) -> job_pb2.Job:
        """End a job. Raises `WrongState` when it has ended otherwise."""
        asked = job_service_pb2.CancelJobRequest(tenant=self._identity.tenant, job_id=job_id)
        return (await self._ask(self._stub.CancelJob, asked)).job

    async def retry(
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
        return (await self._ask(self._stub.RetryJob, asked)).job

    async def delete(self, job_id: str) -> None:
        """Delete a final job with its pictures. Raises `WrongState` unless it is final."""
        asked = job_service_pb2.DeleteJobRequest(tenant=self._identity.tenant, job_id=job_id)
        try:
            await self._ask(self._stub.DeleteJob, asked)
        except JobNotFound as error:
            # A repeated request whose first answer was lost finds it done.
            if error.attempts == 1:
                raise

    async def attempts(self, job_id: str) -> list[job_pb2.Attempt]:
        """Every claim of a job with its provider calls, oldest first."""
        asked = job_service_pb2.ListAttemptsRequest(tenant=self._identity.tenant, job_id=job_id)
        return [*(await self._ask(self._stub.ListAttempts, asked)).attempts]

    async def providers(self) -> list[provider_pb2.Provider]:
        """The catalogue, by name."""
        return [*(await self._ask(self._stub.ListProviders, job_service_pb2.ListProvidersRequest())).providers]

    async def watch(
        self, job_id: str, *, after: int | None = None, timeout: float | None = None
    ) -> AsyncGenerator[Update]:
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
                async for response in stream:
                    yield following.take(response)
                if not following.is_over:
                    # A service that stops ends its streams early, and one that has nothing to tell ends them at once.
                    seconds = following.seconds(calling.CALL_SECONDS)
                    now = await self._stub.GetJob(following.job_request(), timeout=seconds, metadata=metadata)
                    following.compare(now.job)
            except grpc.aio.AioRpcError as error:
                following.bear(error)
            finally:
                stream.cancel()
            if following.is_over:
                return
            await asyncio.sleep(following.pause())

    async def wait(self, job_id: str, *, timeout: float | None = None) -> job_pb2.Job:
        """The job once it is final. Raises `DeadlineExceeded` after `timeout` seconds; the job goes on."""
        job, request = job_pb2.Job(), job_pb2.JobRequest()
        async for update in self.watch(job_id, timeout=timeout):
            if isinstance(update, job_pb2.Job):
                job = update
                # It is told once, as it never changes.
                request = job.request if job.HasField("request") else request
        job.request.CopyFrom(request)
        return job

    async def _ask(
        self, method: Callable[..., Awaitable[T]], request: Any, *, once: bool = False, seconds: float | None = None
    ) -> T:
        """Ask, and again while the service is away, unless the request may not come twice."""
        seconds = seconds or calling.seconds_for(request)
        for attempt, pause in enumerate([*calling.pauses(once=once), None], start=1):
            try:
                return await method(request, timeout=seconds, metadata=self._identity.metadata)
            except grpc.aio.AioRpcError as error:
                refusal = read(error, attempts=attempt)
                if pause is None or not calling.may_repeat(refusal):
                    raise refusal from error
            await asyncio.sleep(max(pause, refusal.retry_after_seconds or 0.0))
        raise AssertionError("the last attempt returns or raises")


def _open(address: str, credentials: grpc.ChannelCredentials | None) -> grpc.aio.Channel:
    if credentials is None:
        return grpc.aio.insecure_channel(address, options=calling.CHANNEL_OPTIONS)
    return grpc.aio.secure_channel(address, credentials, options=calling.CHANNEL_OPTIONS)
