"""The client for threads, against a service that the test plays."""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import grpc
import grpc_testing
import pytest
from calotype.client import (
    CalotypeError,
    ConsentRequired,
    DeadlineExceeded,
    IdempotencyKeyReused,
    InvalidRequest,
    JobClient,
    JobDeleted,
    JobNotFound,
    NotAllowed,
    Unavailable,
    WrongState,
)
from calotype.job.v1 import job_pb2, job_service_pb2

from common.errors import FieldViolation, ServiceError, to_status

SERVICE = job_service_pb2.DESCRIPTOR.services_by_name["JobService"]
Ask = job_service_pb2


class Service:
    """Answers what the client asks, one request after the other."""

    def __init__(self) -> None:
        self.channel = grpc_testing.channel([SERVICE], grpc_testing.strict_real_time())

    def does(self, work: Callable[[], Any]) -> Future[Any]:
        """Let the client work beside the test."""
        result: Future[Any] = Future()

        def run() -> None:
            try:
                result.set_result(work())
            except Exception as error:  # noqa: BLE001 - the test sees it in the result
                result.set_exception(error)

        # A daemon: a client that waits for an answer of a test that failed does not keep the run from ending.
        threading.Thread(target=run, daemon=True).start()
        return result

    def take(self, method: str) -> tuple[Any, Any]:
        """The next request of a method, and its call."""
        metadata, request, call = self.channel.take_unary_unary(SERVICE.methods_by_name[method])
        call.send_initial_metadata(())
        self.metadata = dict(metadata)
        return request, call

    def take_watch(self) -> tuple[Any, Any]:
        """The next stream that is asked for."""
        _, request, call = self.channel.take_unary_stream(SERVICE.methods_by_name["WatchJob"])
        call.send_initial_metadata(())
        return request, call


@pytest.fixture
def service() -> Service:
    """A service that answers nothing by itself."""
    return Service()


@pytest.fixture
def jobs(service: Service) -> JobClient:
    """Its client."""
    return JobClient(service.channel, tenant="acme", token="secret")


def ok(call: Any, answer: Any) -> None:
    """Answer well."""
    call.terminate(answer, (), grpc.StatusCode.OK, "")


def no(call: Any, error: ServiceError, *, is_stream: bool = False) -> None:
    """Say no as a service does."""
    details = (("grpc-status-details-bin", to_status(error).SerializeToString()),)
    if is_stream:
        call.terminate(details, error.status, error.message)
    else:
        call.terminate(None, details, error.status, error.message)


def refusal(status: str, reason: str, **more: Any) -> ServiceError:
    """A no."""
    return ServiceError(status=grpc.StatusCode[status], reason=reason, message="No.", **more)


AWAY = refusal("UNAVAILABLE", "SERVICE_UNAVAILABLE")


def test_a_prompt_is_a_request_with_a_key_of_its_own(service: Service, jobs: JobClient) -> None:
    working = service.does(lambda: [jobs.create("a harbour"), jobs.create("a harbour")])
    keys = set()
    for number in range(2):
        request, call = service.take("CreateJob")
        keys.add(request.idempotency_key)
        assert (request.tenant, request.request.prompt) == ("acme", "a harbour")
        assert service.metadata["authorization"] == "Bearer secret"
        ok(call, Ask.CreateJobResponse(job=job_pb2.Job(id=f"job_{number}")))

    assert [job.id for job in working.result(5)] == ["job_0", "job_1"]
    assert len(keys) == 2


def test_a_submission_is_repeated_under_the_same_key_while_the_service_is_away(
    service: Service, jobs: JobClient
) -> None:
    working = service.does(lambda: jobs.create("a harbour"))
    first, call = service.take("CreateJob")
    no(call, AWAY)
    second, call = service.take("CreateJob")
    ok(call, Ask.CreateJobResponse(job=job_pb2.Job(id="job_1"), replayed=True))

    assert working.result(5).id == "job_1"
    assert first.idempotency_key == second.idempotency_key != ""


def test_who_is_away_for_long_is_told_as_away(service: Service, jobs: JobClient) -> None:
    working = service.does(lambda: jobs.get("job_1"))
    for _ in range(4):
        _, call = service.take("GetJob")
        no(call, AWAY)

    with pytest.raises(Unavailable) as away:
        working.result(5)
    assert away.value.attempts == 4


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (refusal("NOT_FOUND", "JOB_NOT_FOUND"), JobNotFound),
        (refusal("INVALID_ARGUMENT", "INVALID_INPUT"), InvalidRequest),
        (refusal("INVALID_ARGUMENT", "IDEMPOTENCY_KEY_REUSED"), IdempotencyKeyReused),
        (refusal("FAILED_PRECONDITION", "WRONG_STATE"), WrongState),
        (refusal("ABORTED", "SEQUENCE_CHANGED"), WrongState),
        (refusal("FAILED_PRECONDITION", "CONSENT_REQUIRED"), ConsentRequired),
        (refusal("FAILED_PRECONDITION", "JOB_DELETED"), JobDeleted),
        (refusal("UNAUTHENTICATED", "UNAUTHENTICATED"), NotAllowed),
    ],
)
def test_a_no_is_of_a_kind_and_is_not_asked_for_twice(
    service: Service, jobs: JobClient, error: ServiceError, kind: type[CalotypeError]
) -> None:
    working = service.does(lambda: jobs.retry("job_1"))
    _, call = service.take("RetryJob")
    no(call, error)

    with pytest.raises(kind) as told:
        working.result(5)
    assert type(told.value) is kind
    assert (str(told.value), told.value.reason) == ("No.", error.reason)


