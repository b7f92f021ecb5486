"""One example of each event that receivers get, written by what writes the real ones."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from calotype.error.v1 import error_pb2
from calotype.job.v1 import job_pb2

from services.notifier.adapters.job_json import JobJson
from services.notifier.application import payloads
from services.notifier.domain import events
from services.notifier.domain import health as health_rules
from services.notifier.domain.attempts import AttemptError
from services.notifier.domain.endpoints import Endpoint
from services.notifier.domain.health import DisabledReason, EndpointHealth

ROOT = "https://images.example"
_AT = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
_JOB_ID = "job_0193a6b0c1d27e6f8a9b0c1d2e3f4a5b"
_RENDER = JobJson(ROOT, now=lambda: _AT + timedelta(minutes=1))


@dataclass(frozen=True, kw_only=True)
class Example:
    """An event."""

    #: Its type.
    type: str
    #: When it is sent.
    meaning: str
    #: Body of the request.
    body: bytes


def _job(**fields: object) -> job_pb2.Job:
    """A job that ended without images."""
    job = job_pb2.Job(id=_JOB_ID, tenant="acme", attempt_count=1, sequence=5, provider="replicate", image_count=1)
    job.model = "black-forest-labs/flux-schnell"
    job.request.CopyFrom(job_pb2.JobRequest(prompt="A harbour at dawn", n=1, metadata={"order": "1042"}))
    job.metadata["order"] = "1042"
    job.cost.CopyFrom(job_pb2.Cost(currency="USD", complete=True, amount_micros=3_000))
    for name, seconds in (("created_at", 0), ("started_at", 1), ("updated_at", 4), ("completed_at", 4)):
        getattr(job, name).FromDatetime(_AT + timedelta(seconds=seconds))
    job.MergeFrom(job_pb2.Job(**fields))  # type: ignore[arg-type]
    return job


def _completed() -> job_pb2.Job:
    job = _job(status=job_pb2.STATUS_COMPLETED)
    artifact = job.artifacts.add(id="img_0193a6b0d3e47f708b9c0d1e2f3a4b5c")
    artifact.url = f"https://pictures.example/jobs/{_JOB_ID}/0-9f86d081884c7d65.webp"
    image = artifact.image
    image.content_type, image.width, image.height, image.size_bytes = "image/webp", 1024, 1024, 183_204
    image.sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
    image.blurhash, image.seed = "LEHV6nWB2yk8pyo0adR*.7kCMdnj", 7
    return job


def _failed() -> job_pb2.Job:
    failure = error_pb2.Failure(
        stage=error_pb2.STAGE_GENERATING,
        code=error_pb2.CODE_PERMANENT,
        reason=error_pb2.REASON_CONTENT_POLICY,
        message="The provider refused the prompt, an input or the result.",
    )
    return _job(status=job_pb2.STATUS_FAILED, failure=failure)


def _canceled(**fields: object) -> job_pb2.Job:
    return _job(status=job_pb2.STATUS_CANCELED, **fields)


def _of_job(event_type: str, meaning: str, job: job_pb2.Job) -> Example:
    at = job.updated_at.ToDatetime(tzinfo=UTC)
    return Example(type=event_type, meaning=meaning, body=payloads.body(event_type, at, _RENDER(job)))


def _endpoint(health: EndpointHealth) -> Endpoint:
    return Endpoint(
        id=UUID("0193a6b0-e4f5-7081-9293-94959697989a"),
        tenant="acme",
        url="https://shop.example/hook",
        description="orders",
        health=health,
        created_at=_AT,
        updated_at=_AT,
    )


def _of_endpoint(event_type: str, meaning: str, health: EndpointHealth) -> Example:
    data = payloads.notice_data(_endpoint(health))
    return Example(type=event_type, meaning=meaning, body=payloads.body(event_type, _AT, data))


def _examples() -> tuple[Example, ...]:
    pending, confirmed = job_pb2.PROVIDER_CANCEL_PENDING, job_pb2.PROVIDER_CANCEL_CONFIRMED
    open_cost = job_pb2.Cost(currency="USD", complete=False)
    canceled = _canceled(provider_cancel=pending)
    canceled.cost.CopyFrom(open_cost)
    settled = _canceled(provider_cancel=confirmed, sequence=6)
    settled.updated_at.FromDatetime(_AT + timedelta(seconds=9))
    failing = EndpointHealth(
        failing_since=_AT - timedelta(minutes=36), openings=1, blocked_until=_AT + timedelta(seconds=30),
        last_error=AttemptError.STATUS, last_status=500,
    )  # fmt: skip
    disabled = health_rules.disable(failing, DisabledReason.FAILING, _AT)
    test = payloads.test_data(_endpoint(EndpointHealth()))
    return (
        _of_job(events.COMPLETED, "the job has its images.", _completed()),
        _of_job(events.FAILED, "the job ended without images; `error` says why. A retry may end it again.", _failed()),
        _of_job(events.CANCELED, "somebody canceled the job.", canceled),
        _of_job(
            events.SETTLED,
            "what became of an open provider call after the job's end is known, and so are `cost` and "
            "`provider_cancel`. The status stays.",
            settled,
        ),
        _of_endpoint(events.DEGRADED, "another endpoint of yours keeps failing, and gets only probes.", failing),
        _of_endpoint(events.RECOVERED, "a degraded endpoint works again.", EndpointHealth()),
        _of_endpoint(events.DISABLED, "an endpoint was disabled, and gets nothing until you enable it.", disabled),
        Example(
            type=events.TEST,
            meaning="you called `test`. No endpoint can subscribe to it.",
            body=payloads.body(events.TEST, _AT, test),
        ),
    )


EXAMPLES = _examples()
