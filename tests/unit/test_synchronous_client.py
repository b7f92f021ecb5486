"""A synchronous Python caller of the contracts, with a server that a test plays."""

from concurrent.futures import ThreadPoolExecutor

import grpc
import grpc_testing
import pytest
from calotype.error_reasons import Reason
from calotype.job.v1 import job_pb2, job_service_pb2, job_service_pb2_grpc

from common.errors import ServiceError, from_rpc_error, to_status
from tests.support.patience import PATIENCE

SERVICE = job_service_pb2.DESCRIPTOR.services_by_name["JobService"]


def test_a_synchronous_stub_asks_and_is_answered() -> None:
    channel = grpc_testing.channel([SERVICE], grpc_testing.strict_real_time())
    stub = job_service_pb2_grpc.JobServiceStub(channel)
    with ThreadPoolExecutor(1) as threads:
        asking = threads.submit(
            stub.GetJob, job_service_pb2.GetJobRequest(tenant="acme", job_id="job_1"), timeout=PATIENCE
        )
        _, request, rpc = channel.take_unary_unary(SERVICE.methods_by_name["GetJob"])
        rpc.send_initial_metadata(())
        answer = job_service_pb2.GetJobResponse(job=job_pb2.Job(id=request.job_id, sequence=7))
        rpc.terminate(answer, (), grpc.StatusCode.OK, "")

        assert asking.result(timeout=PATIENCE).job.sequence == 7
        assert request.tenant == "acme"


def test_a_synchronous_stub_can_read_why_it_was_refused() -> None:
    channel = grpc_testing.channel([SERVICE], grpc_testing.strict_real_time())
    stub = job_service_pb2_grpc.JobServiceStub(channel)
    refusal = ServiceError(
        status=grpc.StatusCode.NOT_FOUND, reason=Reason.JOB_NOT_FOUND, message="There is no such job."
    )
    details = (("grpc-status-details-bin", to_status(refusal).SerializeToString()),)
    with ThreadPoolExecutor(1) as threads:
        asking = threads.submit(stub.GetJob, job_service_pb2.GetJobRequest(), timeout=PATIENCE)
        _, _, rpc = channel.take_unary_unary(SERVICE.methods_by_name["GetJob"])
        rpc.send_initial_metadata(())
        rpc.terminate(None, details, grpc.StatusCode.NOT_FOUND, refusal.message)
        with pytest.raises(grpc.RpcError) as error:
            asking.result(timeout=PATIENCE)
    told = from_rpc_error(error.value)  # type: ignore[arg-type]

    assert (told.reason, told.message) == ("JOB_NOT_FOUND", "There is no such job.")
