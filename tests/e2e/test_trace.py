"""One job, one trace: the whole tree of its spans, from the HTTP request through every service, however the job goes.

`tests/support/monitoring/span_trees.py` says how a tree is written. The collector refuses a span that the registry does
not declare, with its kind and attributes.
"""

import asyncio
import textwrap
import threading
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from cli.stack.state import StackState, read_state
from tests.support.monitoring.span_trees import expect_tree
from tests.support.notifier.scripted_receiver import ERROR, OK, scripted
from tests.support.patience import PATIENCE
from tests.support.providers.paid_provider import Books
from tests.support.servers.otlp_collector import Collector, SeenSpan
from tests.support.stacks import storage_faults
from tests.support.stacks.frozen_servers import frozen
from tests.support.stacks.killed_servers import kill
from tests.support.stacks.stack_clients import Client, expire_lease

PARENT_ID = "00f067aa0ba902b7"
CREATED = """
gateway server POST /v1/jobs 202
    gateway client JobService/CreateJob OK
        job server JobService/CreateJob OK
"""
#: A job of one image that is made without a fault until it is staged.
GENERATED = """
generator generate images claim=1
    generator client WorkerService/BeginProviderCall OK
        job server WorkerService/BeginProviderCall OK
    generator client image_generation procedural provider=procedural phase=succeeded
    generator stage image image=0
    generator producer send calotype.fact.generation.images_generated
        job consumer process calotype.fact.>
"""
#: A paid call that the provider accepts, and refuses later.
REFUSED = """
generator generate images claim={claim} stage=GENERATING ERROR=CONTENT_POLICY
    generator client WorkerService/BeginProviderCall OK
        job server WorkerService/BeginProviderCall OK
    generator client image_generation test/model provider=paid phase=refused ERROR=CONTENT_POLICY
        generator client WorkerService/RecordOperation OK
            job server WorkerService/RecordOperation OK
    generator producer send calotype.fact.generation.stage_failed
        job consumer process calotype.fact.>
"""
UPLOADED = """
uploader upload images claim={claim}
    uploader producer send calotype.fact.upload.images_stored
        job consumer process calotype.fact.>
"""
EVENTS = "\n{count} x job producer send calotype.event.<tenant>.<job>\n"


@dataclass(frozen=True, kw_only=True)
class Traced:
    """A submitted job and its trace."""

    #: Id of the job.
    id: str
    #: Trace that the client began.
    trace_id: str


@dataclass(frozen=True)
class TracingClient:
    """A frontend that traces its requests, and sees the spans."""

    client: Client
    spans: Collector

    def submit(self, prompt: str, **fields: Any) -> Traced:
        """Submits a job within a new trace."""
        trace_id = uuid4().hex
        response = self.client.http.post("/v1/jobs", json={"prompt": prompt} | fields, headers=traceparent(trace_id))
        assert response.status_code == 202, response.text
        return Traced(id=response.json()["id"], trace_id=trace_id)

    def act(self, job: Traced, action: str) -> str:
        """Cancels or retries a job within a new trace, whose id is returned."""
        trace_id = uuid4().hex
        response = self.client.http.post(f"/v1/jobs/{job.id}/{action}", headers=traceparent(trace_id))
        assert response.status_code in (200, 202), response.text
        return trace_id

    def end(self, job: Traced) -> tuple[str, str | None]:
        """Waits for the end of a job; returns its status, and the reason of its failure."""
        found = self.client.follow(job.id)
        return found["status"], found["error"] and found["error"]["reason"]

    def expect(self, job: Traced, *below: str, orphans: str = "") -> list[SeenSpan]:
        """Waits until the trace is that of the request with these subtrees below the span that created the job.

        `orphans` have parents that were never sent.
        """
        return expect_tree(self.spans, job.trace_id, job_tree(*below, orphans=orphans))


def job_tree(*below: str, orphans: str = "") -> str:
    """Returns the tree of a job, with these subtrees below the span that created it."""
    subtrees = "".join(textwrap.indent(textwrap.dedent(text).strip("\n"), " " * 12) + "\n" for text in below)
    return f"{CREATED.strip()}\n{subtrees}{textwrap.dedent(orphans).strip()}"


