"""Live progress of ComfyUI over a real websocket; whatever becomes of that, the job is done by HTTP."""

import asyncio
import json
import logging
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from websockets.asyncio.server import ServerConnection

from common.leased_work import Renewal, Slot
from common.memory import Memory
from services.generator.adapters.providers.comfyui.entry import ComfyUIEntry
from services.generator.adapters.providers.comfyui.provider import ComfyUIProvider
from services.generator.adapters.providers.http.websocket import MAX_MESSAGE_BYTES, messages
from services.generator.application.run_job import Generator
from services.generator.domain.jobs import CallPhase, Job, Request
from services.generator.domain.provider_results import Operation
from services.generator.ports import ProviderRequest
from tests.support.generator.fakes import Facts, LedgerJobService, Reader, Staging, call_of, job_of
from tests.support.patience import PATIENCE
from tests.support.providers.comfyui_server import ComfyUIServer, comfyui_server
from tests.support.providers.scripted_http import Manner, ScriptedResponse, scripted_server

KEY = "sk-the-key-of-the-proxy"
#: Longer than any test: with it, only word from the websocket can bring a second look.
NEVER = 3600.0
OFTEN = 0.001
OPERATION = Operation(id="p1", state={"model": "m", "count": "1", "client_id": "c1"})
ORDER = ProviderRequest(
    call_id="call_1", idempotency_key="call_1", model="m", count=1, request=Request(prompt="a harbour")
)
WORKFLOW: dict[str, Any] = {
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": ""}},
    "3": {"class_type": "KSampler", "inputs": {"positive": ["6", 0]}},
    "9": {"class_type": "SaveImage", "inputs": {"images": ["3", 0]}},
    "10": {"class_type": "PreviewImage", "inputs": {"images": ["3", 0]}},
}


class HeardFacts(Facts):
    """Keeps the progress as well."""

    def __init__(self) -> None:
        super().__init__()
        self.percents: list[float] = []

    async def progress(self, job: Job, *, percent: float) -> None:
        """Keep it."""
        self.percents.append(percent)


@dataclass(kw_only=True)
class World:
    """A generator whose one provider is the server."""

    provider: ComfyUIProvider
    desk: LedgerJobService = field(default_factory=LedgerJobService)
    facts: HeardFacts = field(default_factory=HeardFacts)

    def __post_init__(self) -> None:
        self.desk.register(self.provider)

    async def run(self, job: Job, slot: Slot[Job] | None = None) -> None:
        """Run a claimed job."""
        providers = {"paid": self.provider}
        generator = Generator(
            job_service=self.desk,
            facts=self.facts,
            staging=Staging(),
            reader=Reader(),
            providers=providers,
            memory=Memory(64 * 1024 * 1024),
        )
        async with asyncio.timeout(PATIENCE):
            await generator.run(slot or Slot(token=job.lease_token, work=job))


def provider_of(server: ComfyUIServer, *, key: str = KEY, url: str = "", pause: float = NEVER) -> ComfyUIProvider:
    """The adapter; HTTP reaches the server in any case, the websocket goes to `url`."""
    entry = ComfyUIEntry.model_validate(
        {
            "name": "paid",
            "kind": "comfyui",
            "base_url": url or server.url,
            "models": [{"name": "m"}],
            "poll_interval_seconds": pause,
            "timeout_seconds": 600,
            "settings": {"workflow": WORKFLOW, "slots": {"prompt": "6.inputs.text"}},
        }
    )
    return ComfyUIProvider(entry, api_key=key, transport=server.transport)


async def watched(server: ComfyUIServer, **about: Any) -> tuple[list[float], bool]:
    """What is reported of the operation, and whether its end was told."""
    told: list[float] = []
    provider = provider_of(server, **about)
    try:
        async with asyncio.timeout(PATIENCE):
            return told, await provider.watch(OPERATION, lambda share: told.append(round(share, 3)))
    finally:
        await provider.close()


