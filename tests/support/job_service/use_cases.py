"""job-service's use cases, each call as one transaction."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar
from unittest.mock import patch
from uuid import UUID, uuid4

from calotype.error_reasons import Code, Reason

from common.postgres import open_pool
from common.sql import Connection, text, transaction
from services.job.application import (
    apply_facts,
    batch_submission,
    claim_release,
    claims,
    new_calls,
    provider_calls,
    provider_limits,
    queries,
    submission,
    user_actions,
)
from services.job.domain.calls import CallOutcome, CallPhase, ProviderCall, WorkerReport
from services.job.domain.facts import ImagesGenerated, ImagesStored, JobFact, StageFailed
from services.job.domain.failures import Failure, Stage
from services.job.domain.jobs import Artifact, Fence, Job, Snapshot
from services.job.domain.providers import Capabilities, Provider
from services.job.domain.quotas import Quota
from services.job.domain.requests import JobRequest
from services.job.domain.spending import Allowance
from services.job.domain.timeouts import StageTimeouts
from services.job.store import claim_locks, jobs, spending
from tests.support.patience import PATIENCE

T = TypeVar("T")
BLOCKED = """
SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND cardinality(pg_blocking_pids(pid)) > 0
"""
FREE = Provider(
    name="procedural",
    kind="procedural",
    is_default=True,
    default_model="v1",
    capabilities=Capabilities(free=True, idempotent=True, seed=True, min_side=64, max_side=2048),
)
PAID = Provider(
    name="paid",
    kind="replicate",
    is_default=False,
    default_model="flux",
    capabilities=Capabilities(max_images_per_call=4, resumable=True, cancelable=True),
)


class Transaction(Protocol):
    """Runs work as one transaction."""

    def __call__(self, work: Callable[[Connection], T]) -> T:
        """Run it; returns after COMMIT."""


@dataclass
class JobUseCases:
    """The use cases against one database."""

    run: Transaction
    limits: StageTimeouts = field(default_factory=StageTimeouts)
    dispose: Callable[[], None] = lambda: None

    def on(self, connection: Connection) -> "JobUseCases":
        """Returns the use cases inside an open transaction, which the caller ends."""
        return replace(self, run=lambda work: work(connection))

    def register(self, *known: Provider, is_starting: bool = False, worker: str = "worker") -> None:
        """Make providers known."""
        self.run(lambda c: provider_limits.register(c, worker, known or (FREE, PAID), is_starting=is_starting))

    def allow(self, tenant: str = "acme", **allowance: Any) -> None:
        """Sets what a tenant may use and spend; without arguments: no limits."""
        self.run(lambda c: spending.set_limits(c, {tenant: Allowance(**allowance)}))

    def create(self, *, tenant: str = "acme", key: str = "", fingerprint: str = "", **request: Any) -> Snapshot:
        """A new job, or the one of the key, or one that is joined."""
        return self.submit(tenant=tenant, key=key, fingerprint=fingerprint, **request).snapshot

    def submit(
        self,
        *,
        tenant: str = "acme",
        key: str = "",
        fingerprint: str = "",
        quota: Quota | None = None,
        join: int | None = None,
        input_images: Mapping[int, bytes] | None = None,
        **request: Any,
    ) -> submission.ActionResult:
        """Submits a job; returns the whole result."""
        new = submission.NewJob(
            tenant=tenant,
            idempotency_key=key,
            fingerprint=fingerprint,
            request=JobRequest(**({"prompt": "a harbour"} | request)),
            traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            input_bytes=input_images or {},
            quota=quota,
            join_within_seconds=join,
        )
        return self.run(lambda c: submission.create_job(c, new))

    def submit_batch(
        self, *items: Mapping[str, Any], tenant: str = "acme", quota: Quota | None = None
    ) -> batch_submission.BatchResult:
        """Submits jobs in one transaction; `key`, `fingerprint` and `images` of an item are no part of its request."""
        made = [
            submission.NewJob(
                tenant=tenant,
                idempotency_key=item.get("key", ""),
                fingerprint=item.get("fingerprint", "f"),
                request=JobRequest(**({"prompt": "a harbour"} | _without_key(item))),
                input_bytes=item.get("images", {}),
            )
            for item in items
        ]
        batch = batch_submission.JobBatch(tenant=tenant, items=made, quota=quota)
        return self.run(lambda c: batch_submission.create_jobs(c, batch))

    def claim(
        self, count: int = 1, *, tokens: Sequence[UUID] = (), only: Sequence[str] = ("procedural", "paid")
    ) -> list[claims.Claimed]:
        """Claim jobs for generation."""
        lease_tokens = list(tokens) or [uuid4() for _ in range(count)]
        return self.run(
            lambda c: claims.claim_jobs(c, worker="w", tokens=lease_tokens, providers=only, limits=self.limits)
        )

    def claim_uploads(self, count: int = 1, *, tokens: Sequence[UUID] = ()) -> list[claims.Claimed]:
        """Claim jobs for upload."""
        lease_tokens = list(tokens) or [uuid4() for _ in range(count)]
        return self.run(lambda c: claims.claim_uploads(c, worker="u", tokens=lease_tokens, limits=self.limits))

    def begin(
        self, job: Job, *indexes: int, provider: str | None = None, known: Sequence[CallOutcome] = ()
    ) -> ProviderCall:
        """Write a provider call down, by a worker that knows how earlier calls ended."""
        purchase = replace(purchase_of(job, *indexes, provider=provider), report=WorkerReport(calls=tuple(known)))
        return self.run(lambda c: provider_calls.begin_provider_call(c, purchase)).call

    def follow(self, job: Job, call_id: str) -> ProviderCall:
        """Follow the operation of an earlier claim."""
        return self.run(lambda c: provider_calls.follow_provider_call(c, fence_of(job), call_id, WorkerReport())).call

    def apply(self, *facts: JobFact) -> apply_facts.ApplyResult:
        """Applies facts in one batch."""
        return self.run(lambda c: apply_facts.apply_facts(c, facts, limits=self.limits))

    def cancel(self, job_id: str, *, tenant: str = "acme", key: str = "") -> Snapshot:
        """Cancel as a user."""
        return self.run(lambda c: user_actions.cancel_job(c, tenant, job_id, idempotency_key=key)).snapshot

    def delete(self, job_id: str) -> None:
        """Delete as a user."""
        self.run(lambda c: user_actions.delete_job(c, "acme", job_id))

    def retry(
        self,
        job_id: str,
        *,
        consents: bool = False,
        key: str = "",
        expected: int | None = None,
        quota: Quota | None = None,
    ) -> Snapshot:
        """UserRetry as a user."""
        wish = user_actions.UserRetry(
            tenant="acme",
            job_id=job_id,
            idempotency_key=key,
            fingerprint=str(consents),
            consents=consents,
            expected_sequence=expected,
            quota=quota,
        )
        return self.run(lambda c: user_actions.retry_job(c, wish)).snapshot

    def release(self, job: Job, *known: CallOutcome) -> None:
        """Hand a job back, with what is known of its calls."""
        self.run(lambda c: claim_release.release_job(c, fence_of(job), WorkerReport(calls=known)))

    def get(self, job_id: str, *, tenant: str = "acme") -> Snapshot:
        """The job as a client sees it."""
        return self.run(lambda c: queries.get_job(c, tenant, job_id))

    def job(self, job_id: str) -> Job:
        """The row."""
        job = self.run(lambda c: jobs.get(c, job_id))
        assert job is not None
        return job

    def sql(self, statement: str, **parameters: Any) -> list[Any]:
        """Runs a statement and returns its rows; for what a test checks or corrupts."""

        def work(connection: Connection) -> list[Any]:
            result = connection.execute(text(statement), parameters)
            return result.all()

        return self.run(work)

    def await_blocked(self, count: int = 1) -> None:
        """Returns once `count` transactions of this database wait for locks."""
        deadline = time.monotonic() + PATIENCE
        while len(self.sql(BLOCKED)) < count:
            assert time.monotonic() < deadline, "no transaction waited for a lock"

    def generate(self, **request: Any) -> tuple[Job, ProviderCall]:
        """A job whose call is under way."""
        self.create(**request)
        [claimed] = self.claim()
        call = self.begin(claimed.job)
        return self.job(claimed.job.id), call

    def upload(self, **request: Any) -> Job:
        """A job whose images are staged and whose uploader holds it."""
        job, call = self.generate(**request)
        self.apply(generated(job, call))
        [claimed] = self.claim_uploads()
        return claimed.job


def _without_key(item: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in item.items() if name not in ("key", "fingerprint", "images")}


@contextmanager
def use_cases_at(url: str, limits: StageTimeouts | None = None) -> Iterator[JobUseCases]:
    """The use cases on a database, with both providers registered."""
    engine = open_pool(url, pool_size=60, max_overflow=0)

    def run(work: Callable[[Connection], T]) -> T:
        with transaction(engine) as connection:
            return work(connection)

    desk = JobUseCases(run, limits or StageTimeouts(), engine.dispose)
    # A busy machine may pause longer between two statements of a claim than a service may.
    with patch.object(claim_locks, "IDLE_MS", 0):
        desk.register()
        yield desk
    engine.dispose()


@contextmanager
def open_transaction(desk: JobUseCases, work: Callable[[Connection], object]) -> Iterator[Future[None]]:
    """Holds a transaction open, after its work, until the block ends."""
    worked, go_on = threading.Event(), threading.Event()

    def stay(connection: Connection) -> None:
        work(connection)
        # Sends what was deferred.
        connection.execute(text("SELECT 1"))
        worked.set()
        # Longer than those who are to fail if they wait for it.
        assert go_on.wait(2 * PATIENCE)

    with ThreadPoolExecutor(1) as threads:
        staying = threads.submit(desk.run, stay)
        try:
            assert worked.wait(PATIENCE)
            yield staying
        finally:
            go_on.set()


def purchase_of(job: Job, *indexes: int, provider: str | None = None) -> new_calls.CallRequest:
    """Returns the purchase of images of a held job: all of them unless indexes are given."""
    return new_calls.CallRequest(
        fence=fence_of(job),
        call_id=f"call_{uuid4().hex}",
        provider=provider or job.provider,
        model=job.model,
        image_indexes=indexes or tuple(range(job.image_count)),
        request_digest="0" * 64,
    )


def fence_of(job: Job) -> Fence:
    """The right that the job's present lease gives."""
    assert job.lease is not None
    return Fence(job_id=job.id, claim_number=job.claim_number, lease_token=job.lease.token)


