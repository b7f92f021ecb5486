"""Webhooks of the run: tenants subscribe, jobs get callback URLs, and deliveries are made due before their time.

Retries are minutes and hours apart. As an operator could, the run makes what waits due at once, by SQL; so it shows
that nothing is lost or confused whenever an attempt is made, and nothing about how long the product waits.
"""

import json
import random
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psycopg2
from psycopg2 import sql

from tests.chaos import flipping_names
from tests.chaos.receivers import METADATA, Kind, Receiver, ReceiverThread, receivers_at
from tests.chaos.stack import Addresses
from tests.chaos.tuning import TENANTS
from tests.support.patience import PATIENCE
from tests.support.stacks.stack_clients import RetryingTransport

#: Seconds between two looks at what waits.
HURRY_SECONDS = 2.0
#: Seconds in which nothing is left to deliver, longer than two reads of the feed are apart.
QUIET_SECONDS = 6.0
#: Part of the jobs that name a callback URL.
CALLS_BACK = 0.4
LOCK = "SELECT id FROM webhook_endpoints ORDER BY id FOR UPDATE"
MAKE_DUE = "UPDATE webhook_deliveries SET due_at = now() WHERE state = 'pending' AND due_at > now()"
UNBLOCK = "UPDATE webhook_endpoints SET blocked_until = NULL, ready_at = now() WHERE ready_at > now()"
UNDELIVERED = "SELECT count(*) FROM webhook_deliveries WHERE state IN ('pending', 'waiting', 'sending')"
UNREAD = "SELECT count(*) FROM webhook_notices"
TABLES = "SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema() ORDER BY 1"


@dataclass(frozen=True, kw_only=True)
class Subscriber:
    """An endpoint of a tenant: how its receiver behaves, and the types that it lists; none for all."""

    tenant: str
    kind: Kind
    event_types: tuple[str, ...] = ()
    scheme: str = "v1"

    @property
    def name(self) -> str:
        """Name of the receiver."""
        name = f"{self.kind}-{self.tenant}"
        return name if self.scheme == "v1" else f"{self.scheme}-{name}"


SUBSCRIBERS = (
    *(Subscriber(tenant=tenant, kind=Kind.FLAKY) for tenant in TENANTS),
    Subscriber(tenant="many", kind=Kind.STEADY),
    Subscriber(tenant="many", kind=Kind.HANGING, event_types=("job.completed", "job.canceled")),
    Subscriber(tenant="many", kind=Kind.VANISHING),
    Subscriber(tenant="some", kind=Kind.STEADY, event_types=("job.completed", "job.settled")),
    Subscriber(tenant="many", kind=Kind.FLIPPING),
    Subscriber(tenant="many", kind=Kind.STEADY, scheme="v1a"),
)
#: Receivers of callback URLs, which jobs of all tenants name.
CALLBACKS = {"callback-steady": Kind.STEADY, "callback-flaky": Kind.FLAKY}


