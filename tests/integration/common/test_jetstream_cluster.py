"""Three brokers, configured as the manifests configure them: what is confirmed outlives any one of them."""

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import yaml
from calotype import streams

from cli.stack import nats as nats_stack
from cli.stack.child import Child, Program
from cli.stack.ports import free_port
from cli.stack.probes import http_ok
from common.consuming import WakeUps
from common.declarations import ConsumerSpec, StreamSpec
from common.jetstream import BrokerUnavailable, JetStream, connect
from tests.support.patience import PATIENCE
from tests.support.security.certificates import LOCAL, Authority, Leaf
from tests.support.servers.embedded_servers import NATS_PASSWORDS
from tests.support.servers.reaper import reaped

MANIFEST = Path(__file__).parents[3] / "deploy/k8s/components/nats/nats.yaml"
NAMES = ("nats-0", "nats-1", "nats-2")


def configuration() -> str:
    """The server's configuration as the manifest has it."""
    objects = yaml.safe_load_all(MANIFEST.read_text(encoding="utf-8"))
    found: str = next(one["data"]["nats.conf"] for one in objects if one["kind"] == "ConfigMap")
    return found


def server(name: str, folder: Path, peers: dict[str, int], leaf: Leaf) -> tuple[Program, str]:
    """One of the cluster's servers, on this machine, and its URL."""
    port, monitor = free_port(), free_port()
    text = configuration().replace("store_dir: /data", f"store_dir: {folder / name}")
    text = text.replace("http: 127.0.0.1:8222", f"http: 127.0.0.1:{monitor}")
    text = text.replace("port: 6222", f"listen: 127.0.0.1:{peers[name]}")
    for file, path in (("tls.crt", leaf.certificate), ("tls.key", leaf.key), ("ca.crt", leaf.authority)):
        text = text.replace(f"/run/secrets/tls/{file}", str(path))
    for peer, cluster_port in peers.items():
        text = text.replace(f"{peer}.nats-peers:6222", f"127.0.0.1:{cluster_port}")
    assert "nats-peers" not in text
    config = folder / f"{name}.conf"
    config.write_text(f'listen: "127.0.0.1:{port}"\n{text}', encoding="utf-8")
    passwords = {f"NATS_{user.upper()}_PASSWORD": password for user, password in NATS_PASSWORDS.items()}
    program = Program(
        name=name,
        command=(str(nats_stack.binary()), "--config", str(config)),
        environment=dict(os.environ) | {"SERVER_NAME": name} | passwords,
        log=folder / f"{name}.log",
        is_ready=lambda: http_ok(f"http://127.0.0.1:{monitor}/healthz"),
    )
    return program, f"tls://127.0.0.1:{port}"


@pytest.fixture
def leaf(tmp_path: Path) -> Leaf:
    """The cluster's certificate."""
    return Authority(tmp_path / "pki").give("nats", *LOCAL)


@pytest.fixture
def cluster(tmp_path: Path, leaf: Leaf) -> Iterator[dict[str, tuple[Child, str]]]:
    """The servers by name, each with its URL; all take messages."""
    peers = {name: free_port() for name in NAMES}
    made = {name: server(name, tmp_path, peers, leaf) for name in NAMES}
    running = {name: (Child(program), url) for name, (program, url) in made.items()}
    for child, _ in running.values():
        child.start()
    pids = [child.pid for child, _ in running.values()]
    with reaped(pids[0]), reaped(pids[1]), reaped(pids[2]):
        try:
            for child, _ in running.values():
                child.wait_ready(PATIENCE)
            yield running
        finally:
            for child, _ in running.values():
                child.kill()


def declared(replicas: int) -> list[StreamSpec]:
    """All streams, each held by so many servers."""
    return [StreamSpec(**stream, replicas=replicas) for stream in streams.STREAMS]


@asynccontextmanager
async def connected(url: str, leaf: Leaf, *, user: str = "job", replicas: int = 0) -> AsyncIterator[JetStream]:
    """A service's connection; it declares streams held by so many servers."""
    tls = ssl.create_default_context(cafile=leaf.authority)
    specs = declared(replicas) if replicas else []
    consumers = [ConsumerSpec(**one) for one in streams.WAKE_CONSUMERS] if replicas else []
    shown = NATS_PASSWORDS[user]
    async with connect(url, name=user, password=shown, tls=tls, streams=specs, consumers=consumers) as broker:
        yield broker


async def replicas(broker: JetStream) -> set[int | None]:
    """By how many servers the streams are held."""
    found = [await broker.context.stream_info(stream["name"]) for stream in streams.STREAMS]
    return {one.config.num_replicas for one in found}


@pytest.mark.slow
async def test_a_stream_held_by_three_outlives_the_server_that_led_it(
    cluster: dict[str, tuple[Child, str]], leaf: Leaf
) -> None:
    subject = f"{streams.FACT_GENERATION}.images_generated"
    async with connected(cluster["nats-0"][1], leaf, replicas=3) as broker:
        await broker.publish(subject, b"a fact", message_id="1", headers={})
        found = await broker.context.stream_info(streams.FACTS["name"])
        assert found.cluster is not None
        leader = found.cluster.leader
    assert leader is not None
    cluster[leader][0].kill()

    survivor = next(url for name, (_, url) in cluster.items() if name != leader)
    async with asyncio.timeout(PATIENCE), connected(survivor, leaf, user="generator") as broker:
        while True:
            try:
                await broker.publish(subject, b"another", message_id="2", headers={}, timeout=1)
                break
            except BrokerUnavailable:
                continue
    async with connected(survivor, leaf, user="operator") as broker:
        kept = await broker.stored(streams.FACTS["name"], 1, subject=subject)

    assert kept is not None
    assert kept.body == b"a fact"


async def test_a_worker_is_woken_whichever_server_it_is_connected_to(
    cluster: dict[str, tuple[Child, str]], leaf: Leaf
) -> None:
    async with connected(cluster["nats-0"][1], leaf, replicas=3) as job:
        for number, (_, url) in enumerate(cluster.values()):
            async with connected(url, leaf, user="uploader") as uploader, asyncio.timeout(PATIENCE):
                await job.publish(streams.WAKE_UPLOAD, b"", message_id=str(number), headers={})
                hints = WakeUps(uploader, ConsumerSpec(**streams.UPLOADER_WAKE))
                while not await hints.wait(1, seconds=5):
                    pass


async def test_copies_are_added_to_streams_and_not_taken_away_again(
    cluster: dict[str, tuple[Child, str]], leaf: Leaf
) -> None:
    url = cluster["nats-0"][1]
    counted = []
    for wanted in (1, 3, 1):
        async with connected(url, leaf, replicas=wanted) as broker:
            counted.append(await replicas(broker))

    assert counted == [{1}, {3}, {3}]
