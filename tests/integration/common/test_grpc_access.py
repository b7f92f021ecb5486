"""Who a caller is: by token, by certificate, by being on this machine, and by nothing else."""

import asyncio
import logging
import shutil
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from calotype.job.v1 import job_service_pb2, job_service_pb2_grpc
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status

from common.errors import DOMAIN, DependencyUnavailable, ServiceError
from common.grpc_access import ServerSecurity
from common.grpc_client import ClientSettings, call, channel
from common.grpc_server import GrpcService, serve
from common.health import Readiness
from tests.support.patience import PATIENCE
from tests.support.security.certificates import LOCAL, Authority, Leaf, dns, uri
from tests.support.security.identities import entry, security_for, write

ASKED = job_service_pb2.GetJobRequest(tenant="acme")


class Service(job_service_pb2_grpc.JobServiceServicer):
    """Answers."""

    async def GetJob(self, request: Any, context: Any) -> Any:
        return job_service_pb2.GetJobResponse()


@asynccontextmanager
async def served(door: ServerSecurity) -> AsyncIterator[str]:
    """Where a guarded service is."""
    service = GrpcService(
        name="calotype.job.v1.JobService",
        add=job_service_pb2_grpc.add_JobServiceServicer_to_server,
        servicer=Service(),
    )
    async with serve("127.0.0.1:0", [service], ready=Readiness(), security=door) as port:
        yield f"127.0.0.1:{port}"


async def ask(address: str, **settings: Any) -> str:
    """`OK`, or the name of the status of the no."""
    async with channel(address, settings=ClientSettings(**settings)) as opened:
        stub = job_service_pb2_grpc.JobServiceStub(opened)
        try:
            await call(stub.GetJob, ASKED, timeout=PATIENCE)
        except ServiceError as error:
            return error.status.name
    return "OK"


async def refusal(address: str, *metadata: tuple[str, str]) -> grpc.aio.AioRpcError:
    """The no to a call with this metadata, as it is on the wire."""
    async with channel(address) as opened:
        stub = job_service_pb2_grpc.JobServiceStub(opened)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.GetJob(ASKED, timeout=PATIENCE, metadata=metadata)
    return refused.value


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """An identities file with one client."""
    return write(tmp_path / "identities.yaml", entry("acme", "client", tenants=["acme"]))


@pytest.mark.parametrize(
    "metadata",
    [
        (),
        (("authorization", "Bearer wrong"),),
        (("authorization", "Bearer "),),
        (("authorization", "acme"),),
        (("authorization", "Basic acme"),),
        (("authorization", "Bearer acme"), ("authorization", "Bearer acme")),
        (("authorization", "Bearer acme"), ("authorization", "Bearer wrong")),
    ],
)
async def test_what_is_no_known_token_is_refused_with_one_reason(
    file: Path, metadata: tuple[tuple[str, str], ...]
) -> None:
    async with served(security_for(file)) as address:
        error = await refusal(address, *metadata)
    status = rpc_status.from_call(error)
    info = error_details_pb2.ErrorInfo()

    assert error.code() is grpc.StatusCode.UNAUTHENTICATED
    assert status is not None
    assert len(status.details) == 1
    assert status.details[0].Unpack(info)
    assert (info.domain, info.reason) == (DOMAIN, "UNAUTHENTICATED")
    assert "wrong" not in status.message


async def test_the_word_bearer_is_written_as_one_likes(file: Path) -> None:
    async with served(security_for(file)) as address, channel(address) as opened:
        stub = job_service_pb2_grpc.JobServiceStub(opened)
        answered = await stub.GetJob(ASKED, timeout=PATIENCE, metadata=(("authorization", "bearer acme"),))

    assert answered == job_service_pb2.GetJobResponse()


async def test_a_removed_token_is_refused_and_a_new_one_taken_without_a_restart(file: Path) -> None:
    door = security_for(file)
    assert door.authorizer is not None
    async with served(door) as address:
        before = [await ask(address, grpc_token=token) for token in ("acme", "fresh")]
        write(file, entry("acme", "client", token="fresh", tenants=["acme"]))
        counts = await door.authorizer.identities.run_once()
        after = [await ask(address, grpc_token=token) for token in ("acme", "fresh")]

    assert (before, after) == (["OK", "UNAUTHENTICATED"], ["UNAUTHENTICATED", "OK"])
    assert counts == {"identities_read": 1}


