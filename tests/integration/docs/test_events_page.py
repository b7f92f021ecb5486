"""docs/events.md: the user that it adds to the broker reads the events of real jobs, and can do nothing else."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nats
import pytest
from calotype.event.v1 import event_pb2
from nats.errors import NoRespondersError
from nats.errors import TimeoutError as NoResponse
from nats.js.errors import APIError

from cli.stack.child import Child
from tests.support.job_service.real_job_service import job_service
from tests.support.job_service.use_cases import JobUseCases, use_cases_at
from tests.support.pages.events import CONSUMER, PAGE, READER
from tests.support.pages.examples import block, running, written
from tests.support.patience import PATIENCE, pause
from tests.support.servers.embedded_servers import NATS_PASSWORDS, Server, nats_program
from tests.support.servers.reaper import reaped

PASSWORD = "cn_of_analytics"
NO_RESPONSE = (NoResponse, NoRespondersError, APIError)


@dataclass(frozen=True, kw_only=True)
class World:
    """A broker with the page's user and consumer, and jobs whose events job-service publishes."""

    server: Server
    desk: JobUseCases
    folder: Path

    @property
    def url(self) -> str:
        """URL of the broker without a user."""
        return f"nats://{self.server.url.rpartition('@')[2]}"

    @property
    def environment(self) -> dict[str, str]:
        """Environment of the page's subscriber."""
        return {"NATS_URL": self.url, "NATS_PASSWORD": PASSWORD}

    async def create_consumer(self) -> None:
        """Runs the page's example for operators."""
        environment = self.environment | {"NATS_PASSWORD": NATS_PASSWORDS["operator"]}
        async with running(written(PAGE, "consumer.py", self.folder), environment) as example:
            assert await example.end() == (0, "")


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Server]:
    """A broker that is configured as the page says."""
    program, url = nats_program(tmp_path / "data", log=tmp_path / "log")
    file = tmp_path / "data" / "nats.conf"
    text = file.read_text(encoding="utf-8")
    for place, added in (("    exports: [\n", "exports"), ("accounts {\n", "account")):
        assert text.count(place) == 1
        text = text.replace(place, place + block(PAGE, added))
    file.write_text(text, encoding="utf-8")
    child = Child(replace(program, environment={**program.environment, "NATS_ANALYTICS_PASSWORD": PASSWORD}))
    child.start()
    with reaped(child.pid):
        try:
            child.wait_ready(PATIENCE)
            yield Server(child, url)
        finally:
            child.stop(PATIENCE)


@pytest.fixture
async def world(broker: Server, database_url: str, tmp_path: Path) -> AsyncIterator[World]:
    """The page's user, its consumer, and job-service."""
    with use_cases_at(database_url) as desk:
        async with job_service(database_url, broker.url):
            world = World(server=broker, desk=desk, folder=tmp_path)
            await world.create_consumer()
            yield world


@pytest.fixture
async def reader(world: World) -> AsyncIterator[Any]:
    """A connection as the page's user."""
    errors: asyncio.Queue[Exception] = asyncio.Queue()
    connection = await nats.connect(
        world.url, user=READER.name, password=PASSWORD, inbox_prefix=f"_INBOX_{READER.name}", error_cb=errors.put
    )
    yield connection
    await connection.close()


async def test_the_subscriber_prints_the_events_of_a_job(world: World) -> None:
    job = world.desk.create().job
    world.desk.cancel(job.id)
    async with running(written(PAGE, "subscriber.py", world.folder), world.environment) as example:
        lines = [await example.line(), await example.line()]

    assert lines == [f"{job.id} 1 job.submitted queued", f"{job.id} 2 job.canceled canceled"]


async def test_a_consumer_that_is_created_again_stays_as_it_is(world: World) -> None:
    first = world.desk.create().job
    subscriber = written(PAGE, "subscriber.py", world.folder)
    async with running(subscriber, world.environment) as example:
        assert await example.line() == f"{first.id} 1 job.submitted queued"
        second = world.desk.create().job
        assert await example.line() == f"{second.id} 1 job.submitted queued"
    await world.create_consumer()
    third = world.desk.create().job
    async with running(subscriber, world.environment) as example:
        lines = [await example.line()]
        while not lines[-1].startswith(third.id):
            lines.append(await example.line())

    # The last event may not have been acknowledged when its reader was ended.
    assert not [line for line in lines if line.startswith(first.id)]


async def test_an_event_has_the_headers_of_the_page(world: World, reader: Any) -> None:
    job = world.desk.create().job
    events = await reader.jetstream().pull_subscribe_bind(CONSUMER["durable"], stream=CONSUMER["stream"])
    [message] = await events.fetch(1, timeout=PATIENCE)
    rows = [line.split("|") for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    named = {name.strip(" `") for _, name, *_ in rows}

    assert message.subject == f"calotype.event.acme.{job.id}"
    assert event_pb2.JobEvent.FromString(message.data).job_id == job.id
    assert set(message.headers) - {"Nats-Msg-Id"} == named & set(message.headers)
    assert set(message.headers) >= {name for name in named if name.startswith(("ce-", "content-"))}
    assert message.headers["ce-id"] == message.headers["Nats-Msg-Id"]
    assert (message.headers["ce-type"], message.headers["ce-sequence"]) == ("calotype.job.submitted", "1")
    assert (message.headers["ce-source"], message.headers["ce-subject"]) == ("calotype/job", job.id)


async def test_the_user_reads_creates_and_deletes_nothing_else(world: World, reader: Any) -> None:
    operator = await nats.connect(world.server.url)
    world.desk.create()
    async with asyncio.timeout(PATIENCE):
        while not (before := await operator.jetstream().stream_info(CONSUMER["stream"])).state.messages:
            await pause()
    for subject in (
        "STREAM.INFO.CALOTYPE_EVENTS",
        "STREAM.DELETE.CALOTYPE_EVENTS",
        "STREAM.PURGE.CALOTYPE_EVENTS",
        "STREAM.MSG.GET.CALOTYPE_EVENTS",
        "CONSUMER.CREATE.CALOTYPE_EVENTS.mine",
        "CONSUMER.DELETE.CALOTYPE_EVENTS.analytics",
        "CONSUMER.MSG.NEXT.CALOTYPE_EVENTS.notifier-wake",
    ):
        with pytest.raises(NO_RESPONSE):
            await reader.request(f"$JS.API.{subject}", b"{}", timeout=0.5)
    for subject in ("calotype.event.acme.job_1", "calotype.fact.generation.images_generated", "calotype.wake.generate"):
        await reader.publish(subject, b"forged")
    # The reply of a request is checked for no permission: it reaches nothing outside of the user's account.
    for target in ("$JS.API.STREAM.DELETE.CALOTYPE_EVENTS", "$JS.API.STREAM.PURGE.CALOTYPE_EVENTS"):
        await reader.publish(READER.publish[0], b'{"batch": 1, "no_wait": true}', reply=target)
    await reader.flush()
    after = await operator.jetstream().stream_info(CONSUMER["stream"])
    streams = {stream.config.name for stream in await operator.jetstream().streams_info()}
    await operator.close()

    assert before.state == after.state
    assert "CALOTYPE_EVENTS" in streams
