"""The client for threads, against a service that the test plays."""

import pickle
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import grpc
import grpc_testing
import pytest
from calotype.client import (
    BudgetExhausted,
    CalotypeError,
    ConsentRequired,
    DeadlineExceeded,
    IdempotencyKeyReused,
    InvalidRequest,
    JobClient,
    JobDeleted,
    JobNotFound,
    NotAllowed,
    NotFound,
    Unavailable,
    WrongState,
)
from calotype.error_reasons import Reason
from calotype.job.v1 import job_pb2, job_service_pb2

from common.errors import FieldViolation, ServiceError, to_status
from services.job.grpc_api.status_codes import STATUS
from tests.support.patience import PATIENCE

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
    return ServiceError(status=grpc.StatusCode[status], reason=Reason(reason), message="No.", **more)


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

    assert [job.id for job in working.result(PATIENCE)] == ["job_0", "job_1"]
    assert len(keys) == 2


@pytest.mark.parametrize("status", ["UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED"])
def test_a_submission_is_repeated_under_the_same_key_while_the_service_is_away(
    service: Service, jobs: JobClient, status: str
) -> None:
    working = service.does(lambda: jobs.create("a harbour"))
    first, call = service.take("CreateJob")
    call.terminate(None, (), grpc.StatusCode[status], "")
    second, call = service.take("CreateJob")
    ok(call, Ask.CreateJobResponse(job=job_pb2.Job(id="job_1"), replayed=True))

    assert working.result(PATIENCE).id == "job_1"
    assert first.idempotency_key == second.idempotency_key != ""


def test_who_is_away_for_long_is_told_as_away(service: Service, jobs: JobClient) -> None:
    working = service.does(lambda: jobs.get("job_1"))
    for _ in range(4):
        _, call = service.take("GetJob")
        no(call, AWAY)

    with pytest.raises(Unavailable) as away:
        working.result(PATIENCE)
    assert away.value.attempts == 4


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (refusal("RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", retry_after_seconds=60), Unavailable),
        (refusal("UNAVAILABLE", "SERVICE_UNAVAILABLE", retry_after_seconds=60), Unavailable),
        # What gRPC says by itself of a message that is too large, as what it sent has no reason.
        (refusal("RESOURCE_EXHAUSTED", ""), CalotypeError),
    ],
)
def test_what_does_not_pass_soon_is_not_asked_for_again(
    service: Service, jobs: JobClient, error: ServiceError, kind: type[CalotypeError]
) -> None:
    working = service.does(lambda: jobs.create("a harbour"))
    _, call = service.take("CreateJob")
    no(call, error)

    with pytest.raises(kind) as told:
        working.result(PATIENCE)
    assert (type(told.value), told.value.attempts) == (kind, 1)
    assert told.value.retry_after_seconds == error.retry_after_seconds


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
        (refusal("FAILED_PRECONDITION", "BUDGET_EXHAUSTED"), BudgetExhausted),
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
        working.result(PATIENCE)
    assert type(told.value) is kind
    assert (str(told.value), told.value.reason) == ("No.", error.reason)


def test_a_no_tells_the_fields_and_when_to_come_again(service: Service, jobs: JobClient) -> None:
    error = refusal(
        "FAILED_PRECONDITION",
        "WRONG_STATE",
        retry_after_seconds=2.5,
        field_violations=(FieldViolation(field="n", description="too many"),),
    )
    working = service.does(lambda: jobs.cancel("job_1"))
    _, call = service.take("CancelJob")
    no(call, error)

    with pytest.raises(WrongState) as told:
        working.result(PATIENCE)
    assert (told.value.fields, told.value.retry_after_seconds) == ({"n": "too many"}, 2.5)


@pytest.mark.parametrize(("reason", "status"), [*STATUS.items()])
def test_every_no_of_the_service_has_a_class(
    service: Service, jobs: JobClient, reason: str, status: grpc.StatusCode
) -> None:
    working = service.does(lambda: jobs.delete("job_1"))
    _, call = service.take("DeleteJob")
    no(call, refusal(status.name, reason, retry_after_seconds=60))

    error = working.exception(5)
    assert isinstance(error, CalotypeError)
    assert (error.reason, type(error) is CalotypeError) == (reason, reason == "LEASE_LOST")