async def test_the_door_follows_its_file(file: Path) -> None:
    door, stop = security_for(file), asyncio.Event()
    async with served(door) as address, asyncio.timeout(PATIENCE):
        following = asyncio.create_task(door.run(stop))
        write(file, entry("acme", "client", token="fresh", tenants=["acme"]))
        while await ask(address, grpc_token="fresh") != "OK":
            pass
        stop.set()
        await following


@pytest.mark.parametrize(
    "spoil",
    [
        lambda file: file.write_text("identities: ["),
        lambda file: file.write_text("identities: [{name: acme}]"),
        lambda file: file.unlink(),
    ],
)
async def test_a_file_that_cannot_be_used_changes_nothing_and_is_told(file: Path, spoil: Any) -> None:
    door = security_for(file)
    assert door.authorizer is not None
    spoil(file)

    with pytest.raises(DependencyUnavailable, match="stay as they were"):
        await door.authorizer.identities.run_once()
    async with served(door) as address:
        assert await ask(address, grpc_token="acme") == "OK"


async def test_health_answers_everybody_and_reflection_whoever_is_known(file: Path) -> None:
    async with served(security_for(file)) as address, channel(address) as opened:
        checked = await health_pb2_grpc.HealthStub(opened).Check(health_pb2.HealthCheckRequest(), timeout=PATIENCE)
        asked = reflection_pb2.ServerReflectionRequest(list_services="")
        reflect = reflection_pb2_grpc.ServerReflectionStub(opened).ServerReflectionInfo
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            [one async for one in reflect(iter([asked]), timeout=PATIENCE)]
        known = (("authorization", "Bearer acme"),)
        [answer] = [one async for one in reflect(iter([asked]), timeout=PATIENCE, metadata=known)]

    assert checked.status == health_pb2.HealthCheckResponse.SERVING
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert "calotype.job.v1.JobService" in [one.name for one in answer.list_services_response.service]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Whose certificates both sides believe."""
    return Authority(tmp_path / "pki")


@pytest.fixture
def server(authority: Authority) -> Leaf:
    """What the server shows."""
    return authority.give("server", *LOCAL)


def mutual(file: Path, server: Leaf) -> ServerSecurity:
    return security_for(
        file, grpc_tls_cert_file=server.certificate, grpc_tls_key_file=server.key, grpc_tls_ca_file=server.authority
    )


def shows(leaf: Leaf, authority: Authority | None = None) -> dict[str, Path]:
    """A client's settings; it believes its own authority unless told otherwise."""
    believed = authority.file if authority else leaf.authority
    return {"grpc_tls_cert_file": leaf.certificate, "grpc_tls_key_file": leaf.key, "grpc_tls_ca_file": believed}


async def test_a_certificate_is_known_by_its_uri_its_dns_name_or_else_its_common_name(
    file: Path, authority: Authority, server: Leaf
) -> None:
    names = ["spiffe://calotype/gateway", "gateway.calotype.svc", "plain"]
    write(file, entry("gateway", "client", token="", tenants="*", certificate=names))
    callers = {
        "its URI": ("a", uri(names[0])),
        "its DNS name": ("b", dns("another"), dns(names[1])),
        "its common name": ("plain",),
        "no name of the file": ("c", uri("spiffe://calotype/other")),
        # Whoever may choose a common name is not thereby somebody else than the other names say.
        "a common name beside others": ("plain", dns("another")),
    }
    async with served(mutual(file, server)) as address:
        answered = {how: await ask(address, **shows(authority.give(*named))) for how, named in callers.items()}

    assert [how for how, status in answered.items() if status == "OK"] == [*callers][:3]
    assert {answered[how] for how in [*callers][3:]} == {"UNAUTHENTICATED"}


async def test_a_token_says_more_than_a_certificate(file: Path, authority: Authority, server: Leaf) -> None:
    write(file, entry("gateway", "client", tenants="*"), entry("worker", "worker", token="", certificate=["worker"]))
    worker = authority.give("worker")
    async with served(mutual(file, server)) as address:
        answered = [await ask(address, grpc_token=token, **shows(worker)) for token in (None, "gateway", "wrong")]

    assert answered == ["PERMISSION_DENIED", "OK", "UNAUTHENTICATED"]