async def done(server: ComfyUIServer, *, url: str = "", pause: float = OFTEN) -> World:
    """The world after a whole job that has come to its picture."""
    world = World(provider=provider_of(server, url=url, pause=pause))
    try:
        await world.run(job_of(max_seconds=600))
    finally:
        await world.provider.close()
    assert (world.facts.kinds, world.facts.phases) == (["images_generated"], [CallPhase.SUCCEEDED])
    return world


def tells(*told: str | bytes | tuple[str, dict[str, Any]]) -> Callable[[ServerConnection], Awaitable[None]]:
    """Say these: text and bytes as they are, the kind and the data of a message about the prompt."""

    async def play(connection: ServerConnection) -> None:
        for one in told:
            await connection.send(one if isinstance(one, (str, bytes)) else message(*one))

    return play


def message(kind: str, told: dict[str, Any]) -> str:
    """As the server writes it."""
    return json.dumps({"type": kind, "data": {"prompt_id": "p1"} | told})


HELLO = json.dumps({"type": "status", "data": {"status": {"exec_info": {"queue_remaining": 1}}, "sid": "c1"}})
DRAWN = (
    ("execution_start", {}),
    ("execution_cached", {"nodes": []}),
    ("executing", {"node": "6"}),
    ("executing", {"node": "3"}),
    ("progress", {"node": "3", "value": 1, "max": 4}),
    ("progress", {"node": "3", "value": 4, "max": 4}),
    ("executed", {"node": "9", "output": {"images": []}}),
)
END = (("execution_success", {}), ("executing", {"node": None}))
SHARES = [0.25, 0.312, 0.5, 0.75, 1.0]


async def test_progress_is_told_in_order_and_ends() -> None:
    async with comfyui_server(tells(HELLO, *DRAWN, *END)) as server:
        assert await watched(server) == (SHARES, True)

    [handshake] = server.handshakes
    assert (handshake.path, handshake.headers["Authorization"]) == ("/ws?clientId=c1", f"Bearer {KEY}")
    assert "Sec-WebSocket-Extensions" not in handshake.headers


async def test_without_a_key_no_credential_is_sent() -> None:
    async with comfyui_server(tells(*END)) as server:
        await watched(server, key="")

    assert "Authorization" not in server.handshakes[0].headers


async def test_a_name_and_password_in_the_address_go_in_the_place_of_the_key_as_with_http() -> None:
    async with comfyui_server(tells(*END)) as server:
        await watched(server, url=server.url.replace("//", "//me:secret@"))

    assert server.handshakes[0].headers.get_all("Authorization") == ["Basic bWU6c2VjcmV0"]


async def test_previews_are_passed_over() -> None:
    preview = b"\x00\x00\x00\x01\x00\x00\x00\x02" + b"\x89PNG" * 50_000
    own = message("executing", {"node": None}).encode()
    async with comfyui_server(tells(preview, own, *DRAWN[:4], preview, *DRAWN[4:], preview, *END)) as server:
        assert await watched(server) == (SHARES, True)


async def test_messages_about_another_prompt_are_passed_over() -> None:
    others = [(kind, told | {"prompt_id": "p2"}) for kind, told in (*DRAWN, *END)]
    async with comfyui_server(tells(*others, *DRAWN, *others, *END)) as server:
        assert await watched(server) == (SHARES, True)


async def test_messages_that_make_no_sense_are_passed_over() -> None:
    senseless = ["", "{", "null", "7", "[]", "{}", "[" * 100_000, '{"type": "executing"}', '{"data": []}', "9" * 5000]
    strange: list[tuple[str, dict[str, Any]]] = [("executing", {"node": ["3"]}), ("progress_state", {"nodes": [1]})]
    async with comfyui_server(tells(*senseless, *strange, *DRAWN, *senseless, *END)) as server:
        assert await watched(server) == (SHARES, True)