def test_a_reason_that_is_newer_than_the_client_is_told_as_its_status(service: Service, jobs: JobClient) -> None:
    working = service.does(lambda: jobs.cancel("job_1"))
    _, call = service.take("CancelJob")
    no(call, refusal("FAILED_PRECONDITION", "MOON_IS_WRONG"))

    with pytest.raises(WrongState) as told:
        working.result(PATIENCE)
    assert told.value.reason == "MOON_IS_WRONG"


def test_details_that_are_none_are_no_error_of_their_own(service: Service, jobs: JobClient) -> None:
    working = service.does(lambda: jobs.get("job_1"))
    _, call = service.take("GetJob")
    call.terminate(None, (("grpc-status-details-bin", b"\xff\xff"),), grpc.StatusCode.NOT_FOUND, "")

    with pytest.raises(NotFound, match=r"^The service returned NOT_FOUND\.$"):
        working.result(PATIENCE)


@pytest.mark.parametrize("kind", [WrongState, DeadlineExceeded])
def test_errors_travel_between_processes(kind: type[CalotypeError]) -> None:
    error = kind("No.", status=grpc.StatusCode.ABORTED, reason=Reason.WRONG_STATE, fields={"n": "7"}, attempts=2)
    read = pickle.loads(pickle.dumps(error))

    assert (type(read), str(read), vars(read)) == (kind, "No.", vars(error))


def test_a_transport_that_fails_says_nothing_of_its_addresses(service: Service, jobs: JobClient) -> None:
    working = service.does(lambda: jobs.get("job_1"))
    _, call = service.take("GetJob")
    call.terminate(None, (), grpc.StatusCode.INTERNAL, "ipv4:10.0.0.7:1234 broke")

    with pytest.raises(Exception, match=r"^The service returned INTERNAL\.$"):
        working.result(PATIENCE)


def test_pages_are_fetched_as_they_are_needed(service: Service, jobs: JobClient) -> None:
    filters = Ask.ListJobsRequest(provider="flux", page_size=1)
    working = service.does(lambda: [job.id for job in jobs.jobs(filters)])
    tokens = []
    for ids, page_token in [(["job_0"], "next"), ([], "further"), (["job_1"], "")]:
        request, call = service.take("ListJobs")
        tokens.append(request.page_token)
        assert (request.tenant, request.provider) == ("acme", "flux")
        ok(call, Ask.ListJobsResponse(jobs=[job_pb2.Job(id=job_id) for job_id in ids], next_page_token=page_token))

    assert working.result(PATIENCE) == ["job_0", "job_1"]
    assert tokens == ["", "next", "further"]
    assert filters.page_token == ""


def test_a_deletion_whose_answer_was_lost_is_done(service: Service, jobs: JobClient) -> None:
    working = service.does(lambda: jobs.delete("job_1"))
    _, call = service.take("DeleteJob")
    no(call, AWAY)
    _, call = service.take("DeleteJob")
    no(call, refusal("NOT_FOUND", "JOB_NOT_FOUND"))
    working.result(PATIENCE)

    working = service.does(lambda: jobs.delete("job_2"))
    _, call = service.take("DeleteJob")
    no(call, refusal("NOT_FOUND", "JOB_NOT_FOUND"))
    with pytest.raises(JobNotFound):
        working.result(PATIENCE)


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
    first, progress = [seen.get(timeout=PATIENCE) for _ in range(2)]
    no(call, AWAY, is_stream=True)
    request, call = service.take_watch()
    assert request.after_sequence == 3
    call.send_response(Ask.WatchJobResponse(job=job_pb2.Job(sequence=4, status=job_pb2.STATUS_FAILED)))
    call.terminate((), grpc.StatusCode.OK, "")

    working.result(PATIENCE)
    assert (first.sequence, progress.percent, seen.get(timeout=PATIENCE).sequence) == (3, 40, 4)


