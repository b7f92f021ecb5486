"""Keys that end: they are refused from then on, and the end is seen before."""

import hashlib
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from common.config import ConfigError
from common.telemetry import metrics
from gateway.auth.authenticator import Authenticator
from gateway.auth.key_expiry import KeyExpiry
from gateway.auth.keyring import Keyring, Principal
from gateway.auth.keys_file import KeysFile
from tests.support.gateway.gateway_app import Clock, assembled, in_process
from tests.support.job_service.fake_job_service import FakeJobService, serving

DIGEST, OTHER = (hashlib.sha256(key).hexdigest() for key in (b"first", b"second"))
NOW = datetime(2026, 6, 1, tzinfo=UTC)


def principal(tenant: str, days: float | None, *, key: str = DIGEST, role: str = "tenant") -> Principal:
    end = None if days is None else NOW + timedelta(days=days)
    return Principal(tenant=tenant, role=role, key_sha256=key, key_expires_at=end)  # type: ignore[arg-type]


def seen() -> dict[str, float]:
    """Days until access ends, by role."""
    return {
        sample.labels["role"]: sample.value / 86_400
        for family in metrics.PROCESS.collect()
        for sample in family.samples
        if sample.name == "calotype_access_ends_in_seconds"
    }


def test_a_file_says_when_keys_end(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    path.write_text(
        f"tenants: [{{name: acme, key_sha256: ['{DIGEST}', '{OTHER}'], "
        f"key_expires_at: {{'{OTHER.upper()}': 2026-06-01T02:00:00+02:00}}}}]"
    )
    keyring = KeysFile(path).load()

    ends = [found and found.key_expires_at for found in map(keyring.by_key, ("first", "second"))]
    assert ends == [None, NOW]


@pytest.mark.parametrize(
    ("expiry", "word"),
    [
        (f"{{'{OTHER}': 2026-06-01T00:00:00Z}}", "not in key_sha256"),
        (f"{{'{DIGEST}': 2026-06-01T00:00:00}}", "timezone"),
        (f"{{'{DIGEST}': 2026-06-01}}", "timezone"),
        (f"{{'{DIGEST}': soon}}", "key_expires_at"),
    ],
)
def test_an_end_that_is_none_stops_the_start(tmp_path: Path, expiry: str, word: str) -> None:
    path = tmp_path / "keys.yaml"
    path.write_text(f"tenants: [{{name: acme, key_sha256: ['{DIGEST}'], key_expires_at: {expiry}}}]")

    with pytest.raises(ConfigError, match=word):
        KeysFile(path).load()


@pytest.fixture
async def http(service: FakeJobService, clock: Clock) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway with a key of tenant `acme` that ends in an hour, and one that does not."""
    ending = Principal(tenant="acme", key_sha256=DIGEST, key_expires_at=clock() + timedelta(hours=1))
    keyring = Keyring([ending, Principal(tenant="acme", key_sha256=OTHER)])
    async with (
        serving(service) as address,
        assembled(address, clock=clock, authenticator=Authenticator(keyring, clock=clock)) as (app, _),
        in_process(app) as opened,
    ):
        yield opened


async def status(http: httpx.AsyncClient, bearer: str, path: str = "/v1/jobs") -> int:
    return (await http.get(path, headers={"Authorization": f"Bearer {bearer}"})).status_code


async def test_a_key_is_refused_once_it_has_ended(http: httpx.AsyncClient, clock: Clock) -> None:
    before = await status(http, "first")
    clock.now += timedelta(hours=1)

    assert (before, await status(http, "first"), await status(http, "second")) == (200, 401, 200)


async def test_tokens_end_with_the_key_that_signed_them(
    http: httpx.AsyncClient, clock: Clock, service: FakeJobService
) -> None:
    job = service.add(tenant="acme").id
    body = {"job_id": job, "actions": ["read"], "ttl_seconds": 7_200}
    tokens = [
        (await http.post("/v1/client-tokens", json=body, headers={"Authorization": f"Bearer {key}"})).json()["token"]
        for key in ("first", "second")
    ]
    clock.now += timedelta(hours=1)

    assert [await status(http, token, f"/v1/jobs/{job}") for token in tokens] == [401, 200]


def test_access_through_a_key_ends_with_it(clock: Clock) -> None:
    ending = Principal(tenant="acme", key_sha256=DIGEST, key_expires_at=clock() + timedelta(hours=1))

    assert Authenticator(Keyring([ending]), clock=clock).seconds_left(ending) == 3_600


async def test_the_first_tenant_without_a_key_is_seen_by_role() -> None:
    keyring = Keyring(
        [
            principal("rotating", 1),
            principal("rotating", 90, key=OTHER),
            principal("soon", 20),
            principal("lasting", 2),
            principal("lasting", None, key=OTHER),
            principal("ops", -1, role="operator"),
        ]
    )
    expiry = KeyExpiry(lambda: keyring, clock=lambda: NOW)
    await expiry.run_once()
    assert seen() == {"tenant": 20, "operator": -1}

    keyring = Keyring([principal("lasting", None)])
    await expiry.run_once()
    assert seen() == {}


async def test_the_log_names_a_tenant_once_two_weeks_before(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    now = NOW
    expiry = KeyExpiry(lambda: Keyring([principal("acme", 20)]), clock=lambda: now)
    for days in (0, 5, 6, 6, 7):
        now = NOW + timedelta(days=days)
        await expiry.run_once()

    assert [record.message for record in caplog.records] == ["keys.expiry_noticed"]
    assert vars(caplog.records[0])["tenant"] == "acme"
    assert DIGEST[:8] not in caplog.text
