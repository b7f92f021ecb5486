"""The message broker as an attacker meets it who reaches its port, or who has taken over one of the services."""

import asyncio
import json
import socket
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
from calotype import streams
from nats.errors import Error as NatsError
from nats.js.api import StreamInfo

from cli.stack.child import Child
from cli.stack.probes import http_response
from cli.stack.readiness import nats_ok
from common.broker_settings import BrokerSettings
from common.declarations import ConsumerSpec, StreamSpec
from common.health import Readiness
from common.jetstream import JetStream, connect
from common.nats_client import connected
from common.pulling import Subscription
from services.job.domain.timeouts import StageTimeouts
from services.job.loops.fact_consumer import facts_consumer
from services.job.loops.wake_up_publisher import WAKE_SUBJECTS
from tests.support.brokers.facts import broker_at
from tests.support.patience import PATIENCE, pause
from tests.support.security.certificates import LOCAL, Authority, Leaf
from tests.support.servers.embedded_servers import NATS_PASSWORDS, Server, nats_program, nats_settings
from tests.support.servers.reaper import reaped
from tests.support.servers.tcp_servers import tcp_server

WORKERS = ("generator", "uploader", "notifier")
STREAMS = [stream["name"] for stream in streams.STREAMS]
CONSUMERS = [(one["stream"], one["durable"]) for one in streams.WAKE_CONSUMERS]
FACTS_CONSUMER = (streams.FACTS["name"], streams.FACTS_CONSUMER)
#: What each worker is there for; `own` are its consumers.
OWN_SUBJECTS = {
    "generator": ["calotype.fact.generation.images_generated", "calotype.progress.acme.job_1"],
    "uploader": ["calotype.fact.upload.images_stored"],
    # It publishes nothing.
    "notifier": [],
}
OWN_CONSUMERS = {
    name: [(stream, durable) for stream, durable in CONSUMERS if durable.startswith(name)] for name in WORKERS
}


class Refused(Exception):
    """The broker closed the connection."""


class Attacker:
    """Speaks the broker's protocol by hand: what it sends, no client would."""

    def __init__(self, url: str, **shown: str) -> None:
        parts = urlsplit(url)
        self._socket = socket.create_connection((parts.hostname, parts.port), timeout=PATIENCE)
        self._stream = self._socket.makefile("rwb")
        options = {"verbose": False, "headers": True, "no_responders": True, "protocol": 1, "lang": "x", "version": "0"}
        self.send(f"CONNECT {json.dumps(options | shown)}")

    def send(self, *lines: str) -> list[str]:
        """Send, and wait until all of it was seen; what came meanwhile. Raises `Refused`."""
        self._stream.write("".join(f"{line}\r\n" for line in (*lines, "PING")).encode())
        self._stream.flush()
        came: list[str] = []
        for line in self._stream:
            if line.startswith(b"PONG"):
                return came
            if line.startswith((b"MSG ", b"HMSG ")):
                line += self._stream.read(int(line.split()[-1]) + 2)
            if not line.startswith((b"INFO ", b"PING")):
                came.append(line.decode())
        self.close()
        raise Refused(came)

    def publish(self, subject: str, body: str = "", *, reply: str = "") -> list[str]:
        """Publish; what came of it."""
        return self.send(f"PUB {subject} {reply} {len(body)}\r\n{body}")

    def close(self) -> None:
        """Leave."""
        with suppress(OSError):
            self._stream.close()
        self._socket.close()


@pytest.fixture
async def broker(nats: Server) -> AsyncIterator[JetStream]:
    """The operator's connection to a broker with a message in each stream."""
    async with broker_at(nats.url) as opened:
        for subject in (
            "calotype.wake.generate",
            "calotype.wake.upload",
            "calotype.fact.generation.images_generated",
            "calotype.event.acme.job_1",
            streams.PARKED_FACT,
            streams.DEAD_FACT,
        ):
            await opened.publish(subject, b"one that was there", message_id=subject, headers={})
        yield opened


@pytest.fixture(params=WORKERS)
def who(request: pytest.FixtureRequest) -> str:
    """The service that was taken over."""
    name: str = request.param
    return name


