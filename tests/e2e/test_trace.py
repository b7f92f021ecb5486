"""One job, one trace: from the HTTP request through every service."""

from tests.support.patience import PATIENCE
from tests.support.servers.otlp_collector import Collector
from tests.support.stacks.stack_clients import Client

NEEDED = {
    ("calotype-gateway", "POST /v1/jobs"),
    ("calotype-job", "calotype.job.v1.JobService/CreateJob"),
    ("calotype-generator", "generate images"),
    ("calotype-generator", "provider call"),
    ("calotype-generator", "stage image"),
    ("calotype-uploader", "upload images"),
}
SERVICES = {"calotype-gateway", "calotype-job", "calotype-generator", "calotype-uploader"}


def test_all_services_tell_of_a_job_in_one_trace(client: Client, spans: Collector) -> None:
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    submitted = client.http.post(
        "/v1/jobs",
        json={"prompt": "a thread through a labyrinth", "size": "128x128"},
        headers={"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01"},
    ).json()
    job = client.follow(submitted["id"])
    seen = spans.wait_for(NEEDED, trace_id=trace_id, seconds=PATIENCE)

    assert job["status"] == "completed"
    assert {(span.service, span.name) for span in seen} >= NEEDED
    assert {span.service for span in seen} == SERVICES
    assert not [span for span in seen if span.is_error]
