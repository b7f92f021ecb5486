"""Runs a job from its request to its last fact with a faulty provider, and checks the outcome.

The adapter, the reader, the generator and the facts are the real ones; the ledger decides by job-service's own rules.
"""

import base64
import hashlib
import io
import logging
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from calotype.fact.v1 import fact_pb2
from PIL import Image

from common.leased_work import Slot
from common.memory import Memory
from services.generator.adapters.images.guarded_fetch import GuardedFetch
from services.generator.adapters.images.reader import GuardedImageReader
from services.generator.adapters.nats_facts import NatsFacts
from services.generator.application.run_job import Generator
from services.generator.domain.jobs import Job, Route, StagedImage
from services.job.domain import facts
from services.job.messages import from_protobuf
from tests.support.generator.decoder import decoder
from tests.support.generator.fakes import LedgerJobService, Staging, job_of
from tests.support.generator.request_conversion import as_generator_sees
from tests.support.patience import PATIENCE
from tests.support.providers import goldens
from tests.support.providers.faulty_provider import FaultyProvider, Framing, RawResponse, Script
from tests.support.providers.goldens import Golden

#: Time limit of a job with altered responses, in seconds: an operation that never ends is left then.
SHORT = 4.0
#: Events that say that something broke which is made to bear anything.
BROKEN = frozenset({"adapter.broke", "job.broke", "watch.broke", "fact.cut"})
#: What stands for pictures in goldens, in base64; a draft is none that anybody has bought.
_FAKE_IMAGES = {"aGFyYm91cg==", "iVBORw0KGgpoYXJib3Vy", "MA==", "MQ==", "Mg=="}
_events: ContextVar[list[str] | None] = ContextVar("events of the job", default=None)


def png() -> bytes:
    """A small PNG."""
    made = io.BytesIO()
    Image.effect_noise((24, 16), 60).convert("RGB").save(made, "PNG")
    return made.getvalue()


@dataclass(frozen=True, kw_only=True)
class JobOutcome:
    """The end of a job: the fact that ended it, staged objects, the provider's responses, and errors meanwhile."""

    fact: facts.JobFact | None
    handed_back: bool
    staged: Mapping[str, StagedImage]
    raw: Mapping[str, bytes]
    responses: Sequence[tuple[str, str, RawResponse]]
    events: Sequence[str]
    texts: Sequence[str]

    @property
    def is_delivered(self) -> bool:
        """Whether the job has its image."""
        return isinstance(self.fact, facts.ImagesGenerated)

    @property
    def reason(self) -> str:
        """Why it failed; empty where it did not."""
        return self.fact.failure.reason if isinstance(self.fact, facts.StageFailed) else ""


class Recorder:
    """Records facts as bytes."""

    max_message_bytes = 1024 * 1024

    def __init__(self) -> None:
        self.facts: list[bytes] = []

    async def publish(self, subject: str, body: bytes, **about: Any) -> None:
        """Keep."""
        self.facts.append(body)

    async def publish_core(self, subject: str, body: bytes) -> None:
        """Drops progress: there is no subscriber."""