@pytest.fixture
def attacker(nats: Server, broker: JetStream, who: str) -> Iterator[Attacker]:
    """One with the credential of that service."""
    with closing(Attacker(nats.url, user=who, **{"pass": NATS_PASSWORDS[who]})) as opened:
        yield opened


async def found(broker: JetStream) -> dict[str, StreamInfo]:
    """The streams as they are."""
    return {name: await broker.context.stream_info(name) for name in STREAMS}


async def is_untouched(broker: JetStream) -> bool:
    """Whether each stream has what it had, and no stream or consumer was made, changed or taken away."""
    infos = await found(broker)
    declared = {stream["name"]: stream for stream in streams.STREAMS}
    counts = {name: info.state.messages for name, info in infos.items()}
    consumers = {(one.stream_name, one.name) for name in STREAMS for one in await broker.context.consumers_info(name)}
    return (
        counts == dict.fromkeys(STREAMS, 1) | {streams.WORK["name"]: 2}
        and consumers == set(CONSUMERS)
        and all(infos[name].config.subjects == list(declared[name]["subjects"]) for name in STREAMS)
        and len(await broker.context.streams_info()) == len(STREAMS)
    )


#: What shows no credential, or not the right one.
STRANGERS: dict[str, dict[str, str]] = {
    "nothing": {},
    "a name alone": {"user": "job"},
    "an empty password": {"user": "job", "pass": ""},
    "a guess": {"user": "job", "pass": "job"},
    "another's password": {"user": "operator", "pass": NATS_PASSWORDS["generator"]},
    "a password as a token": {"auth_token": NATS_PASSWORDS["job"]},
    "an unknown name": {"user": "root", "pass": NATS_PASSWORDS["job"]},
}


@pytest.mark.parametrize("shown", STRANGERS)
def test_nobody_is_let_in_without_a_credential(nats: Server, shown: str) -> None:
    with pytest.raises(Refused, match="Authorization Violation"):
        Attacker(nats.url, **STRANGERS[shown])


def test_the_broker_has_one_port_which_speaks_no_http(nats: Server) -> None:
    listening = [
        one.laddr.port
        for one in psutil.Process(nats.child.pid).net_connections("tcp")
        if one.status == psutil.CONN_LISTEN
    ]

    assert listening == [urlsplit(nats.url).port]
    assert http_response(f"http://127.0.0.1:{listening[0]}/varz", seconds=PATIENCE) is None


def test_passwords_are_in_a_file_that_its_owner_alone_reads_and_nowhere_else(nats: Server, tmp_path: Path) -> None:
    with pytest.raises(Refused):
        Attacker(nats.url, user="job", **{"pass": f"{NATS_PASSWORDS['job']}x"})
    process = psutil.Process(nats.child.pid)
    configuration = Path(process.cmdline()[-1])
    log = nats.child.program.log.read_text(encoding="utf-8")

    assert stat.S_IMODE(configuration.stat().st_mode) == 0o600
    assert stat.S_IMODE(configuration.parent.stat().st_mode) == 0o700
    assert not any(password in log + " ".join(process.cmdline()) for password in NATS_PASSWORDS.values())


#: Whose they are: job-service's, the server's, and those of the other worker.
HEARD = [
    ">",
    "*.>",
    "calotype.>",
    "calotype.fact.>",
    "calotype.event.*.*",
    "calotype.progress.*.*",
    "calotype.progress.acme.job_1",
    "calotype.wake.generate",
    "calotype.dead.fact",
    "_INBOX.>",
    "_INBOX_job.>",
    "_INBOX_operator.>",
    "_R_.>",
    "$JS.>",
    "$JS.EVENT.ADVISORY.>",
    "$JS.ACK.>",
    "$SYS.>",
]


async def test_a_worker_hears_nothing_but_what_it_is_answered(attacker: Attacker, broker: JetStream, who: str) -> None:
    others = [f"_INBOX_{name}.>" for name in WORKERS if name != who]
    for queue in ("", " group"):
        for number, subject in enumerate([*HEARD, *others], start=1):
            [came] = attacker.send(f"SUB {subject}{queue} {number}")
            assert came.startswith("-ERR 'Permissions Violation for Subscription"), subject
    for subject in (*OWN_SUBJECTS["generator"], *OWN_SUBJECTS["uploader"], "calotype.event.acme.job_1"):
        await broker.publish_core(subject, b"SECRET")
    await broker.context.stream_info(STREAMS[0])

    assert attacker.send() == []


