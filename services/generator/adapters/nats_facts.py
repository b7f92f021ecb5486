"""Facts over NATS JetStream, progress over core NATS."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from calotype import streams
from calotype.artifact.v1 import artifact_pb2
from calotype.error.v1 import error_pb2
from calotype.fact.v1 import fact_pb2
from calotype.job.v1 import job_pb2, job_service_pb2

from common.cloud_events import headers
from common.jetstream import FAILURES, JetStream
from common.logs import event
from services.generator.domain import foreign_text
from services.generator.domain.jobs import Call, Job, StagedImage
from services.generator.domain.provider_results import (
    Acceptance,
    CancelOutcome,
    JobWarning,
    Operation,
    StageError,
    VendorError,
)
from services.generator.domain.settlements import Outcome, Settlement

_LOG = logging.getLogger(__name__)
SOURCE = "calotype/generator"
#: Of a message's size, what its headers may take.
ROOM_FOR_HEADERS = 4096
#: Words in a fact that is too large all the same, for a broker that takes little: most bytes of each.
SHORTEST_WORDS = 100


class NatsFacts:
    """Publishes facts on `calotype.fact.generation.*`."""

    def __init__(self, broker: JetStream) -> None:
        self._broker = broker

    async def call_accepted(self, fact_id: str, *, job: Job, call: Call, operation: Operation) -> None:
        """A provider named an operation."""
        accepted = fact_pb2.ProviderCallAccepted(
            job_id=job.id,
            call_id=call.id,
            call_token=call.token,
            fence=_fence(job),
            operation_id=operation.id,
            operation_state=dict(operation.state),
        )
        told = fact_pb2.Fact(id=fact_id, provider_call_accepted=accepted)
        await self._publish("provider_call_accepted", told, about=job.id)

    async def images_generated(
        self,
        fact_id: str,
        *,
        job: Job,
        calls: Sequence[Outcome],
        images: Sequence[StagedImage],
        warnings: Sequence[JobWarning],
    ) -> None:
        """The generating stage ended with images."""
        made = fact_pb2.ImagesGenerated(
            fence=_fence(job),
            calls=[call_outcome(one) for one in calls],
            images=[image_artifact(one) for one in images],
            warnings=[_warning(one) for one in warnings],
        )
        await self._publish("images_generated", fact_pb2.Fact(id=fact_id, images_generated=made), about=job.id)

    async def stage_failed(
        self,
        fact_id: str,
        *,
        job: Job,
        error: StageError,
        calls: Sequence[Outcome],
        images: Sequence[StagedImage],
    ) -> None:
        """The claim ended without its result."""
        ended = fact_pb2.StageFailed(
            fence=_fence(job),
            failure=_failure(error),
            calls=[call_outcome(one) for one in calls],
            images=[image_artifact(one) for one in images],
            deferred=error.deferred,
        )
        await self._publish("stage_failed", fact_pb2.Fact(id=fact_id, stage_failed=ended), about=job.id)

    async def ledger_settled(
        self, fact_id: str, *, job: Job, calls: Sequence[Outcome], images: Sequence[StagedImage]
    ) -> None:
        """Calls ended under a claim that moves the job no more."""
        settled = fact_pb2.LedgerSettled(
            job_id=job.id,
            fence=_fence(job),
            calls=[call_outcome(one) for one in calls],
            images=[image_artifact(one) for one in images],
        )
        await self._publish("ledger_settled", fact_pb2.Fact(id=fact_id, ledger_settled=settled), about=job.id)

    async def call_settled(
        self,
        fact_id: str,
        *,
        settlement: Settlement,
        outcome: Outcome,
        cancel: CancelOutcome | None,
        images: Sequence[StagedImage],
    ) -> None:
        """A call of a final job ended."""
        name = f"PROVIDER_CANCEL_{cancel.upper()}" if cancel else "PROVIDER_CANCEL_UNSPECIFIED"
        settled = fact_pb2.CallSettled(
            call=call_outcome(replace(outcome, token=settlement.call.token)),
            job_id=settlement.job_id,
            provider_cancel=job_pb2.ProviderCancel.Value(name),
            lease_token=settlement.lease_token,
            images=[image_artifact(one) for one in images],
        )
        told = fact_pb2.Fact(id=fact_id, call_settled=settled)
        await self._publish("call_settled", told, about=settlement.job_id)

    async def progress(self, job: Job, *, percent: float) -> None:
        """Live word of progress."""
        subject = streams.progress_subject(tenant=job.tenant, job_id=job.id)
        told = job_service_pb2.Progress(percent=percent).SerializeToString()
        try:
            await self._broker.publish_core(subject, told)
        except FAILURES as error:
            # Nobody counts on it: the next word comes soon, and the end is told as a fact.
            event(_LOG, logging.DEBUG, "progress.lost", job_id=job.id, error=type(error).__name__)

    async def _publish(self, kind: str, told: fact_pb2.Fact, *, about: str) -> None:
        if told.ByteSize() > self._broker.most_bytes - ROOM_FOR_HEADERS:
            event(_LOG, logging.ERROR, "fact.cut", kind=kind, about=about, bytes=told.ByteSize())
            _shorten(told)
        await self._broker.publish(
            f"{streams.FACT_GENERATION}.{kind}",
            told.SerializeToString(),
            message_id=told.id,
            headers=headers(event_id=told.id, source=SOURCE, kind=f"calotype.fact.{kind}", subject=about),
        )


def _shorten(told: Any) -> None:
    """Cut all words, and leave out what an adapter kept of its operation: the rest is what the ledger needs."""
    for field, value in told.ListFields():
        if field.name in ("message", "revised_prompt"):
            setattr(told, field.name, foreign_text.clean(value, SHORTEST_WORDS))
        elif field.name == "operation_state":
            told.ClearField(field.name)
        elif field.message_type is not None:
            for one in value if field.is_repeated else (value,):
                _shorten(one)


def _fence(job: Job) -> fact_pb2.Fence:
    return fact_pb2.Fence(job_id=job.id, claim_number=job.claim_number, lease_token=job.lease_token)


def _failure(error: StageError) -> error_pb2.Failure:
    return error_pb2.Failure(
        stage=error_pb2.Stage.Value(f"STAGE_{error.stage}"),
        code=error_pb2.Code.Value(f"CODE_{error.code}"),
        reason=error_pb2.Reason.Value(f"REASON_{error.reason}"),
        message=error.message,
        retryable=error.retryable,
        retry_after_seconds=error.retry_after_seconds,
    )


def call_outcome(outcome: Outcome) -> fact_pb2.CallOutcome:
    """How a call ended, as facts and asks tell of it."""
    error = outcome.error
    told = fact_pb2.CallOutcome(
        call_id=outcome.call_id,
        phase=job_pb2.CallPhase.Value(f"CALL_PHASE_{outcome.phase.upper()}"),
        operation_id=outcome.operation_id if foreign_text.is_name(outcome.operation_id) else "",
        cost_micros=outcome.cost_micros,
        is_over=outcome.is_over,
        call_token=outcome.token,
    )
    if error is not None:
        told.is_over = error.acceptance is not Acceptance.UNKNOWN
        told.error.CopyFrom(_vendors_words(error.vendor))
        told.code = error_pb2.Code.Value(f"CODE_{error.code}")
        told.reason = error_pb2.Reason.Value(f"REASON_{error.reason}")
    return told


def _vendors_words(told: VendorError) -> job_pb2.ProviderError:
    return job_pb2.ProviderError(
        http_status=told.http_status,
        code=told.code,
        message=told.message,
        request_id=told.request_id,
    )


def image_artifact(image: StagedImage) -> artifact_pb2.ImageArtifact:
    """A staged image, as facts and asks tell of it."""
    return artifact_pb2.ImageArtifact(
        index=image.index,
        staged=artifact_pb2.StagedObject(name=image.name, call_id=image.call_id),
        content_type=image.content_type,
        width=image.width,
        height=image.height,
        size_bytes=image.size_bytes,
        sha256=image.sha256,
        blurhash=image.blurhash,
        seed=image.seed,
        revised_prompt=image.revised_prompt,
        provenance=artifact_pb2.Provenance(c2pa=image.c2pa),
    )


def _warning(one: JobWarning) -> job_pb2.Warning:
    return job_pb2.Warning(reason=error_pb2.Reason.Value(f"REASON_{one.reason}"), message=one.message)