def test_a_stream_that_ends_before_the_final_change_goes_on(service: Service, jobs: JobClient) -> None:
    working = service.does(lambda: [update.sequence for update in jobs.watch("job_1")])
    _, call = service.take_watch()
    call.send_response(Ask.WatchJobResponse(job=job_pb2.Job(sequence=3, status=job_pb2.STATUS_QUEUED)))
    call.terminate((), grpc.StatusCode.OK, "")
    # It has become final by now, by a change that no stream has told.
    _, call = service.take("GetJob")
    ok(call, Ask.GetJobResponse(job=job_pb2.Job(sequence=5, status=job_pb2.STATUS_COMPLETED)))
    request, call = service.take_watch()
    assert request.after_sequence == 3
    for sequence, status in ((4, job_pb2.STATUS_PROCESSING), (5, job_pb2.STATUS_COMPLETED)):
        call.send_response(Ask.WatchJobResponse(job=job_pb2.Job(sequence=sequence, status=status)))
    call.terminate((), grpc.StatusCode.OK, "")

    assert working.result(PATIENCE) == [3, 4, 5]


def test_whoever_knows_the_final_change_is_told_nothing_more(service: Service, jobs: JobClient) -> None:
    working = service.does(lambda: [*jobs.watch("job_1", after=5)])
    _, call = service.take_watch()
    call.terminate((), grpc.StatusCode.OK, "")
    _, call = service.take("GetJob")
    ok(call, Ask.GetJobResponse(job=job_pb2.Job(sequence=5, status=job_pb2.STATUS_COMPLETED)))

    assert working.result(PATIENCE) == []


def test_a_service_that_goes_away_after_the_final_change_is_not_waited_for(service: Service, jobs: JobClient) -> None:
    seen: queue.Queue[Any] = queue.Queue()
    working = service.does(lambda: [seen.put(update) for update in jobs.watch("job_1")])
    _, call = service.take_watch()
    call.send_response(Ask.WatchJobResponse(job=job_pb2.Job(sequence=5, status=job_pb2.STATUS_COMPLETED)))
    seen.get(timeout=PATIENCE)
    no(call, AWAY, is_stream=True)

    assert len(working.result(PATIENCE)) == 1


def test_waiting_ends_with_the_whole_final_job(service: Service, jobs: JobClient) -> None:
    working = service.does(lambda: jobs.wait("job_1", timeout=PATIENCE))
    _, call = service.take_watch()
    wanted = job_pb2.JobRequest(prompt="a harbour")
    call.send_response(Ask.WatchJobResponse(job=job_pb2.Job(sequence=3, request=wanted)))
    call.send_response(Ask.WatchJobResponse(progress=Ask.Progress(percent=40)))
    call.send_response(Ask.WatchJobResponse(job=job_pb2.Job(sequence=4, status=job_pb2.STATUS_COMPLETED)))
    call.terminate((), grpc.StatusCode.OK, "")

    assert working.result(PATIENCE) == job_pb2.Job(sequence=4, status=job_pb2.STATUS_COMPLETED, request=wanted)


def test_waiting_has_an_end(service: Service, jobs: JobClient) -> None:
    working = service.does(lambda: jobs.wait("job_1", timeout=0))
    _, call = service.take_watch()
    call.send_response(Ask.WatchJobResponse(job=job_pb2.Job(sequence=3, status=job_pb2.STATUS_QUEUED)))
    call.terminate((), grpc.StatusCode.DEADLINE_EXCEEDED, "")

    with pytest.raises(DeadlineExceeded, match=r"job_1 was not final after 0 s; it continues") as late:
        working.result(PATIENCE)
    assert isinstance(late.value, TimeoutError)


def test_a_stream_that_is_refused_is_told_by_kind(service: Service, jobs: JobClient) -> None:
    working = service.does(lambda: jobs.wait("job_1", timeout=PATIENCE))
    _, call = service.take_watch()
    no(call, refusal("NOT_FOUND", "JOB_NOT_FOUND"), is_stream=True)

    with pytest.raises(JobNotFound):
        working.result(PATIENCE)