def _requests(stream: str) -> Iterator[str]:
    """All of JetStream's API for a stream and its consumers."""
    for verb in (
        "CREATE", "UPDATE", "DELETE", "PURGE", "INFO", "MSG.GET", "MSG.DELETE", "SNAPSHOT", "RESTORE", "PEER.REMOVE",
        "LEADER.STEPDOWN",
    ):  # fmt: skip
        yield f"$JS.API.STREAM.{verb}.{stream}"
    yield f"$JS.API.DIRECT.GET.{stream}"
    yield f"$JS.API.DIRECT.GET.{stream}.calotype.fact.generation.images_generated"
    for verb in ("CREATE", "NAMES", "LIST"):
        yield f"$JS.API.CONSUMER.{verb}.{stream}"
    for durable in ("job-facts", "mine", *(durable for where, durable in CONSUMERS if where == stream)):
        for verb in ("CREATE", "DURABLE.CREATE", "DELETE", "INFO", "PAUSE", "RESET", "UNPIN", "LEADER.STEPDOWN"):
            yield f"$JS.API.CONSUMER.{verb}.{stream}.{durable}"
        yield f"$JS.API.CONSUMER.CREATE.{stream}.{durable}.calotype.fact.generation.images_generated"


SAID = [
    "calotype.event.acme.job_1",
    "calotype.wake.generate",
    "calotype.wake.upload",
    "calotype.parked.fact",
    "calotype.dead.fact",
    "calotype.fact.generation",
    "calotype.fact.other.images_stored",
    "calotype.fact.generation.images_generated.more",
    "calotype.fact.upload.images_stored.more",
    "calotype.anything",
    "_INBOX_job.aaaaaaaaaaaaaaaaaaaaaa.aaaa",
    "_INBOX_generator.aaaaaaaaaaaaaaaaaaaaaa.aaaa",
    "_INBOX_uploader.aaaaaaaaaaaaaaaaaaaaaa.aaaa",
    "_INBOX_notifier.aaaaaaaaaaaaaaaaaaaaaa.aaaa",
    "_R_.aaaaaa.aaaaaa",
    "$JS.API.INFO",
    "$JS.API.STREAM.NAMES",
    "$JS.API.STREAM.LIST",
    "$JS.API.STREAM.CREATE.MINE",
    "$JS.API.ACCOUNT.PURGE.CALOTYPE",
    "$JS.API.META.LEADER.STEPDOWN",
    "$SYS.REQ.SERVER.PING",
    "$SYS.REQ.SERVER.PING.VARZ",
    "$SYS.REQ.ACCOUNT.PING.CONNZ",
    "$SYS.REQ.USER.INFO",
    *(request for stream in STREAMS for request in _requests(stream)),
]