def traceparent(trace_id: str) -> dict[str, str]:
    return {"traceparent": f"00-{trace_id}-{PARENT_ID}-01"}


@pytest.fixture
def tracing(client: Client, spans: Collector) -> TracingClient:
    return TracingClient(client, spans)


@pytest.fixture
def folder(server_folder: Path) -> Path:
    return server_folder / "stack"


def test_a_job_that_succeeds(tracing: TracingClient, spans: Collector) -> None:
    job = tracing.submit("two threads through a labyrinth", size="128x128", n=2)

    assert tracing.end(job) == ("completed", None)
    seen = tracing.expect(
        job,
        EVENTS.format(count=7),
        """
        generator generate images claim=1
            2 x generator client WorkerService/BeginProviderCall OK
                job server WorkerService/BeginProviderCall OK
            2 x generator client image_generation procedural provider=procedural phase=succeeded
            generator stage image image=0
            generator stage image image=1
            generator producer send calotype.fact.generation.images_generated
                job consumer process calotype.fact.>
        """,
        UPLOADED.format(claim=2),
    )
    assert {span.parent_id for span in seen if span.name == "POST /v1/jobs"} == {PARENT_ID}
    assert {span.attributes["calotype.image.count"] for span in seen if span.name == "upload images"} == {2}
    assert not spans.hold("labyrinth")


def test_a_job_whose_provider_refuses_it_and_that_its_user_retries(tracing: TracingClient, spans: Collector) -> None:
    job = tracing.submit("refused", provider="paid")

    assert tracing.end(job) == ("failed", "CONTENT_POLICY")
    tracing.expect(job, EVENTS.format(count=4), REFUSED.format(claim=1))

    # The request has a trace of its own: its span and that of the retry link to each other.
    request = tracing.act(job, "retry")
    assert tracing.end(job) == ("failed", "CONTENT_POLICY")
    tracing.expect(
        job,
        EVENTS.format(count=8),
        REFUSED.format(claim=1),
        "job job.retried transition=job.retried link=JobService/RetryJob",
        REFUSED.format(claim=2),
    )
    expect_tree(
        spans,
        request,
        """
        gateway server POST /v1/jobs/{job_id}/retry 202
            gateway client JobService/RetryJob OK
                job server JobService/RetryJob OK link=job.retried
        """,
    )


def test_a_job_whose_input_image_cannot_be_read(tracing: TracingClient) -> None:
    job = tracing.submit("a red boat", provider="edits", input_images=[{"url": "https://169.254.169.254/a.png"}])

    assert tracing.end(job) == ("failed", "FORBIDDEN_ADDRESS")
    tracing.expect(
        job,
        EVENTS.format(count=3),
        """
        generator generate images claim=1 stage=PROCESSING ERROR=FORBIDDEN_ADDRESS
            generator producer send calotype.fact.generation.stage_failed
                job consumer process calotype.fact.>
        """,
    )


def test_a_job_whose_image_cannot_be_staged(tracing: TracingClient) -> None:
    job = tracing.submit("private", provider="paid")

    assert tracing.end(job) == ("failed", "FORBIDDEN_ADDRESS")
    tracing.expect(
        job,
        EVENTS.format(count=4),
        """
        generator generate images claim=1 stage=GENERATING ERROR=FORBIDDEN_ADDRESS
            generator client WorkerService/BeginProviderCall OK
                job server WorkerService/BeginProviderCall OK
            generator client image_generation test/model provider=paid phase=succeeded
                generator client WorkerService/RecordOperation OK
                    job server WorkerService/RecordOperation OK
            generator stage image image=0 ERROR=FORBIDDEN_ADDRESS
            generator producer send calotype.fact.generation.stage_failed
                job consumer process calotype.fact.>
        """,
    )


