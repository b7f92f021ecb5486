"""Every method of every service, for every kind of caller: what is not said to be allowed is refused."""

import importlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import calotype
import grpc
import pytest
from calotype import permissions
from calotype.job.v1 import job_service_pb2, job_service_pb2_grpc, worker_service_pb2
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message_factory import GetMessageClass

from common.errors import ServiceError
from common.grpc_access import ServerSecurity
from common.grpc_client import ClientSettings, call, channel, stream
from common.grpc_server import GrpcService, serve
from common.health import Readiness
from tests.support.patience import PATIENCE
from tests.support.security.identities import entry, security_for, write

EVERYBODY = frozenset(
    {
        *("nobody", "stranger", "acme", "gateway", "generator", "uploader", "worker", "notifier", "operator"),
        "roleless",
    }
)
#: Who shows a token that stands in the file.
KNOWN = EVERYBODY - {"nobody", "stranger"}
CLIENTS = frozenset({"acme", "gateway"})
#: `worker` has the role of the version before, which stands for both.
GENERATORS, UPLOADERS = frozenset({"generator", "worker"}), frozenset({"uploader", "worker"})
#: Who may call the methods of a service, and which of them are not like the others.
ALLOWED = {
    "calotype.job.v1.JobService": CLIENTS,
    "calotype.job.v1.WorkerService": GENERATORS,
    "calotype.ops.v1.OperationsService": frozenset({"operator"}),
    "calotype.ops.v1.DeadLetterService": frozenset({"operator"}),
    "calotype.ops.v1.QueueService": frozenset({"operator"}),
    "calotype.ops.v1.BulkActionService": frozenset({"operator"}),
    "calotype.ops.v1.JobAdminService": frozenset({"operator"}),
    "calotype.ops.v1.TenantService": frozenset({"operator"}),
    "calotype.notifier.v1.WebhookService": CLIENTS,
    "calotype.notifier.v1.WebhookService.DeleteTenant": frozenset({"operator"}),
    "calotype.notifier.v1.WebhookService.ListUnhealthyWebhooks": frozenset({"operator"}),
    "calotype.job.v1.JobService.ListFinalEvents": frozenset({"gateway", "notifier"}),
    "calotype.job.v1.JobService.GetFinalEvents": frozenset({"notifier"}),
    "calotype.ops.v1.OperationsService.GetStatus": KNOWN,
    "calotype.job.v1.WorkerService.ClaimUploads": UPLOADERS,
    "calotype.job.v1.WorkerService.RenewLeases": GENERATORS | UPLOADERS,
    "calotype.job.v1.WorkerService.ReleaseJob": GENERATORS | UPLOADERS,
}


def contracts() -> Iterator[tuple[ServiceDescriptor, Any]]:
    """Each service of the contracts, with the module of its stub."""
    root = Path(calotype.__file__).parent
    for found in sorted(root.rglob("*_pb2.py")):
        name = ".".join(found.relative_to(root.parent).with_suffix("").parts)
        for service in importlib.import_module(name).DESCRIPTOR.services_by_name.values():
            yield service, importlib.import_module(f"{name}_grpc")


def methods() -> list[MethodDescriptor]:
    return [method for service, _ in contracts() for method in service.methods]


class Hollow:
    """Does nothing for whoever gets as far as this."""

    def __init__(self) -> None:
        self.reached: list[str] = []

    def served(self) -> list[GrpcService]:
        """Every service of the contracts."""
        return [
            GrpcService(
                name=service.full_name,
                add=getattr(module, f"add_{service.name}Servicer_to_server"),
                servicer=self._servicer(service, getattr(module, f"{service.name}Servicer")),
            )
            for service, module in contracts()
        ]

    def _servicer(self, service: ServiceDescriptor, base: type) -> Any:
        answers = {method.name: self._answer(method) for method in service.methods}
        return type(f"Hollow{service.name}", (base,), answers)()

    def _answer(self, method: MethodDescriptor) -> Any:
        message = GetMessageClass(method.output_type)

        async def once(_: Any, request: Any, context: Any) -> Any:
            self.reached.append(method.full_name)
            return message()

        async def streamed(_: Any, request: Any, context: Any) -> AsyncIterator[Any]:
            self.reached.append(method.full_name)
            yield message()

        return streamed if method.server_streaming else once


@pytest.fixture
def door(tmp_path: Path) -> ServerSecurity:
    """Knows one caller of each kind, by tokens that are their names."""
    return security_for(
        write(
            tmp_path / "identities.yaml",
            entry("acme", "client", tenants=["acme"]),
            entry("gateway", "client", tenants="*"),
            entry("generator", "generator"),
            entry("uploader", "uploader"),
            entry("worker", "worker"),
            entry("notifier", "notifier", tenants="*"),
            entry("operator", "operator"),
            entry("roleless", tenants="*"),
        )
    )


@pytest.fixture
def hollow() -> Hollow:
    """What is guarded."""
    return Hollow()


@pytest.fixture
async def address(door: ServerSecurity, hollow: Hollow) -> AsyncIterator[str]:
    """A server of all services."""
    async with serve("127.0.0.1:0", hollow.served(), ready=Readiness(), security=door) as port:
        yield f"127.0.0.1:{port}"


async def ask(
    address: str, method: MethodDescriptor, *, caller: str, tenant: str = "acme", **fields: Any
) -> grpc.StatusCode:
    """How the caller is answered."""
    request = GetMessageClass(method.input_type)(**fields)
    if "tenant" in method.input_type.fields_by_name:
        setattr(request, "tenant", tenant)  # noqa: B010 - not each request has it
    async with channel(address, settings=ClientSettings(grpc_token=None if caller == "nobody" else caller)) as opened:
        path = f"/{method.containing_service.full_name}/{method.name}"
        kind = opened.unary_stream if method.server_streaming else opened.unary_unary
        stub = kind(
            path, request_serializer=type(request).SerializeToString,
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )  # fmt: skip
        try:
            if method.server_streaming:
                async for _ in stream(stub, request):
                    pass
            else:
                await call(stub, request, timeout=PATIENCE)
        except ServiceError as error:
            assert error.reason == error.status.name
            return error.status
    return grpc.StatusCode.OK


