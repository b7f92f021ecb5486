"""Frontends that submit, follow, cancel, retry and delete, and remember what they were promised."""

import json
import random
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx

FINAL = ("completed", "failed", "canceled")
SHAPES = {"sync": 47, "async": 47, "procedural": 6}


@dataclass(kw_only=True)
class Accepted:
    """A job that was answered for."""

    id: str
    key: str
    prompt: str
    shape: str
    count: int
    answers: set[str] = field(default_factory=set)
    """Ids that its key was answered with; one, whatever happened."""
    deleted: bool = False
    retries: int = 0


class Load:
    """Keeps so many jobs in flight until told to stop."""

    def __init__(self, url: str, *, seed: int, at_once: int) -> None:
        self._url = url
        self._seed = seed
        self._lock = threading.Lock()
        self._number = 0
        self._stop = threading.Event()
        self.accepted: list[Accepted] = []
        self.surprises: list[str] = []
        #: How jobs have ended so far: their last states, or "deleted".
        self.ends: set[str] = set()
        self._threads = [threading.Thread(target=self._user, daemon=True) for _ in range(at_once)]

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

    def write(self, path: Path) -> None:
        """Keep what was promised."""
        told = [asdict(one) | {"answers": sorted(one.answers)} for one in self.accepted]
        path.write_text(json.dumps(told), encoding="utf-8")

    def _user(self) -> None:
        with httpx.Client(base_url=self._url, timeout=10, trust_env=False) as http:
            while not self._stop.is_set():
                with self._lock:
                    self._number += 1
                    number = self._number
                end = _Visit(http, random.Random(f"{self._seed}/{number}"), self._tell).run(number, self._add)
                with self._lock:
                    self.ends.add(end)

    def _add(self, one: Accepted) -> None:
        with self._lock:
            self.accepted.append(one)

    def _tell(self, surprise: str) -> None:
        with self._lock:
            self.surprises.append(surprise)


class _Visit:
    """One user with one job; every request is repeated until there is an answer."""

    def __init__(self, http: httpx.Client, dice: random.Random, tell: Callable[[str], None]) -> None:
        self._http = http
        self._dice = dice
        self._tell = tell
        self._pause = threading.Event()

    def run(self, number: int, add: Callable[[Accepted], None]) -> str:
        """Submit a job and see it through; how it ended."""
        dice = self._dice
        [shape] = dice.choices([*SHAPES], [*SHAPES.values()])
        count = dice.choices((1, 2, 3), (6, 3, 2))[0] if shape != "procedural" else 1
        body: dict[str, Any] = {"prompt": f"harbour {number} at dawn", "provider": shape, "n": count}
        if shape == "procedural":
            body["size"] = "64x64"
        if dice.random() < 0.3:
            body["on_ambiguous"] = "retry"
        key = f"key-{number}"
        job = self._ask("POST", "/v1/jobs", json=body, headers={"Idempotency-Key": key}, good=(200, 202))
        one = Accepted(id=job["id"], key=key, prompt=body["prompt"], shape=shape, count=count, answers={job["id"]})
        add(one)
        if dice.random() < 0.1:
            again = self._ask("POST", "/v1/jobs", json=body, headers={"Idempotency-Key": key}, good=(200, 202))
            one.answers.add(again["id"])
        cancel_at = time.monotonic() + dice.uniform(0, 6) if dice.random() < 0.1 else None
        final = self._follow(one, cancel_at)
        while final["status"] == "failed" and one.retries < 2 and dice.random() < 0.5:
            final = self._retry(one, final)
        if dice.random() < 0.1:
            self._ask("DELETE", f"/v1/jobs/{one.id}", good=(204, 404))
            one.deleted = True
            return "deleted"
        return str(final["status"])

    def _retry(self, one: Accepted, final: dict[str, Any]) -> dict[str, Any]:
        actions = final["display"]["actions"]
        if not {"retry", "retry_may_charge_again"} & set(actions):
            return final | {"status": "given up"}
        wish = {"on_ambiguous": "retry" if "retry_may_charge_again" in actions else "fail"}
        headers = {"Idempotency-Key": f"retry-{one.id}-{one.retries}"}
        self._ask("POST", f"/v1/jobs/{one.id}/retry", json=wish, headers=headers, good=(200, 202))
        one.retries += 1
        return self._follow(one, None)

    def _follow(self, one: Accepted, cancel_at: float | None) -> dict[str, Any]:
        while True:
            job = self._ask("GET", f"/v1/jobs/{one.id}", good=(200,))
            if job["status"] in FINAL:
                return job
            if cancel_at is not None and time.monotonic() >= cancel_at:
                self._ask("POST", f"/v1/jobs/{one.id}/cancel", good=(200, 409))
                cancel_at = None
            self._pause.wait(self._dice.uniform(0.4, 1.0))

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
            if answer.status_code not in (429, 503):
                self._tell(f"{method} {path}: {answer.status_code} {answer.text[:300]}")
            self._pause.wait(0.3)