async def test_a_proxy_of_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    async with scripted_server() as proxy, comfyui_server(tells(*END)) as server:
        for name in ("http_proxy", "https_proxy", "all_proxy", "ws_proxy"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.setenv("no_proxy", "")
        assert (await watched(server))[1]
        # What a thread of an earlier test still asks of its storage is none of this.
        assert [one for one in proxy.surprises if urlsplit(server.url).netloc in one] == []
        proxy.surprises.clear()


async def test_each_call_is_a_client_of_its_own_that_listens_under_the_name_it_was_sent_with() -> None:
    async with comfyui_server(tells(*END)) as server:
        provider = provider_of(server)
        for call_id in ("call_1", "call_2"):
            operation = await provider.submit(replace(ORDER, call_id=call_id))
            await provider.watch(operation, lambda share: None)
        await provider.close()

    assert server.clients == [one["client_id"] for one in server.submitted]
    assert len(set(server.clients)) == 2


async def test_an_operation_of_before_there_was_a_websocket_is_only_looked_at() -> None:
    async with comfyui_server(tells(*END)) as server:
        provider = provider_of(server)
        assert not await provider.watch(Operation(id="p1", state={"model": "m", "count": "1"}), lambda share: None)
        await provider.close()

    assert server.handshakes == []


async def test_the_end_that_the_websocket_tells_brings_the_look_that_finds_the_result() -> None:
    async def play(connection: ServerConnection) -> None:
        await tells(*DRAWN)(connection)
        server.ended.set()
        await tells(*END)(connection)

    async with comfyui_server(play) as server:
        world = await done(server, pause=NEVER)

    assert world.facts.percents == [25.0]


async def test_an_operation_of_another_process_is_listened_to_as_well() -> None:
    async def play(connection: ServerConnection) -> None:
        server.ended.set()
        await tells(*END)(connection)

    call = replace(call_of(CallPhase.ACCEPTED, operation="p1"), operation_state=OPERATION.state)
    async with comfyui_server(play) as server:
        world = World(provider=provider_of(server))
        await world.run(job_of(calls=[call], max_seconds=600))
        await world.provider.close()

    assert (world.facts.phases, server.clients, server.submitted) == ([CallPhase.SUCCEEDED], ["c1"], [])


async def test_an_end_that_is_not_true_is_no_end() -> None:
    async def play(connection: ServerConnection) -> None:
        await tells(*END)(connection)
        await connection.wait_closed()
        server.ended.set()

    async with comfyui_server(play) as server:
        await done(server)


@pytest.mark.parametrize(
    "refusal",
    [(HTTPStatus.NOT_FOUND, {}), (HTTPStatus.UNAUTHORIZED, {"X-Echo": KEY}), (HTTPStatus.OK, {})],
    ids=["no such address", "no such client", "no websocket"],
)
async def test_a_server_that_opens_no_websocket_does_its_work(
    refusal: tuple[HTTPStatus, dict[str, str]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with comfyui_server(tells()) as server:
        server.refusal = refusal
        await done(server)

    assert len(server.handshakes) == 1
    assert KEY not in caplog.text


async def test_a_redirect_is_not_followed() -> None:
    async with comfyui_server(tells(*END)) as other, comfyui_server(tells()) as server:
        server.refusal = HTTPStatus.TEMPORARY_REDIRECT, {"Location": other.url.replace("http", "ws")}
        await done(server)

    assert other.handshakes == []


async def test_a_server_that_cannot_be_reached_by_websocket_does_its_work() -> None:
    async with comfyui_server(tells()) as gone:
        pass
    async with comfyui_server(tells()) as server:
        server.ended.set()
        assert await watched(server, url=gone.url) == ([], False)
        await done(server, url=gone.url)


@pytest.mark.parametrize("manner", [Manner.MUTE, Manner.HANG_UP, Manner.ENDLESS, Manner.CUT])
async def test_a_server_that_never_finishes_the_handshake_does_its_work(manner: Manner) -> None:
    async with scripted_server() as proxy, comfyui_server(tells()) as server, asyncio.TaskGroup() as tasks:
        client = "b6bd0f78-76da-5b29-8bd9-6e69150e0848"
        proxy.expect("GET", f"/ws?clientId={client}", ScriptedResponse(body=b"HTTP", manner=manner))
        call = replace(call_of(CallPhase.ACCEPTED, operation="p1"), operation_state={"count": "1", "client_id": client})
        world = World(provider=provider_of(server, url=proxy.url, pause=OFTEN))
        running = tasks.create_task(world.run(job_of(calls=[call], max_seconds=600)))
        await proxy.wait_for()
        server.ended.set()
        await running
        await world.provider.close()

    assert world.facts.phases == [CallPhase.SUCCEEDED]


@pytest.mark.parametrize("ending", ["dies", "closes", "huge", "not text"])
async def test_a_websocket_that_breaks_in_the_middle_breaks_nothing(
    ending: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def play(connection: ServerConnection) -> None:
        await tells(*DRAWN[:5])(connection)
        match ending:
            case "dies":
                connection.transport.abort()
            case "closes":
                await connection.close(1001)
            case "huge":
                await connection.send("x" * (MAX_MESSAGE_BYTES + 1))
            case "not text":
                await connection.send(b"\xff\xfe", text=True)
        await connection.wait_closed()
        server.ended.set()

    caplog.set_level(logging.DEBUG)
    async with comfyui_server(play) as server:
        world = await done(server)

    assert world.facts.percents == [25.0]
    assert server.close_codes == [{"dies": 1006, "closes": 1001, "huge": 1009, "not text": 1007}[ending]]
    assert KEY not in caplog.text


async def test_a_websocket_that_is_silent_keeps_nobody_waiting() -> None:
    async def play(connection: ServerConnection) -> None:
        server.ended.set()
        await connection.wait_closed()

    async with comfyui_server(play) as server:
        await done(server)

    assert len(server.close_codes) == 1


async def test_a_job_that_is_canceled_stops_the_prompt_and_listens_no_more() -> None:
    job = job_of(max_seconds=600)
    slot: Slot[Job] = Slot(token=job.lease_token, work=job)

    async def play(connection: ServerConnection) -> None:
        await tells(*DRAWN[:5])(connection)
        slot.outcome = Renewal.CANCELED
        slot.ended.set()
        await connection.wait_closed()

    async with comfyui_server(play) as server:
        world = World(provider=provider_of(server))
        await world.run(job, slot)
        await world.provider.close()

    assert (server.posted, len(server.close_codes)) == (["/api/jobs/p1/cancel"], 1)


async def test_a_generator_that_stops_leaves_the_prompt_to_the_next() -> None:
    job = job_of(max_seconds=600)
    slot: Slot[Job] = Slot(token=job.lease_token, work=job)

    async def play(connection: ServerConnection) -> None:
        slot.stopping.set()
        await connection.wait_closed()

    async with comfyui_server(play) as server:
        world = World(provider=provider_of(server))
        await world.run(job, slot)
        await world.provider.close()

    assert (server.posted, len(server.close_codes), len(world.desk.released)) == ([], 1, 1)


@pytest.mark.parametrize("trusted", [True, False])
async def test_over_tls_only_a_server_that_is_trusted_is_heard(tmp_path: Path, trusted: bool) -> None:
    certificate = _certificate(tmp_path)
    own = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    own.load_cert_chain(certificate)
    client = ssl.create_default_context(cafile=str(certificate) if trusted else None)
    async with comfyui_server(tells(HELLO), tls=own) as server, asyncio.timeout(PATIENCE):
        async for one in messages(f"{server.url}/ws?clientId=c1", headers={}, tls=client):
            assert one["type"] == "status"
            break
        else:
            assert not trusted
        # The adapter believes whom the HTTP client believes, and that is not this one.
        assert await watched(server) == ([], False)

    assert server.clients == ["c1"] * trusted


def _certificate(folder: Path) -> Path:
    """A certificate of 127.0.0.1 that nobody has signed but itself, and its key, in one file."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = folder / "server.pem"
    path.write_bytes(pem + certificate.public_bytes(serialization.Encoding.PEM))
    return path