def test_jobs_whose_images_the_store_refuses_and_a_retry_that_uploads_them(
    tracing: TracingClient, folder: Path
) -> None:
    with ExitStack() as storage:
        with frozen(folder, "uploader"):
            uploading = tracing.submit("a refused copy", size="64x64")
            tracing.client.follow(uploading.id, until=("uploading",))
            storage.enter_context(storage_faults.refusing_writes(folder))
        staging = tracing.submit("a refused image", size="64x64")
        ends = [tracing.end(job) for job in (staging, uploading)]
    tracing.act(uploading, "retry")

    assert ends == [("failed", "STORAGE_DENIED")] * 2
    tracing.expect(
        staging,
        EVENTS.format(count=4),
        """
        generator generate images claim=1 stage=GENERATING ERROR=STORAGE_DENIED
            generator client WorkerService/BeginProviderCall OK
                job server WorkerService/BeginProviderCall OK
            generator client image_generation procedural provider=procedural phase=succeeded
            generator stage image image=0 ERROR=STORAGE_DENIED
            generator producer send calotype.fact.generation.stage_failed
                job consumer process calotype.fact.>
        """,
    )
    assert tracing.end(uploading) == ("completed", None)
    tracing.expect(
        uploading,
        EVENTS.format(count=9),
        GENERATED,
        """
        uploader upload images claim=2 stage=UPLOADING ERROR=STORAGE_DENIED
            uploader producer send calotype.fact.upload.stage_failed
                job consumer process calotype.fact.>
        """,
        "job job.retried transition=job.retried link=JobService/RetryJob",
        UPLOADED.format(claim=3),
    )


def test_jobs_that_end_in_the_queue(tracing: TracingClient, spans: Collector, folder: Path) -> None:
    with frozen(folder, "generator"):
        late = tracing.submit("in a hurry", size="64x64", start_within_seconds=1)
        canceled = tracing.submit("not wanted", size="64x64")
        request = tracing.act(canceled, "cancel")
        # It changes nothing more.
        repetition = tracing.act(canceled, "cancel")
        ends = [tracing.end(job) for job in (late, canceled)]

    assert ends == [("failed", "DEADLINE_EXCEEDED"), ("canceled", None)]
    tracing.expect(
        late,
        EVENTS.format(count=2),
        "job rescue job claim=0 transition=job.failed stage=QUEUED ERROR=DEADLINE_EXCEEDED",
    )
    tracing.expect(
        canceled,
        EVENTS.format(count=2),
        "job job.canceled transition=job.canceled link=JobService/CancelJob",
    )
    for trace_id, link in ((request, " link=job.canceled"), (repetition, "")):
        expect_tree(
            spans,
            trace_id,
            f"""
            gateway server POST /v1/jobs/{{job_id}}/cancel 200
                gateway client JobService/CancelJob OK
                    job server JobService/CancelJob OK{link}
            """,
        )


def test_a_job_that_is_canceled_while_its_provider_works(
    tracing: TracingClient, spans: Collector, books: Books
) -> None:
    books.finish.clear()
    job = tracing.submit("slow, and not wanted", provider="paid")
    tracing.client.wait_for_call(job.id, phase="accepted")
    tracing.act(job, "cancel")

    assert tracing.end(job) == ("canceled", None)
    settled = """
        generator settle call phase=canceled
            generator producer send calotype.fact.generation.call_settled
                job consumer process calotype.fact.>
        """
    action = "job job.canceled transition=job.canceled link=JobService/CancelJob"
    claim = """
        generator generate images claim=1 interrupted
            generator client WorkerService/BeginProviderCall OK
                job server WorkerService/BeginProviderCall OK
            generator client image_generation test/model provider=paid{phase} interrupted
                generator client WorkerService/RecordOperation OK
                    job server WorkerService/RecordOperation OK
        """
    reported = """
            generator producer send calotype.fact.generation.ledger_settled
                job consumer process calotype.fact.>
        """
    expect_tree(
        spans,
        job.trace_id,
        job_tree(EVENTS.format(count=5), claim.format(phase=" phase=canceled").rstrip() + reported, action, settled),
        # The generator may learn of it by a renewal before the provider has stopped.
        job_tree(EVENTS.format(count=5), claim.format(phase=""), action, settled),
    )