@dataclass(kw_only=True)
class FaultyProviderRuns:
    """Where jobs are run; one for many."""

    server: FaultyProvider
    image: bytes
    #: How long one job may take.
    seconds: float = PATIENCE
    fetch: GuardedFetch = field(default_factory=GuardedFetch)
    memory: Memory = field(default_factory=lambda: Memory(256 * 1024 * 1024))

    async def run(self, golden: Golden, case: str, alter: Callable[[int, RawResponse], RawResponse]) -> JobOutcome:
        """Runs the job of a golden's case with each response altered; responses are numbered, the image's is last."""
        name = uuid.uuid4().hex
        script = self._script(golden, case, alter, url=f"{self.server.url}/{name}")
        url = self.server.play(name, script)
        entry = {
            **golden.entry,
            "timeout_seconds": self.seconds * 0.75,
            "poll_interval_seconds": 0.005,
            "allow_private_addresses": True,
        }
        provider = goldens.provider_of(Golden(kind=golden.kind, entry=entry, cases=golden.cases), url)
        job = self._job(golden, golden.cases[case])
        desk, staging, recorder = LedgerJobService(), Staging(), Recorder()
        desk.register(provider)
        events: list[str] = []
        _events.set(events)
        generator = Generator(
            job_service=desk,
            facts=NatsFacts(recorder),  # type: ignore[arg-type]
            staging=staging,
            reader=GuardedImageReader(self.fetch, decoder()),
            providers={provider.name: provider},
            memory=self.memory,
        )
        try:
            await generator.run(Slot(token=job.lease_token, work=job))
        finally:
            await provider.close()
            self.server.forget(name)
        facts_sent = [fact_pb2.Fact.FromString(fact) for fact in recorder.facts]
        return JobOutcome(
            fact=from_protobuf.job_fact(facts_sent[-1], now=datetime.now(UTC)).fact if facts_sent else None,
            handed_back=bool(desk.released),
            staged={name: image for name, (image, _) in staging.objects.items()},
            raw=staging.raw,
            responses=script.sent,
            events=events,
            texts=[text for fact in facts_sent for text in _texts(fact)],
        )

    def _script(
        self, golden: Golden, case: str, alter: Callable[[int, RawResponse], RawResponse], *, url: str
    ) -> Script:
        encoded = base64.b64encode(self.image).decode()
        responses: dict[tuple[str, str], list[RawResponse]] = {}
        steps = goldens.script_of(golden, case, url)
        for number, (method, path, scripted) in enumerate(steps):
            body = scripted.content
            for fake in _FAKE_IMAGES:
                body = body.replace(f'"{fake}"'.encode(), f'"{encoded}"'.encode())
            if body in map(base64.b64decode, _FAKE_IMAGES):
                body = self.image
            headers = tuple((name.encode(), str(value).encode()) for name, value in scripted.headers.items())
            response = RawResponse(status=scripted.status, headers=headers, body=body)
            responses.setdefault((method, path), []).append(alter(number, response))
        file = RawResponse(status=200, headers=((b"Content-Type", b"image/png"),), body=self.image)
        return Script(responses=responses, image=[alter(len(steps), file)])

    def _job(self, golden: Golden, case: Mapping[str, Any]) -> Job:
        model = golden.entry["models"][0]["name"]
        order = goldens.order_of(golden, case)
        return job_of(
            id=f"job_{uuid.uuid4().hex}",
            lease_token=str(uuid.uuid4()),
            n=order.count,
            routes=(Route(provider=golden.entry["name"], model=model),),
            request=as_generator_sees({"prompt": "a harbour"}) if order.inputs else order.request,
            max_seconds=self.seconds,
            max_processing_seconds=self.seconds,
        )


def sha256(data: bytes) -> str:
    """As staged images have it."""
    return hashlib.sha256(data).hexdigest()


@contextmanager
def captured_events() -> Iterator[None]:
    """Each job's events are its own while this lasts."""

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            events = _events.get()
            if events is not None:
                events.append(record.getMessage())

    handler, logger = Handler(), logging.getLogger("services.generator")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def faults(ending: JobOutcome, *, image: bytes, free: bool) -> list[str]:
    """Returns what is wrong with the end of a job, whatever its provider returned."""
    problems = [f"{name}" for name in ending.events if name in BROKEN]
    if ending.fact is None and not ending.handed_back:
        problems.append("no fact reports its end")
    if ending.reason in ("INTERNAL", "ADAPTER_BROKE"):
        problems.append(f"it failed with {ending.reason}")
    if any("\x00" in text for text in ending.texts):
        problems.append("a fact holds a NUL, which PostgreSQL does not take")
    if not ending.is_delivered and not free and _was_accepted(ending) and _reports_no_purchase(ending):
        problems.append("a call that the provider accepted is reported as not charged")
    if ending.fact is not None and not ending.is_delivered and not free and _is_lost(ending, image):
        problems.append("an image that was received is neither delivered nor staged")
    return problems


def _is_lost(ending: JobOutcome, image: bytes) -> bool:
    """Returns whether the whole image arrived with a success, and is not in staging."""
    digest = sha256(image)
    came = any(_contains(response.plain, image) for _, _, response in ending.responses if _is_received(response))
    is_staged = any(staged.sha256 == digest for staged in ending.staged.values())
    return came and not is_staged and not any(_contains(data, image) for data in ending.raw.values())


def _is_received(response: RawResponse) -> bool:
    # Such a status has no body, whatever follows its head.
    return 200 <= response.status < 300 and response.status != 204 and response.framing is not Framing.SILENT


def _contains(body: bytes, image: bytes) -> bool:
    return image in body or base64.b64encode(image).rstrip(b"=") in body


def _was_accepted(ending: JobOutcome) -> bool:
    """Returns whether the provider's response to the purchase was a success."""
    purchases = [response for method, _, response in ending.responses if method == "POST"]
    return bool(purchases) and 200 <= purchases[-1].status < 300


def _reports_no_purchase(ending: JobOutcome) -> bool:
    calls = ending.fact.calls if isinstance(ending.fact, facts.StageFailed) else ()
    return any(call.phase in ("not_sent",) for call in calls)


def _texts(message: Any) -> Iterator[str]:
    for _, value in message.ListFields():
        for item in value if isinstance(value, Sequence) and not isinstance(value, str | bytes) else (value,):
            if isinstance(item, str):
                yield item
            elif hasattr(item, "ListFields"):
                yield from _texts(item)
