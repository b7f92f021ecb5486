"""`Facts` port over NATS: facts through JetStream, progress through core NATS."""

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
from common.messaging_spans import sending
from common.telemetry import registry
from services.generator.domain import untrusted_text
from services.generator.domain.jobs import Call, Job, StagedImage
from services.generator.domain.provider_results import (
    Acceptance,
    CancelOutcome,
    JobWarning,
    Operation,
    StageError,
    VendorError,
)
from services.generator.domain.settlements import CallOutcome, Settlement

_LOG = logging.getLogger(__name__)
SOURCE = "calotype/generator"
#: Bytes of a message's size that its headers may take.
ROOM_FOR_HEADERS = 4096
#: Limit in bytes on each text of a fact that exceeds the broker's message size.
SHORTENED_TEXT_BYTES = 100


class NatsFacts:
    """Publishes facts on `calotype.fact.generation.*`."""

    def __init__(self, broker: JetStream) -> None:
        self._broker = broker

    async def call_accepted(self, fact_id: str, *, job: Job, call: Call, operation: Operation) -> None:
        """A provider accepted a call and named an operation."""
        accepted = fact_pb2.ProviderCallAccepted(
            job_id=job.id,
            call_id=call.id,
            call_token=call.token,
            fence=_fence(job),
            operation_id=operation.id,
            operation_state=dict(operation.state),
        )
        fact = fact_pb2.Fact(id=fact_id, provider_call_accepted=accepted)
        await self._publish("provider_call_accepted", fact, about=job.id)

    async def images_generated(
        self,
        fact_id: str,
        *,
        job: Job,
        calls: Sequence[CallOutcome],
        images: Sequence[StagedImage],
        warnings: Sequence[JobWarning],
    ) -> None:
        """The generating stage succeeded with images."""
        generated = fact_pb2.ImagesGenerated(
            fence=_fence(job),
            calls=[call_outcome(outcome) for outcome in calls],
            images=[image_artifact(image) for image in images],
            warnings=[_warning(warning) for warning in warnings],
        )
        await self._publish("images_generated", fact_pb2.Fact(id=fact_id, images_generated=generated), about=job.id)

    async def stage_failed(
        self,
        fact_id: str,
        *,
        job: Job,
        error: StageError,
        calls: Sequence[CallOutcome],
        images: Sequence[StagedImage],
    ) -> None:
        """The claim ended with an error."""
        failed = fact_pb2.StageFailed(
            fence=_fence(job),
            failure=_failure(error),
            calls=[call_outcome(outcome) for outcome in calls],
            images=[image_artifact(image) for image in images],
            deferred=error.deferred,
        )
        await self._publish("stage_failed", fact_pb2.Fact(id=fact_id, stage_failed=failed), about=job.id)

    async def ledger_settled(
        self, fact_id: str, *, job: Job, calls: Sequence[CallOutcome], images: Sequence[StagedImage]
    ) -> None:
        """Calls ended under a claim that can no longer change the job."""
        settled = fact_pb2.LedgerSettled(
            job_id=job.id,
            fence=_fence(job),
            calls=[call_outcome(outcome) for outcome in calls],
            images=[image_artifact(image) for image in images],
        )
        await self._publish("ledger_settled", fact_pb2.Fact(id=fact_id, ledger_settled=settled), about=job.id)

    async def call_settled(
        self,
        fact_id: str,
        *,
        settlement: Settlement,
        outcome: CallOutcome,
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
            images=[image_artifact(image) for image in images],
        )
        fact = fact_pb2.Fact(id=fact_id, call_settled=settled)
        await self._publish("call_settled", fact, about=settlement.job_id)

    async def progress(self, job: Job, *, percent: float) -> None:
        """Publishes live progress."""
        subject = streams.progress_subject(tenant=job.tenant, job_id=job.id)
        body = job_service_pb2.Progress(percent=percent, retry_count=job.retry_count).SerializeToString()
        try:
            await self._broker.publish_core(subject, body)
        except FAILURES as error:
            # Nothing depends on progress: another message follows soon, and the end is published as a fact.
            event(_LOG, logging.DEBUG, "progress.lost", job_id=job.id, reason=type(error).__name__)

    async def _publish(self, kind: str, fact: fact_pb2.Fact, *, about: str) -> None:
        if fact.ByteSize() > self._broker.max_message_bytes - ROOM_FOR_HEADERS:
            event(_LOG, logging.ERROR, "fact.cut", kind=kind, about=about, bytes=fact.ByteSize())
            _shorten(fact)
        subject, body = f"{streams.FACT_GENERATION}.{kind}", fact.SerializeToString()
        with sending(registry.SEND_FACT, destination=subject, message_id=fact.id, size=len(body), job_id=about):
            await self._broker.publish(
                subject,
                body,
                message_id=fact.id,
                headers=headers(event_id=fact.id, source=SOURCE, kind=f"calotype.fact.{kind}", subject=about),
            )


def _shorten(message: Any) -> None:
    """Cuts all texts of a message and removes operation states; the ledger needs only the rest."""
    for field, value in message.ListFields():
        if field.name in ("message", "revised_prompt"):
            setattr(message, field.name, untrusted_text.clean(value, SHORTENED_TEXT_BYTES))
        elif field.name == "operation_state":
            message.ClearField(field.name)
        elif field.message_type is not None:
            for inner in value if field.is_repeated else (value,):
                _shorten(inner)


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


def call_outcome(outcome: CallOutcome) -> fact_pb2.CallOutcome:
    """Returns the protobuf message of a call's outcome, for facts and for calls of job-service."""
    error = outcome.error
    message = fact_pb2.CallOutcome(
        call_id=outcome.call_id,
        phase=job_pb2.CallPhase.Value(f"CALL_PHASE_{outcome.phase.upper()}"),
        operation_id=outcome.operation_id if untrusted_text.is_name(outcome.operation_id) else "",
        cost_micros=outcome.cost_micros,
        is_over=outcome.is_over,
        call_token=outcome.token,
    )
    if error is not None:
        message.is_over = error.acceptance is not Acceptance.UNKNOWN
        message.error.CopyFrom(_provider_error(error.vendor))
        message.code = error_pb2.Code.Value(f"CODE_{error.code}")
        message.reason = error_pb2.Reason.Value(f"REASON_{error.reason}")
    return message


def _provider_error(error: VendorError) -> job_pb2.ProviderError:
    return job_pb2.ProviderError(
        http_status=error.http_status,
        code=error.code,
        message=error.message,
        request_id=error.request_id,
    )


def image_artifact(image: StagedImage) -> artifact_pb2.ImageArtifact:
    """Returns the protobuf message of a staged image, for facts and for calls of job-service."""
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


def _warning(warning: JobWarning) -> job_pb2.Warning:
    return job_pb2.Warning(reason=error_pb2.Reason.Value(f"REASON_{warning.reason}"), message=warning.message)
