"""One job, one trace: from the HTTP request through every service, as the registry declares it."""

from collections.abc import Sequence
from typing import Any

from tests.support.patience import PATIENCE
from tests.support.servers.otlp_collector import Collector, SeenSpan
from tests.support.stacks.stack_clients import Client

CREATE = "calotype.job.v1.JobService/CreateJob"
EVENT = "send calotype.event.<tenant>.<job>"
FACT = "process calotype.fact.>"
PARENT_ID = "00f067aa0ba902b7"
#: Each span of a job that succeeds with its parent, by services and names.
TREE = {
    ("gateway", "POST /v1/jobs"): (PARENT_ID,),
    ("gateway", CREATE): ("gateway", "POST /v1/jobs"),
    ("job", CREATE): ("gateway", CREATE),
    ("job", EVENT): ("job", CREATE),
    ("generator", "generate images"): ("job", CREATE),
    ("generator", "stage image"): ("generator", "generate images"),
    ("generator", "send calotype.fact.generation.images_generated"): ("generator", "generate images"),
    ("uploader", "upload images"): ("job", CREATE),
    ("uploader", "send calotype.fact.upload.images_stored"): ("uploader", "upload images"),
}


def submit(client: Client, trace_id: str, **fields: Any) -> dict[str, Any]:
    answer = client.http.post(
        "/v1/jobs",
        json={"prompt": "a thread through a labyrinth", "size": "128x128"} | fields,
        headers={"traceparent": f"00-{trace_id}-{PARENT_ID}-01"},
    )
    submitted: dict[str, Any] = answer.json()
    return submitted


def names(spans: Sequence[SeenSpan]) -> dict[str, tuple[str, str]]:
    return {span.span_id: (span.service.removeprefix("calotype-"), span.name) for span in spans}


def wait_for(spans: Collector, trace_id: str, *named: tuple[str, str]) -> list[SeenSpan]:
    wanted = {(f"calotype-{service}", name) for service, name in named}
    found = spans.wait_for(wanted, trace_id=trace_id, seconds=PATIENCE)
    assert wanted <= {(span.service, span.name) for span in found}
    return found


def test_a_job_that_succeeds_is_one_tree(client: Client, spans: Collector) -> None:
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    job = client.follow(submit(client, trace_id)["id"])
    tree = TREE | {("generator", f"image_generation {job['model']}"): ("generator", "generate images")}
    seen = wait_for(spans, trace_id, *tree, ("job", FACT))
    by_id = names(seen)

    assert job["status"] == "completed"
    for span in seen:
        if (wanted := tree.get(by_id[span.span_id])) is not None:
            assert by_id.get(span.parent_id, (span.parent_id,)) == wanted, span
    processed = {by_id[span.parent_id] for span in seen if span.name == FACT}
    assert processed >= {
        ("generator", "send calotype.fact.generation.images_generated"),
        ("uploader", "send calotype.fact.upload.images_stored"),
    }
    assert [span for span in seen if span.is_error] == []
    assert not spans.hold("labyrinth")
    assert spans.violations == []


def test_a_job_that_fails_at_its_provider_is_retried_and_canceled_in_its_one_trace(
    client: Client, spans: Collector
) -> None:
    trace_id = "5bf92f3577b34da6a3ce929d0e0e4736"
    fields = {"provider": "strict", "model": "m", "size": "1024x1024"}
    job = client.follow(submit(client, trace_id, **fields)["id"])
    seen = wait_for(spans, trace_id, ("generator", "generate images"), ("generator", "image_generation m"))
    failed = {span.name: span.attributes["error.type"] for span in seen if span.is_error}

    assert job["status"] == "failed"
    assert failed == dict.fromkeys(("generate images", "image_generation m"), job["error"]["reason"])

    # The request that retries the job has another trace: both link to each other.
    other = "6bf92f3577b34da6a3ce929d0e0e4736"
    client.http.post(f"/v1/jobs/{job['id']}/retry", headers={"traceparent": f"00-{other}-{PARENT_ID}-01"})
    retried = wait_for(spans, trace_id, ("job", "job.retried"))
    rpc = ("job", "calotype.job.v1.JobService/RetryJob")
    [request] = [span for span in wait_for(spans, other, rpc) if names([span])[span.span_id] == rpc]
    [action] = [span for span in retried if span.name == "job.retried"]

    assert action.links == [(other, request.span_id)]
    assert request.links == [(trace_id, action.span_id)]
    assert names(retried)[action.parent_id] == ("job", CREATE)
    assert spans.violations == []