def image_of(job: Job, call: ProviderCall, index: int) -> Artifact:
    """A staged image."""
    return Artifact(
        id=f"img_{uuid4().hex}",
        job_id=job.id,
        image_index=index,
        call_id=call.id,
        staged_name=f"{job.id}/{call.id}/{index}",
        content_type="image/png",
        width=64,
        height=64,
        size_bytes=100,
        sha256=f"{index:064x}",
        blurhash="L00000",
        seed=index,
        staged_at=job.updated_at,
    )


def succeeded(call: ProviderCall, *, cost: int | None = None) -> CallOutcome:
    """The call made what was bought."""
    return CallOutcome(call_id=call.id, phase=CallPhase.SUCCEEDED, cost_micros=cost)


def not_sent(call: ProviderCall) -> CallOutcome:
    """The call surely never left."""
    return CallOutcome(call_id=call.id, phase=CallPhase.NOT_SENT)


def generated(job: Job, call: ProviderCall, *indexes: int, cost: int | None = None) -> ImagesGenerated:
    """The fact of a successful claim."""
    images = tuple(image_of(job, call, index) for index in indexes or call.image_indexes)
    return ImagesGenerated(fence=fence_of(job), calls=(succeeded(call, cost=cost),), images=images)


def stored(job: Job) -> ImagesStored:
    """The fact of a successful upload."""
    names = {index: f"jobs/{job.id}/{index}-0000000000000000.png" for index in range(job.image_count)}
    return ImagesStored(fence=fence_of(job), names=names)


def failed(job: Job, *, stage: Stage = Stage.GENERATING, **changes: Any) -> StageFailed:
    """The fact of a claim that ended badly."""
    fields = {name: changes.pop(name) for name in ("calls", "images", "deferred") if name in changes}
    plain = Failure(
        stage=stage, code=Code.TEMPORARY, reason=Reason.PROVIDER_UNAVAILABLE, message="It was away.", retryable=True
    )
    return StageFailed(fence=fence_of(job), failure=replace(plain, **changes), **fields)