@pytest.mark.parametrize("method", methods(), ids=lambda method: method.full_name)
async def test_each_method_is_for_those_alone_who_have_its_role(
    address: str, hollow: Hollow, method: MethodDescriptor
) -> None:
    allowed = ALLOWED.get(method.full_name) or ALLOWED[method.containing_service.full_name]
    expected = {
        caller: grpc.StatusCode.OK
        if caller in allowed
        else grpc.StatusCode.PERMISSION_DENIED
        if caller in KNOWN
        else grpc.StatusCode.UNAUTHENTICATED
        for caller in EVERYBODY
    }

    answered = {caller: await ask(address, method, caller=caller) for caller in EVERYBODY}

    assert answered == expected
    assert hollow.reached == [method.full_name] * len(allowed)


@pytest.mark.parametrize(
    "method",
    # An operator deletes what a tenant left, whatever tenants it acts for.
    [m for m in methods() if "tenant" in m.input_type.fields_by_name and m.name != "DeleteTenant"],
    ids=lambda method: method.name,
)
async def test_another_tenant_is_refused_before_anything_is_looked_at(
    address: str, hollow: Hollow, method: MethodDescriptor
) -> None:
    answered = [await ask(address, method, caller="acme", tenant=tenant) for tenant in ("globex", "ACME", "*", "")]
    reached = [*hollow.reached]
    allowed = await ask(address, method, caller="gateway", tenant="globex")

    assert set(answered) == {grpc.StatusCode.PERMISSION_DENIED}
    assert reached == []
    assert allowed is grpc.StatusCode.OK


def test_every_request_of_a_client_that_is_about_jobs_names_a_tenant() -> None:
    without = {
        method.name
        for method in methods()
        if method.containing_service.name == "JobService" and "tenant" not in method.input_type.fields_by_name
    }

    assert without == {"ListFinalEvents", "GetFinalEvents"}


@pytest.mark.parametrize("name", ["ListFinalEvents", "GetFinalEvents"])
def test_a_notifier_of_some_tenants_reads_no_final_events(name: str) -> None:
    method = f"/calotype.job.v1.JobService/{name}"

    assert permissions.policy(method, None, roles={"notifier"}, tenants={"acme"}) is not None
    assert permissions.policy(method, None, roles={"notifier"}, tenants=None) is None


def test_the_catalogue_may_be_asked_for_without_naming_a_tenant() -> None:
    request, method = job_service_pb2.ListProvidersRequest(), "/calotype.job.v1.JobService/ListProviders"

    assert permissions.policy(method, request, roles={"client"}, tenants={"acme"}) is None


@pytest.mark.parametrize(
    "method",
    [method for method in methods() if "bucket" in method.input_type.fields_by_name],
    ids=lambda method: method.name,
)
async def test_a_bucket_is_its_owners_alone(address: str, hollow: Hollow, method: MethodDescriptor) -> None:
    answered = {
        (caller, bucket): await ask(address, method, caller=caller, bucket=bucket)
        for caller in ("generator", "uploader", "worker")
        for bucket in (0, worker_service_pb2.BUCKET_STAGING, worker_service_pb2.BUCKET_PUBLIC, 99)
    }
    allowed = {one for one, status in answered.items() if status is grpc.StatusCode.OK}

    assert allowed == {
        *(("generator", bucket) for bucket in (0, worker_service_pb2.BUCKET_STAGING)),
        ("uploader", worker_service_pb2.BUCKET_PUBLIC),
        *(("worker", bucket) for bucket in (0, worker_service_pb2.BUCKET_STAGING, worker_service_pb2.BUCKET_PUBLIC)),
    }
    assert set(answered.values()) == {grpc.StatusCode.OK, grpc.StatusCode.PERMISSION_DENIED}


def test_the_table_has_a_row_for_each_method_and_no_other() -> None:
    rows = {f"{service}.{name}" for service, methods in permissions.REQUIRED_ROLES.items() for name in methods}

    assert rows == {method.full_name for method in methods()}


async def test_a_method_without_a_rule_is_for_nobody(door: ServerSecurity, tmp_path: Path) -> None:
    class Service(job_service_pb2_grpc.JobServiceServicer):
        async def GetJob(self, request: Any, context: Any) -> Any:
            return job_service_pb2.GetJobResponse()

    def add(servicer: Any, server: grpc.aio.Server) -> None:
        handler = grpc.unary_unary_rpc_method_handler(
            servicer.GetJob,
            request_deserializer=job_service_pb2.GetJobRequest.FromString,
            response_serializer=job_service_pb2.GetJobResponse.SerializeToString,
        )
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("calotype.New", {"GetJob": handler})])

    served = GrpcService(name="calotype.New", add=add, servicer=Service())
    async with (
        serve("127.0.0.1:0", [served], ready=Readiness(), security=door) as port,
        channel(f"127.0.0.1:{port}", settings=ClientSettings(grpc_token="operator")) as opened,
    ):
        method = opened.unary_unary(
            "/calotype.New/GetJob", request_serializer=job_service_pb2.GetJobRequest.SerializeToString
        )
        with pytest.raises(ServiceError, match="no access rule") as refused:
            await call(method, job_service_pb2.GetJobRequest(), timeout=PATIENCE)

    assert refused.value.status is grpc.StatusCode.PERMISSION_DENIED
