"""Frontends that submit, follow, cancel, retry and delete, and remember what they were promised and what they saw."""

import json
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

import httpx
from calotype.job_status import FINAL_STATUSES

from tests.chaos.sight import HANGS_UP, LONGEST_READ, SHORTEST_READ, Sight, View, jobs_of, lasting
from tests.chaos.tuning import TENANTS
from tests.support.providers.paid_server import SLOWLY

#: What users ask for.
PROMPT = "harbour {number} at dawn"
SHAPES = {"sync": 47, "async": 47, "procedural": 6}
#: Whose users are at work: of eight, six are of one tenant.
USERS = ("many", "some", "many", "few", "many", "many", "many", "many")


@dataclass(kw_only=True)
class Accepted:
    """A job that was answered for."""

    id: str
    key: str
    tenant: str
    prompt: str
    shape: str
    count: int
    fallback: list[str]
    falls_back_on_refusal: bool
    finish_within: int | None
    may_pay_again: bool
    """Whether its own request consents to pay again."""
    callback: str | None
    """Receiver and path of its callback URL."""
    answers: set[str] = field(default_factory=set)
    """Ids that its key was answered with; one, whatever happened."""
    deleted: bool = False
    retries: int = 0
    consents: int = 0
    """Retries that consented to pay again."""
    heard: list[int] = field(default_factory=list)
    """Sequences in the order in which a stream told them, over all its connections; none of a job that was polled."""
    last_seen: int = 0
    seen: View | None = None
    """How it looks at peace."""
    told: View | None = None
    """What its last event says."""


#: Returns the URL, and receiver and path, of a callback for the job of a key; None for none.
Callbacks = Callable[[str, random.Random], tuple[str, str] | None]