def test_a_job_that_falls_back_to_another_provider(tracing: TracingClient) -> None:
    fallback = {"fallback": ["paid"], "fallback_on_refusal": True}
    job = tracing.submit("good, and not everywhere", provider="strict", model="m", **fallback)

    assert tracing.end(job) == ("completed", None)
    tracing.expect(
        job,
        EVENTS.format(count=7),
        """
        generator generate images claim=1
            2 x generator client WorkerService/BeginProviderCall OK
                job server WorkerService/BeginProviderCall OK
            generator client image_generation m provider=strict phase=refused ERROR=CONTENT_POLICY
            generator client image_generation test/model provider=paid phase=succeeded
                generator client WorkerService/RecordOperation OK
                    job server WorkerService/RecordOperation OK
            generator stage image image=0
            generator producer send calotype.fact.generation.images_generated
                job consumer process calotype.fact.>
        """,
        UPLOADED.format(claim=2),
    )


def test_a_job_whose_generator_is_killed_in_a_provider_call(
    tracing: TracingClient, books: Books, stack: StackState, folder: Path
) -> None:
    books.finish.clear()
    job = tracing.submit("slow, and followed by another", provider="paid")
    tracing.client.wait_for_call(job.id, phase="accepted")
    sent = ("calotype-generator", "calotype.job.v1.WorkerService/RecordOperation")
    tracing.spans.wait_for({sent}, trace_id=job.trace_id, seconds=PATIENCE)
    current = read_state(folder)
    assert current is not None
    kill(current, "generator")
    expire_lease(stack.database_url, job.id)
    books.finish.set()

    assert tracing.end(job) == ("completed", None)
    tracing.expect(
        job,
        EVENTS.format(count=9),
        "job rescue job claim=1 transition=job.requeued",
        """
        generator generate images claim=2
            generator client WorkerService/BeginProviderCall OK
                job server WorkerService/BeginProviderCall OK
            generator client image_generation test/model provider=paid phase=succeeded
            generator stage image image=0
            generator producer send calotype.fact.generation.images_generated
                job consumer process calotype.fact.>
        """,
        UPLOADED.format(claim=3),
        # The spans that were open in the killed process, `generate images` and `image_generation`, are lost with it.
        orphans="""
        generator client WorkerService/BeginProviderCall OK
            job server WorkerService/BeginProviderCall OK
        generator client WorkerService/RecordOperation OK
            job server WorkerService/RecordOperation OK
        """,
    )


def test_a_job_whose_uploader_is_killed(tracing: TracingClient, stack: StackState, folder: Path) -> None:
    with ExitStack() as storage:
        with frozen(folder, "uploader"):
            job = tracing.submit("copied by another", size="64x64")
            tracing.client.follow(job.id, until=("uploading",))
            storage.enter_context(frozen(folder, "storage"))
        wait_for_upload(tracing.client, job)
        current = read_state(folder)
        assert current is not None
        kill(current, "uploader")
    expire_lease(stack.database_url, job.id)

    assert tracing.end(job) == ("completed", None)
    tracing.expect(
        job,
        EVENTS.format(count=8),
        GENERATED,
        "job rescue job claim=2 transition=job.upload_requeued",
        UPLOADED.format(claim=3),
    )


def wait_for_upload(client: Client, job: Traced) -> None:
    """Waits until an uploader has claimed a job."""
    for _ in range(int(PATIENCE / 0.1)):
        attempts = client.http.get(f"/v1/jobs/{job.id}/attempts").json()["attempts"]
        if any(attempt["stage"] == "uploading" for attempt in attempts):
            return
        threading.Event().wait(0.1)
    raise AssertionError("no uploader claims the job")


async def test_a_webhook_that_fails_and_is_delivered_then(tracing: TracingClient) -> None:
    async with scripted(ERROR, OK) as receiver:
        job = await asyncio.to_thread(tracing.submit, "of interest", size="64x64", callback_url=receiver.url)
        # The second request comes five seconds later.
        received = [await receiver.next() for _ in range(2)]
        seen = await asyncio.to_thread(
            tracing.expect,
            job,
            EVENTS.format(count=6),
            GENERATED,
            UPLOADED.format(claim=2),
            """
            notifier deliver webhook event=job.completed ERROR=status
                notifier client POST 500 event=job.completed ERROR=500
            notifier deliver webhook event=job.completed
                notifier client POST 204 event=job.completed
            """,
        )

    # The receiver can continue the trace.
    posts = [f"00-{job.trace_id}-{span.span_id}-01" for span in seen if span.name == "POST"]
    assert sorted(posts) == sorted(request.headers["traceparent"] for request in received)