def test_a_no_tells_the_fields_and_the_job_and_when_to_come_again(service: Service, jobs: JobClient) -> None:
    error = refusal(
        "FAILED_PRECONDITION",
        "WRONG_STATE",
        retry_after_seconds=2.5,
        field_violations=(FieldViolation(field="n", description="too many"),),
        detail=job_pb2.Job(id="job_1", sequence=7),
    )
    working = service.does(lambda: jobs.cancel("job_1"))
    _, call = service.take("CancelJob")
    no(call, error)

    with pytest.raises(WrongState) as told:
        working.result(5)
    assert (told.value.fields, told.value.retry_after_seconds) == ({"n": "too many"}, 2.5)
    assert told.value.job is not None
    assert told.value.job.sequence == 7


def test_a_transport_that_fails_says_nothing_of_its_addresses(service: Service, jobs: JobClient) -> None:
    working = service.does(lambda: jobs.get("job_1"))
    _, call = service.take("GetJob")
    call.terminate(None, (), grpc.StatusCode.INTERNAL, "ipv4:10.0.0.7:1234 broke")

    with pytest.raises(Exception, match=r"^The service answered INTERNAL\.$"):
        working.result(5)


def test_pages_are_fetched_as_they_are_needed(service: Service, jobs: JobClient) -> None:
    filters = Ask.ListJobsRequest(provider="flux", page_size=1)
    working = service.does(lambda: [job.id for job in jobs.jobs(filters)])
    tokens = []
    for number, following in enumerate(["next", ""]):
        request, call = service.take("ListJobs")
        tokens.append(request.page_token)
        assert (request.tenant, request.provider) == ("acme", "flux")
        ok(call, Ask.ListJobsResponse(jobs=[job_pb2.Job(id=f"job_{number}")], next_page_token=following))

    assert working.result(5) == ["job_0", "job_1"]
    assert tokens == ["", "next"]
    assert filters.page_token == ""


def test_a_deletion_whose_answer_was_lost_is_done(service: Service, jobs: JobClient) -> None:
    working = service.does(lambda: jobs.delete("job_1"))
    _, call = service.take("DeleteJob")
    no(call, AWAY)
    _, call = service.take("DeleteJob")
    no(call, refusal("NOT_FOUND", "JOB_NOT_FOUND"))
    working.result(5)

    working = service.does(lambda: jobs.delete("job_2"))
    _, call = service.take("DeleteJob")
    no(call, refusal("NOT_FOUND", "JOB_NOT_FOUND"))
    with pytest.raises(JobNotFound):
        working.result(5)


def test_a_stream_that_breaks_goes_on_where_it_was(service: Service, jobs: JobClient) -> None:
    seen: queue.Queue[Any] = queue.Queue()

    def watch() -> None:
        for update in jobs.watch("job_1"):
            seen.put(update)

    working = service.does(watch)
    request, call = service.take_watch()
    assert not request.HasField("after_sequence")
    call.send_response(Ask.WatchJobResponse(job=job_pb2.Job(sequence=3)))
    call.send_response(Ask.WatchJobResponse(progress=Ask.Progress(percent=40)))
    first, progress = [seen.get(timeout=5) for _ in range(2)]
    no(call, AWAY, is_stream=True)
    request, call = service.take_watch()
    assert request.after_sequence == 3
    call.send_response(Ask.WatchJobResponse(job=job_pb2.Job(sequence=4)))
    call.terminate((), grpc.StatusCode.OK, "")

    working.result(5)
    assert (first.sequence, progress.percent, seen.get(timeout=5).sequence) == (3, 40, 4)


def test_waiting_ends_with_the_whole_final_job(service: Service, jobs: JobClient) -> None:
    working = service.does(lambda: jobs.wait("job_1", timeout=20))
    _, call = service.take("GetJob")
    ok(call, Ask.GetJobResponse(job=job_pb2.Job(id="job_1", sequence=3, status=job_pb2.STATUS_QUEUED)))
    request, call = service.take_watch()
    assert request.after_sequence == 3
    call.send_response(Ask.WatchJobResponse(job=job_pb2.Job(sequence=4, status=job_pb2.STATUS_COMPLETED)))
    call.terminate((), grpc.StatusCode.OK, "")
    _, call = service.take("GetJob")
    ok(call, Ask.GetJobResponse(job=job_pb2.Job(id="job_1", sequence=4, status=job_pb2.STATUS_COMPLETED)))

    assert working.result(5).sequence == 4


def test_waiting_has_an_end(service: Service, jobs: JobClient) -> None:
    working = service.does(lambda: jobs.wait("job_1", timeout=0))
    _, call = service.take("GetJob")
    ok(call, Ask.GetJobResponse(job=job_pb2.Job(id="job_1", sequence=3, status=job_pb2.STATUS_QUEUED)))

    with pytest.raises(DeadlineExceeded, match=r"job_1 was not final after 0 s; it goes on") as late:
        working.result(5)
    assert isinstance(late.value, TimeoutError)
