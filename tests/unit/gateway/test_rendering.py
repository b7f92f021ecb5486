from dataclasses import replace
from datetime import timedelta
from typing import Any

from calotype.artifact.v1 import artifact_pb2
from calotype.error.v1 import error_pb2
from calotype.job.v1 import job_pb2

from gateway.views.job import Renderer
from tests.support.job_service.fake_job_service import NOON, FakeJobService, failure

RENDER = Renderer(root="https://api.example", now=NOON)


def _job(**fields: Any) -> job_pb2.Job:
    return FakeJobService().add(**fields)


def test_a_completed_job_shows_its_pictures() -> None:
    image = artifact_pb2.ImageArtifact(
        index=1,
        content_type="image/png",
        width=512,
        height=256,
        size_bytes=9,
        sha256="ab",
        blurhash="L0",
        seed=0,
        provenance=artifact_pb2.Provenance(provider="hidden"),
    )
    artifact = job_pb2.PublicArtifact(id="img_1", url="https://images.example/1.png", image=image)
    job = _job(status=job_pb2.STATUS_COMPLETED, artifacts=[artifact])
    job.completed_at.FromDatetime(NOON)
    shown = RENDER.job(job).model_dump(mode="json")
    assert shown["artifacts"] == [
        {
            "id": "img_1",
            "index": 1,
            "url": "https://images.example/1.png",
            "content_type": "image/png",
            "width": 512,
            "height": 256,
            "size_bytes": 9,
            "sha256": "ab",
            "blurhash": "L0",
            "seed": 0,
            "revised_prompt": None,
        }
    ]
    assert shown["completed_at"] == "2026-01-31T12:00:00.250000Z"
    assert (shown["display"]["key"], shown["display"]["poll_after_ms"]) == ("completed", None)


def test_a_failed_job_shows_stage_code_and_reason_without_prefix() -> None:
    told = failure("RATE_LIMIT", "PROVIDER_RATE_LIMIT", "GENERATING", retry_after_seconds=20)
    shown = RENDER.job(_job(status=job_pb2.STATUS_FAILED, failure=told)).model_dump(mode="json")
    assert (shown["status"], shown["failure_stage"]) == ("failed", "generating")
    assert shown["error"] == {
        "code": "RATE_LIMIT",
        "reason": "PROVIDER_RATE_LIMIT",
        "message": "It was away.",
        "retryable": True,
        "retry_after_seconds": 20.0,
        "docs_url": "https://api.example/problems/provider-rate-limit",
    }


def test_a_reason_of_a_newer_service_is_shown_as_unclassified() -> None:
    told = failure()
    told.reason = 9_999  # type: ignore[assignment]
    told.code = 77  # type: ignore[assignment]
    shown = RENDER.job(_job(status=job_pb2.STATUS_FAILED, failure=told))
    assert shown.error is not None
    assert (shown.error.reason, shown.error.code) == ("UNCLASSIFIED", "UNKNOWN")


def test_input_pictures_are_shown_as_digests_and_never_as_bytes() -> None:
    request = job_pb2.JobRequest(
        prompt="a",
        input_images=[
            job_pb2.InputImage(data=b"secret", sha256="ab", content_type="image/png", size_bytes=6),
            job_pb2.InputImage(url="https://a.example/x.png"),
        ],
    )
    shown = RENDER.job(_job(request=request)).model_dump(mode="json")["request"]["input_images"]
    assert shown == [
        {"url": None, "sha256": "ab", "content_type": "image/png", "size_bytes": 6},
        {"url": "https://a.example/x.png", "sha256": None, "content_type": None, "size_bytes": None},
    ]


def test_a_cost_of_nothing_is_not_an_unknown_cost() -> None:
    free = RENDER.job(_job(cost=job_pb2.Cost(amount_micros=0, currency="USD", complete=True)))
    assert free.cost.amount_micros == 0
    assert RENDER.job(_job()).cost.amount_micros is None


def test_warnings_name_the_picture_that_they_are_about() -> None:
    one = job_pb2.Warning(reason=error_pb2.REASON_CONTENT_POLICY, message="Refused.", image_index=0)
    shown = RENDER.job(_job(warnings=[one])).warnings
    assert [(warning.reason, warning.image_index) for warning in shown] == [("CONTENT_POLICY", 0)]


def test_a_retried_job_is_young_again() -> None:
    job = _job(retry_count=1)
    job.created_at.FromDatetime(NOON - timedelta(days=1))
    assert RENDER.job(job).display.poll_after_ms == 1000


def test_a_clock_that_is_behind_the_services_does_no_harm() -> None:
    job = _job()
    job.created_at.FromDatetime(NOON + timedelta(minutes=5))
    assert RENDER.job(job).display.poll_after_ms == 1000


def test_a_job_has_the_address_of_its_trace_where_there_is_one() -> None:
    job = _job()
    job.trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    traced = replace(RENDER, trace_url="https://traces.example/{trace_id}?tab=all")
    job_without_trace = _job()
    job_without_trace.trace_id = ""

    assert traced.job(job).links.trace == f"https://traces.example/{job.trace_id}?tab=all"
    assert (traced.job(job_without_trace).links.trace, RENDER.job(job).links.trace) == (None, None)
