"""Messages as workers write them, and a broker with all streams."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from calotype import streams
from calotype.artifact.v1 import artifact_pb2
from calotype.fact.v1 import fact_pb2
from calotype.job.v1 import job_pb2

from common import jetstream
from common.declarations import ConsumerSpec, StreamSpec
from common.ids import new_uuid7
from common.jetstream import JetStream
from services.job.domain.calls import ProviderCall
from services.job.domain.jobs import Job

SUBJECT = f"{streams.FACT_GENERATION}.images_generated"


@asynccontextmanager
async def broker_at(url: str) -> AsyncIterator[JetStream]:
    """A connection with all streams and consumers declared, as job-service declares them."""
    declared = [StreamSpec(**stream) for stream in streams.STREAMS]
    consumers = [ConsumerSpec(**consumer) for consumer in streams.WAKE_CONSUMERS]
    async with jetstream.connect(url, name="test", streams=declared, consumers=consumers) as broker:
        yield broker


def images_generated(job: Job, call: ProviderCall, *, sha256: str = "0" * 64) -> fact_pb2.Fact:
    """The fact of a successful claim, one image per index of the call."""
    assert job.lease is not None
    images = [
        artifact_pb2.ImageArtifact(
            index=index,
            staged=artifact_pb2.StagedObject(name=f"{job.id}/{call.id}/{index}", call_id=call.id),
            content_type="image/png",
            width=64,
            height=64,
            size_bytes=100,
            sha256=sha256,
            blurhash="L00000",
        )
        for index in call.image_indexes
    ]
    made = fact_pb2.ImagesGenerated(
        fence=fact_pb2.Fence(job_id=job.id, claim_number=job.claim_number, lease_token=str(job.lease.token)),
        calls=[fact_pb2.CallOutcome(call_id=call.id, phase=job_pb2.CALL_PHASE_SUCCEEDED)],
        images=images,
    )
    return fact_pb2.Fact(id=str(new_uuid7()), images_generated=made)


async def publish(broker: JetStream, facts: Sequence[fact_pb2.Fact | bytes]) -> None:
    """Publish facts, or bytes that are none."""
    for fact in facts:
        body = fact if isinstance(fact, bytes) else fact.SerializeToString()
        await broker.publish(SUBJECT, body, message_id=str(new_uuid7()), headers={"ce-type": "test"})
