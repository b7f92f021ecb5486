"""`Facts` port over NATS JetStream."""

from collections.abc import Mapping

from calotype import streams
from calotype.error.v1 import error_pb2
from calotype.fact.v1 import fact_pb2

from common.cloud_events import headers
from common.jetstream import JetStream
from common.messaging_spans import sending
from common.telemetry import registry
from services.uploader.domain import Upload, UploadError

SOURCE = "calotype/uploader"


class NatsFacts:
    """Publishes facts on `calotype.fact.upload.*`."""

    def __init__(self, broker: JetStream) -> None:
        self._broker = broker

    async def images_stored(self, fact_id: str, upload: Upload, names: Mapping[int, str]) -> None:
        """All images are public."""
        images = [
            fact_pb2.StoredImage(index=image.index, object_name=names[image.index], sha256=image.sha256)
            for image in upload.images
        ]
        fact = fact_pb2.Fact(id=fact_id, images_stored=fact_pb2.ImagesStored(fence=_fence(upload), images=images))
        await self._publish("images_stored", fact, job_id=upload.job_id)

    async def upload_failed(self, fact_id: str, upload: Upload, error: UploadError) -> None:
        """The images could not be stored."""
        failure = error_pb2.Failure(
            stage=error_pb2.Stage.Value(f"STAGE_{error.stage}"),
            code=error_pb2.Code.Value(f"CODE_{error.code}"),
            reason=error_pb2.Reason.Value(f"REASON_{error.reason}"),
            message=error.message,
            retryable=error.retryable,
        )
        fact = fact_pb2.Fact(id=fact_id, stage_failed=fact_pb2.StageFailed(fence=_fence(upload), failure=failure))
        await self._publish("stage_failed", fact, job_id=upload.job_id)

    async def _publish(self, kind: str, fact: fact_pb2.Fact, *, job_id: str) -> None:
        subject, body = f"{streams.FACT_UPLOAD}.{kind}", fact.SerializeToString()
        with sending(registry.SEND_FACT, destination=subject, message_id=fact.id, size=len(body), job_id=job_id):
            await self._broker.publish(
                subject,
                body,
                message_id=fact.id,
                headers=headers(event_id=fact.id, source=SOURCE, kind=f"calotype.fact.{kind}", subject=job_id),
            )


def _fence(upload: Upload) -> fact_pb2.Fence:
    return fact_pb2.Fence(job_id=upload.job_id, claim_number=upload.claim_number, lease_token=upload.lease_token)