class AnyGateway(httpx.HTTPTransport):
    """Sends each request to any of several gateways, as a load balancer does that does not know which are well."""

    def __init__(self, urls: Sequence[str], dice: random.Random) -> None:
        super().__init__(trust_env=False)
        self._urls = [httpx.URL(url) for url in urls]
        self._dice = dice

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Sends it; the header Host stays, of which the gateway makes links."""
        chosen = self._dice.choice(self._urls)
        request.url = request.url.copy_with(host=chosen.host, port=chosen.port)
        return super().handle_request(request)


class Load:
    """Keeps so many jobs in flight until told to stop; `urls` are those of all gateways."""

    def __init__(
        self, urls: Sequence[str], *, seed: int, at_once: int, callbacks: Callbacks = lambda key, dice: None
    ) -> None:
        self._urls = urls
        self._callbacks = callbacks
        self._seed = seed
        self._lock = threading.Lock()
        self._number = 0
        self._stop = threading.Event()
        self._sights: dict[str, Sight] = {}
        self.accepted: list[Accepted] = []
        self.surprises: list[str] = []
        #: How jobs have ended so far: their last states, or "deleted".
        self.ends: set[str] = set()
        tenants = cycle(USERS)
        self._threads = [
            threading.Thread(target=self._user, args=(next(tenants),), daemon=True) for _ in range(at_once)
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def finish(self, *, seconds: float) -> None:
        """Take no new jobs, and follow the others to their end. Raises `AssertionError` when that takes too long."""
        self._stop.set()
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(deadline - time.monotonic(), 0.1))
        left = sum(thread.is_alive() for thread in self._threads)
        assert not left, f"{left} users still wait for their job after {seconds:.0f} s"

    def look_again(self) -> None:
        """See each job as it is at peace, and what its last event says."""
        clients = {tenant: self._client(tenant) for tenant in TENANTS}
        for one in self.accepted:
            if not one.deleted:
                visit = _Visit(clients[one.tenant], random.Random(one.id), one.tenant, self._tell)
                one.seen, one.told = visit.look_again(one, self._sights[one.id])
        for client in clients.values():
            client.close()

    def write(self, path: Path) -> None:
        """Keep what was promised."""
        told = [asdict(one) | {"answers": sorted(one.answers)} for one in self.accepted]
        path.write_text(json.dumps(told), encoding="utf-8")

    def _user(self, tenant: str) -> None:
        with self._client(tenant) as http:
            while not self._stop.is_set():
                with self._lock:
                    self._number += 1
                    number = self._number
                dice = random.Random(f"{self._seed}/{number}")
                end = _Visit(http, dice, tenant, self._tell, self._callbacks).run(number, self._add)
                with self._lock:
                    self.ends.add(end)

    def _client(self, tenant: str) -> httpx.Client:
        credential = {"Authorization": f"Bearer {TENANTS[tenant]}"}
        transport = AnyGateway(self._urls, random.Random(f"{self._seed}/{tenant}"))
        return httpx.Client(base_url=self._urls[0], timeout=10, transport=transport, headers=credential)

    def _add(self, one: Accepted) -> Sight:
        with self._lock:
            self.accepted.append(one)
            return self._sights.setdefault(one.id, Sight(one.id, self._tell))

    def _tell(self, surprise: str) -> None:
        with self._lock:
            self.surprises.append(surprise)


class _Visit:
    """One user with one job; every request is repeated until there is an answer."""

    def __init__(
        self,
        http: httpx.Client,
        dice: random.Random,
        tenant: str,
        tell: Callable[[str], None],
        callbacks: Callbacks = lambda key, dice: None,
    ) -> None:
        self._http = http
        self._dice = dice
        self._tenant = tenant
        self._tell = tell
        self._callbacks = callbacks
        self._pause = threading.Event()

    def run(self, number: int, add: Callable[[Accepted], Sight]) -> str:
        """Submit a job and see it through; how it ended."""
        dice = self._dice
        cancels = dice.random() < 0.1
        body, key = self._request(number, cancels=cancels), f"key-{number}"
        url, callback = self._callbacks(key, dice) or (None, None)
        body |= {} if url is None else {"callback_url": url}
        job = self._ask("POST", "/v1/jobs", json=body, headers={"Idempotency-Key": key}, good=(200, 202))
        one = Accepted(
            id=job["id"],
            key=key,
            tenant=self._tenant,
            prompt=body["prompt"],
            shape=body["provider"],
            count=body["n"],
            fallback=body.get("fallback", []),
            falls_back_on_refusal=body.get("fallback_on_refusal", False),
            finish_within=body.get("finish_within_seconds"),
            may_pay_again=body.get("on_ambiguous") == "retry",
            callback=callback,
            answers={job["id"]},
        )
        sight = add(one)
        sight.see(job)
        if dice.random() < 0.1:
            again = self._ask("POST", "/v1/jobs", json=body, headers={"Idempotency-Key": key}, good=(200, 202))
            one.answers.add(again["id"])
        follow = self._watch if dice.random() < 0.4 else self._poll
        cancel_at = time.monotonic() + dice.uniform(0, 6) if cancels else None
        final = follow(one, sight, 0, cancel_at)
        while final["status"] == "failed" and one.retries < 2 and dice.random() < 0.5:
            retried = self._retry(one, final)
            if retried is None:
                break
            final = follow(one, sight, retried, None)
        one.heard, one.last_seen = sight.heard, int(final["sequence"])
        if dice.random() < 0.1:
            self._ask("DELETE", f"/v1/jobs/{one.id}", good=(204, 404))
            one.deleted = True
            return "deleted"
        return str(final["status"])

    def look_again(self, one: Accepted, sight: Sight) -> tuple[View, View | None]:
        """How a job looks now, and what its last event says; None when there is none."""
        seen = self._ask("GET", f"/v1/jobs/{one.id}", good=(200,))
        sight.see(seen)
        while True:
            try:
                with self._stream(one, after=int(seen["sequence"]) - 1, seconds=10.0) as answer:
                    self._note(f"GET /v1/jobs/{one.id}/events", answer, good=(200, 204))
                    if answer.is_success:
                        told = next(jobs_of(answer), None)
                        break
            except httpx.TransportError:
                self._pause.wait(0.3)
        return lasting(seen), None if told is None else lasting(told)

    def _request(self, number: int, *, cancels: bool) -> dict[str, Any]:
        dice = self._dice
        [shape] = dice.choices([*SHAPES], [*SHAPES.values()])
        count = dice.choices((1, 2, 3), (6, 3, 2))[0] if shape != "procedural" else 1
        body: dict[str, Any] = {"prompt": PROMPT.format(number=number), "provider": shape, "n": count}
        if shape == "procedural":
            body["size"] = "64x64"
        if dice.random() < 0.3:
            body["on_ambiguous"] = "retry"
        if shape == "sync" and dice.random() < 0.3:
            body["fallback"] = ["async"]
            body["fallback_on_refusal"] = dice.random() < 0.5
        if dice.random() < 0.1:
            body["finish_within_seconds"] = dice.choice((3, 6, 12, 25))
        elif cancels and dice.random() < 0.5:
            # Long enough at the provider that the word to stop it matters.
            body["prompt"] += f", {SLOWLY}"
        return body

    def _retry(self, one: Accepted, final: View) -> int | None:
        """The sequence at which the job goes on; None where its user is not offered that."""
        actions = final["display"]["actions"]
        if not {"retry", "retry_may_charge_again"} & set(actions):
            return None
        wish = {"on_ambiguous": "retry" if "retry_may_charge_again" in actions else "fail"}
        headers = {"Idempotency-Key": f"retry-{one.id}-{one.retries}"}
        retried = self._ask("POST", f"/v1/jobs/{one.id}/retry", json=wish, headers=headers, good=(200, 202))
        one.retries += 1
        one.consents += wish["on_ambiguous"] == "retry"
        return int(retried["sequence"])

    def _poll(self, one: Accepted, sight: Sight, since: int, cancel_at: float | None) -> View:
        while True:
            job = self._ask("GET", f"/v1/jobs/{one.id}", good=(200,))
            sight.see(job)
            if job["status"] in FINAL_STATUSES and job["sequence"] >= since:
                return job
            cancel_at = self._cancel_if_due(one, cancel_at)
            self._pause.wait(self._dice.uniform(0.4, 1.0))

    def _watch(self, one: Accepted, sight: Sight, since: int, cancel_at: float | None) -> View:
        """Follow by a stream; hang up now and then, and go on after what was heard last."""
        while True:
            quiet = self._dice.uniform(SHORTEST_READ, LONGEST_READ)
            try:
                with self._stream(one, after=sight.last_heard, seconds=quiet) as answer:
                    self._note(f"GET /v1/jobs/{one.id}/events", answer, good=(200,))
                    for view in jobs_of(answer):
                        sight.hear(view)
                        if view["status"] in FINAL_STATUSES and view["sequence"] >= since:
                            return view
                        if self._dice.random() < HANGS_UP:
                            break
            except httpx.TransportError:
                # The gateway has gone, or it was quiet for longer than this reader waits.
                self._pause.wait(self._dice.uniform(0.0, 0.3))
            cancel_at = self._cancel_if_due(one, cancel_at)

    def _stream(self, one: Accepted, *, after: int, seconds: float) -> Any:
        limits = httpx.Timeout(10.0, read=seconds)
        headers = {"Last-Event-ID": str(after)}
        return self._http.stream("GET", f"/v1/jobs/{one.id}/events", headers=headers, timeout=limits)

    def _cancel_if_due(self, one: Accepted, cancel_at: float | None) -> float | None:
        if cancel_at is None or time.monotonic() < cancel_at:
            return cancel_at
        self._ask("POST", f"/v1/jobs/{one.id}/cancel", good=(200, 409))
        return None

    def _ask(self, method: str, path: str, *, good: tuple[int, ...], **request: Any) -> dict[str, Any]:
        """The answer, whenever it comes; what is neither good nor an outage is a surprise."""
        while True:
            try:
                answer = self._http.request(method, path, **request)
            except httpx.TransportError:
                self._pause.wait(0.3)
                continue
            if answer.status_code in good:
                found: dict[str, Any] = answer.json() if answer.content else {}
                return found
            self._note(f"{method} {path}", answer, good=good)

    def _note(self, request: str, answer: httpx.Response, *, good: tuple[int, ...]) -> None:
        if answer.status_code in good:
            return
        if answer.status_code not in (429, 503):
            self._tell(f"{request}: {answer.status_code} {answer.read().decode()[:300]}")
        self._pause.wait(0.3)