def others(who: str) -> list[str]:
    """Subjects that are another's: its facts, its consumers, and their acknowledgements."""
    consumers = [one for one in (*CONSUMERS, FACTS_CONSUMER) if one not in OWN_CONSUMERS[who]]
    return [
        *(subject for name in WORKERS if name != who for subject in OWN_SUBJECTS[name]),
        *(f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{durable}" for stream, durable in consumers),
        *(f"$JS.ACK.{stream}.{durable}.1.1.1.1.1" for stream, durable in consumers),
    ]


async def test_a_worker_publishes_nothing_but_its_own(attacker: Attacker, broker: JetStream, who: str) -> None:
    for subject in (*SAID, *others(who)):
        came = attacker.publish(subject, "{}", reply=f"_INBOX_{who}.x")
        assert [one[:44] for one in came] == ["-ERR 'Permissions Violation for Publish to \""], subject

    assert await is_untouched(broker)


#: What a broker that answers there would do: it acts on an empty message or on one in JSON, and stores what is a fact.
REPLIES = [
    *(f"$JS.API.STREAM.{verb}.{stream}" for verb in ("DELETE", "PURGE", "MSG.DELETE") for stream in STREAMS),
    *(f"$JS.API.CONSUMER.DELETE.{stream}.{durable}" for stream, durable in CONSUMERS),
    "calotype.fact.generation.images_generated",
    "calotype.fact.upload.images_stored",
    "calotype.event.acme.job_1",
    "calotype.wake.generate",
    "calotype.wake.upload",
    "calotype.parked.fact",
    "calotype.dead.fact",
]


async def test_what_a_worker_has_the_broker_answer_to_reaches_nobody_but_itself(
    attacker: Attacker, broker: JetStream, who: str
) -> None:
    facts, answers = OWN_SUBJECTS[who][:1], len(OWN_CONSUMERS[who]) + len(OWN_SUBJECTS[who][:1])
    for reply in REPLIES:
        assert ask_for_all(attacker, who, reply=reply) == []
    # Each of these is answered after all that was asked of the same consumer or stream before.
    attacker.send(f"SUB _INBOX_{who}.> 1")
    came = ask_for_all(attacker, who, reply=f"_INBOX_{who}.x")
    async with asyncio.timeout(PATIENCE):
        while sum(f" _INBOX_{who}.x " in one for one in came) < answers:
            came += attacker.send()
            await pause()
    # And these after whatever the answers asked for.
    for number in range(3):
        await broker.context.add_stream(name=f"LAST_{number}", subjects=[f"last.{number}"])
        await broker.context.delete_stream(f"LAST_{number}")
    sent = range(2, len(REPLIES) + 3) if facts else ()
    stored = [await broker.context.get_msg(streams.FACTS["name"], seq) for seq in sent]

    assert {(one.subject, one.data) for one in stored} == {(fact, b"a fact of its own") for fact in facts}
    await broker.context.purge_stream(streams.FACTS["name"], keep=1)
    assert await is_untouched(broker)


def ask_for_all(attacker: Attacker, who: str, *, reply: str) -> list[str]:
    """All that the broker answers a worker, sent to a subject; what the worker got."""
    came = []
    for stream, durable in OWN_CONSUMERS[who]:
        request = json.dumps({"batch": 2, "no_wait": True})
        came += attacker.publish(f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{durable}", request, reply=reply)
    for subject in OWN_SUBJECTS[who][:1]:
        came += attacker.publish(subject, "a fact of its own", reply=reply)
    return came


@pytest.mark.parametrize("greeting", ["{}", '{"auth_required":true}', '{"auth_required":true,"tls_available":true}'])
async def test_a_password_is_not_shown_to_a_server_that_offers_no_tls(leaf: Leaf, greeting: str) -> None:
    heard: asyncio.Queue[bytes] = asyncio.Queue()

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"INFO {greeting}\r\n".encode())
        await heard.put(await reader.read())

    async with tcp_server(greet) as port:
        with pytest.raises((NatsError, OSError)):
            await show(f"tls://127.0.0.1:{port}", leaf.authority)

        assert await asyncio.wait_for(heard.get(), PATIENCE) == b""
        while not heard.empty():
            assert heard.get_nowait() == b""


@pytest.mark.parametrize("scheme", ["nats", "tls"])
async def test_a_password_is_shown_to_the_server_whose_certificate_is_for_its_name(
    secure_nats: Server, leaf: Leaf, tmp_path: Path, scheme: str
) -> None:
    url = f"{scheme}://127.0.0.1:{urlsplit(secure_nats.url).port}"
    await show(url, leaf.authority)
    for wrong, authority in ((url, Authority(tmp_path / "other").file), (url.replace(".0.1", ".0.2"), leaf.authority)):
        with pytest.raises((NatsError, OSError)):
            await show(wrong, authority)
    with pytest.raises((Refused, OSError)):
        Attacker(url, user="job", **{"pass": NATS_PASSWORDS["job"]})


async def show(url: str, authority: Path) -> None:
    """Connect once as a service does. Raises the library's errors."""
    tls = BrokerSettings(nats_url=url, nats_tls_ca_file=authority).broker_tls()
    client = await connected(
        url,
        user="job",
        password=NATS_PASSWORDS["job"],
        tls=tls,
        max_reconnect_attempts=1,
        reconnect_time_wait=0.01,
    )
    await client.close()


@pytest.fixture
def leaf(tmp_path: Path) -> Leaf:
    """A certificate for the broker."""
    return Authority(tmp_path / "pki").give("nats", *LOCAL)


@pytest.fixture
def secure_nats(tmp_path: Path, leaf: Leaf) -> Iterator[Server]:
    """A broker that asks for TLS, on all of this machine's own addresses."""
    program, url = nats_program(tmp_path / "data", log=tmp_path / "log")
    with (tmp_path / "data" / "nats.conf").open("r+", encoding="utf-8") as file:
        text = file.read().replace('listen: "127.0.0.1:', 'listen: "0.0.0.0:')
        file.seek(0)
        file.write(f'{text}tls {{cert_file: "{leaf.certificate}", key_file: "{leaf.key}"}}\n')
    child = Child(replace(program, is_ready=lambda: nats_ok(url)))
    child.start()
    with reaped(child.pid):
        child.wait_ready(PATIENCE)
        yield Server(child, url)
        child.stop(PATIENCE)


async def test_a_worker_does_what_it_is_there_for(attacker: Attacker, broker: JetStream, who: str) -> None:
    for subject in OWN_SUBJECTS[who]:
        assert attacker.publish(subject, "x") == []
    for stream, durable in OWN_CONSUMERS[who]:
        request = json.dumps({"batch": 1, "no_wait": True})
        assert attacker.publish(f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{durable}", request, reply=f"_INBOX_{who}.x") == []
        assert attacker.publish(f"$JS.ACK.{stream}.{durable}.1.99.99.1.1", "+ACK") == []


async def test_job_service_does_what_it_is_there_for(nats: Server) -> None:
    ready, heard = Readiness("broker"), asyncio.Queue[str]()

    async def hear(subject: str, body: bytes) -> None:
        await heard.put(subject)

    told = nats_settings(nats, "job")
    async with connect(
        told["NATS_URL"],
        name="job",
        password=told["NATS_PASSWORD"],
        streams=[StreamSpec(**one) for one in streams.STREAMS],
        consumers=[ConsumerSpec(**one) for one in streams.WAKE_CONSUMERS],
        ready=ready,
    ) as broker:
        assert ready.ok
        await broker.subscribe_core("calotype.event.*.*", hear)
        await broker.subscribe_core("calotype.progress.*.*", hear)
        aside = {streams.PARKED_FACTS["name"]: streams.PARKED_FACT, streams.DEAD_LETTERS["name"]: streams.DEAD_FACT}
        published = ["calotype.event.acme.job_1", *WAKE_SUBJECTS.values(), *aside.values(), *OWN_SUBJECTS["uploader"]]
        for subject in published:
            await broker.publish(subject, b"x", message_id=subject, headers={}, timeout=PATIENCE)
        for stream, subject in aside.items():
            assert await broker.stored(stream, 1, subject=subject)
            await broker.delete_stored(stream, 1)
            assert await broker.stored(stream, 1, subject=subject) is None
        facts = Subscription(broker, facts_consumer(StageTimeouts()))
        [message] = await facts.fetch(1, wait_seconds=PATIENCE)
        await message.ack_sync(timeout=PATIENCE)
        assert await broker.ack_floor(*FACTS_CONSUMER) == 1
        await broker.delete_up_to(streams.FACTS["name"], 1)
        assert await broker.sequences(streams.FACTS["name"]) == (2, 1)
        await facts.close()
        async with asyncio.timeout(PATIENCE):
            assert await heard.get() == "calotype.event.acme.job_1"


async def test_job_service_deletes_no_stream_and_no_consumer(nats: Server, broker: JetStream) -> None:
    with closing(Attacker(nats.url, user="job", **{"pass": NATS_PASSWORDS["job"]})) as attacker:
        for subject in (
            *(f"$JS.API.STREAM.DELETE.{stream}" for stream in STREAMS),
            *(f"$JS.API.STREAM.PURGE.{stream}" for stream in STREAMS if stream != streams.FACTS["name"]),
            *(f"$JS.API.CONSUMER.DELETE.{stream}.{durable}" for stream, durable in (*CONSUMERS, FACTS_CONSUMER)),
            "$JS.API.STREAM.CREATE.MINE",
            "calotype.progress.acme.job_1",
        ):
            [came] = attacker.publish(subject, reply="_INBOX_job.x")
            assert came.startswith("-ERR 'Permissions Violation for Publish"), subject

    assert await is_untouched(broker)