async def test_without_a_certificate_of_the_authority_there_is_no_connection(
    file: Path, tmp_path: Path, authority: Authority, server: Leaf
) -> None:
    other = Authority(tmp_path / "other")
    async with served(mutual(file, server)) as address:
        answered = [
            await ask(address, grpc_token="acme"),
            await ask(address, grpc_token="acme", grpc_tls_ca_file=authority.file),
            await ask(address, grpc_token="acme", **shows(other.give("acme"), authority)),
        ]
        allowed = await ask(address, grpc_token="acme", **shows(authority.give("acme")))

    assert answered == ["UNAVAILABLE"] * 3
    assert allowed == "OK"


async def test_a_client_talks_to_no_server_of_another_authority(
    file: Path, tmp_path: Path, authority: Authority
) -> None:
    impostor = Authority(tmp_path / "other").give("server", *LOCAL)
    door = security_for(file, grpc_tls_cert_file=impostor.certificate, grpc_tls_key_file=impostor.key)
    async with served(door) as address:
        assert await ask(address, grpc_token="acme", grpc_tls_ca_file=authority.file) == "UNAVAILABLE"
        assert await ask(address, grpc_token="acme", grpc_tls_ca_file=impostor.authority) == "OK"


async def failure(address: str, **settings: Any) -> str:
    """What an operator reads of a connection that could not be made."""
    async with channel(address, settings=ClientSettings(**settings)) as opened:
        with pytest.raises(ServiceError) as failed:
            await call(job_service_pb2_grpc.JobServiceStub(opened).GetJob, ASKED, timeout=PATIENCE)
    assert failed.value.status is grpc.StatusCode.UNAVAILABLE
    return failed.value.message


async def test_an_operator_reads_why_there_is_no_connection(
    file: Path, tmp_path: Path, authority: Authority, server: Leaf
) -> None:
    other = Authority(tmp_path / "other")
    own = shows(authority.give("acme"))
    async with served(mutual(file, server)) as address:
        without_tls = await failure(address, grpc_token="acme")
        of_another = await failure(address, **shows(other.give("acme"), authority))
        believes_another = await failure(address, **shows(other.give("acme")))
    async with served(mutual(file, authority.give("job", dns("job")))) as address:
        for_another_host = await failure(address, **own)
    async with served(security_for(file)) as address:
        server_without_tls = await failure(address, **own)

    assert "it may require TLS, or a certificate of another authority" in without_tls
    assert of_another == without_tls
    assert "is of no authority in CALOTYPE_GRPC_TLS_CA_FILE" in believes_another
    assert "is not for the host" in for_another_host
    assert "it has no TLS" in server_without_tls


async def shown_by(address: str, leaf: Leaf) -> str:
    """The certificate that a server shows at a new connection."""
    context = ssl.create_default_context(cafile=leaf.authority)
    context.load_cert_chain(leaf.certificate, leaf.key)
    context.set_alpn_protocols(["h2"])
    host, _, port = address.rpartition(":")
    _, writer = await asyncio.open_connection(host, int(port), ssl=context)
    found: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return ssl.DER_cert_to_PEM_cert(found)


async def test_a_renewed_certificate_is_shown_without_a_restart_and_a_half_one_never(
    file: Path, tmp_path: Path, authority: Authority, server: Leaf, caplog: pytest.LogCaptureFixture
) -> None:
    client = authority.give("client")
    first = server.certificate.read_text()
    async with served(mutual(file, server)) as address:
        before = await shown_by(address, client)
        kept = shutil.copy(server.key, tmp_path / "kept.key")
        authority.give("server", *LOCAL)
        renewed_key = shutil.copy(server.key, tmp_path / "renewed.key")
        shutil.copy(kept, server.key)
        with caplog.at_level(logging.WARNING):
            between = await shown_by(address, client)
        shutil.copy(renewed_key, server.key)
        after = await shown_by(address, client)

    assert (before, between, after) == (first, first, server.certificate.read_text())
    assert "tls.kept" in caplog.text
    assert before != after


async def test_each_port_of_a_process_shows_the_renewed_certificate(
    file: Path, authority: Authority, server: Leaf
) -> None:
    client, security = authority.give("client"), mutual(file, server)
    async with served(security) as for_clients, served(security) as for_workers:
        before = {await shown_by(address, client) for address in (for_clients, for_workers)}
        assert before == {server.certificate.read_text()}
        authority.give("server", *LOCAL)
        after = {await shown_by(address, client) for address in (for_clients, for_workers)}

    assert after == {server.certificate.read_text()}
    assert before.isdisjoint(after)