class Webhooks:
    """What a run subscribes to, and what its receivers got."""

    def __init__(self, addresses: Addresses, thread: ReceiverThread, receivers: Mapping[str, Receiver]) -> None:
        self._addresses = addresses
        self._thread = thread
        self._receivers = receivers
        self._endpoints: list[dict[str, Any]] = []
        self._signing_secrets: dict[str, str] = {}
        self._accepted_forbidden: list[str] = []
        self._stop = threading.Event()
        self._hurrying = threading.Thread(target=self._hurry, daemon=True)

    def subscribe(self) -> None:
        """Create all endpoints, before anything else happens."""
        for tenant, key in TENANTS.items():
            credential = {"Authorization": f"Bearer {key}"}
            with httpx.Client(
                base_url=self._addresses.gateways[0],
                headers=credential,
                transport=RetryingTransport(),
                timeout=PATIENCE,
            ) as http:
                secret = http.get("/v1/webhooks/signing-secret").raise_for_status().json()["secret"]
                self._signing_secrets[tenant] = secret
                for one in (one for one in SUBSCRIBERS if one.tenant == tenant):
                    self._create(http, one)
                refused = http.post("/v1/webhooks", json={"url": METADATA})
                if refused.is_success:
                    self._accepted_forbidden.append(f"An endpoint at {METADATA} was accepted.")
        self._hurrying.start()

    def callback(self, key: str, dice: random.Random) -> tuple[str, str] | None:
        """URL, and receiver and path, of a callback for the job of that key; None for none."""
        name = dice.choice([*CALLBACKS])
        return (f"{self._receivers[name].url}/{key}", f"{name}/{key}") if dice.random() < CALLS_BACK else None

    def finish(self, *, seconds: float) -> float | None:
        """Let receivers be good, and wait until nothing is left to deliver; seconds of that, None for never."""
        flipping_names.write(self._addresses.names, flipping_names.STEADY)
        self._thread.run(self._thread.receivers.make_peace())
        began, quiet_since = time.monotonic(), None
        while time.monotonic() - began < seconds:
            if self._is_busy():
                quiet_since = None
            else:
                quiet_since = quiet_since or time.monotonic()
                if time.monotonic() - quiet_since > QUIET_SECONDS:
                    return quiet_since - began
            self._stop.wait(0.2)
        return None

    def write(self, path: Path) -> None:
        """Keep what was subscribed to, what came, and all that the notifier's tables hold."""
        strayed = self._thread.receivers.strayed()
        redirected = [f"{strayed} connections came to an address that no endpoint names."] if strayed else []
        kept = {
            "endpoints": self._endpoints,
            "signing_secrets": self._signing_secrets,
            "requests": self._thread.receivers.requests,
            "forbidden": [*self._accepted_forbidden, *redirected],
            "tables": self._dump(),
        }
        path.write_text(json.dumps(kept), encoding="utf-8")

    def close(self) -> None:
        """Make nothing due any more."""
        self._stop.set()
        if self._hurrying.ident is not None:
            self._hurrying.join()

    def _create(self, http: httpx.Client, one: Subscriber) -> None:
        url = f"{self._receivers[one.name].url}/hook"
        body = {"url": url, "event_types": one.event_types, "description": one.name, "signature_scheme": one.scheme}
        created = http.post("/v1/webhooks", json=body).raise_for_status().json()
        self._endpoints.append(
            {
                "id": created["id"],
                "receiver": one.name,
                "tenant": one.tenant,
                "event_types": one.event_types,
                "scheme": one.scheme,
                "secret": created["secret"] or created["public_keys"][0],
                "created_at": created["created_at"],
            }
        )

    def _hurry(self) -> None:
        while not self._stop.wait(HURRY_SECONDS):
            self._run(LOCK, MAKE_DUE, UNBLOCK)

    def _is_busy(self) -> bool:
        rows = self._run(f"{UNDELIVERED} UNION ALL {UNREAD}")
        return rows is None or any(row[0] for row in rows)

    def _run(self, *statements: str) -> list[tuple[Any, ...]] | None:
        """Rows of the last statement, where it has some; None while the database is away."""
        opened = partial(psycopg2.connect, self._addresses.notifier_url, connect_timeout=3)
        try:
            with closing(opened()) as connection, connection, connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
                return list(cursor.fetchall()) if cursor.description else []
        except psycopg2.Error:
            return None

    def _dump(self) -> dict[str, list[str]]:
        with closing(psycopg2.connect(self._addresses.notifier_url)) as connection, connection.cursor() as cursor:
            cursor.execute(TABLES)
            tables = [name for (name,) in cursor.fetchall()]
            found = {}
            for table in tables:
                cursor.execute(
                    sql.SQL("SELECT to_jsonb(one)::text FROM {table} AS one").format(table=sql.Identifier(table))
                )
                found[table] = [text for (text,) in cursor.fetchall()]
            return found


@contextmanager
def webhooks_at(addresses: Addresses, *, seed: int) -> Iterator[Webhooks]:
    """Receivers that listen, and nobody who has subscribed yet."""
    kinds = {one.name: one.kind for one in SUBSCRIBERS} | CALLBACKS
    receivers = {name: Receiver(name, kind, seed=seed) for name, kind in kinds.items()}
    with receivers_at([*receivers.values()]) as thread:
        webhooks = Webhooks(addresses, thread, receivers)
        try:
            yield webhooks
        finally:
            webhooks.close()
