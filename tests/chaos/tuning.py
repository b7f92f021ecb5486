"""What the stack under fire is told: times, providers with their limits, tenants."""

import hashlib
from pathlib import Path

import yaml

from tests.support.providers.paid_server import PRICE_MICROS

LEASE_SECONDS = 3.0
MONITOR_INTERVAL_SECONDS = 1.0
#: Short enough that a run sees rescues, long enough that an outage of two minutes is survived where that is promised.
TUNING = {
    "LEASE_SECONDS": f"{LEASE_SECONDS:g}",
    "MONITOR_INTERVAL_SECONDS": f"{MONITOR_INTERVAL_SECONDS:g}",
    "MAX_PROCESSING_SECONDS": "30",
    "MAX_GENERATING_SECONDS": "150",
    "MAX_UPLOADING_SECONDS": "150",
    "MAX_QUEUED_SECONDS": "900",
    "GRACE_SECONDS": "5",
    "GENERATOR_SLOTS": "12",
    "UPLOADER_SLOTS": "8",
    "LOG_FORMAT": "text",
    # Receivers are in the suite.
    "WEBHOOK_ALLOW_PRIVATE": "true",
}
#: How many calls of the synchronous provider may be under way, and begin within a minute.
AT_ONCE, PER_MINUTE = 4, 120
#: At one worker now and then, while its provider file is another.
AT_ONCE_ELSEWHERE = 3
#: Keys by tenant.
TENANTS = {"many": "key-of-many", "some": "key-of-some", "few": "key-of-few"}
#: Quotas by tenant.
QUOTAS = {"some": {"max_in_flight": 2}, "few": {"max_queued": 3, "requests_per_minute": 600}}
_SYNC = """
  - name: sync
    kind: openai
    base_url: {url}/v1
    api_key_env: PAID_API_KEY
    timeout_seconds: 8
    max_concurrency: {at_once}
    requests_per_minute: {per_minute}
    models: [{{name: paid-sync, price_micros_per_image: {price}}}]
    settings: {{max_images_per_call: 2}}
"""
_ASYNC = """
  - name: async
    kind: replicate
    base_url: {url}
    api_key_env: PAID_API_KEY
    timeout_seconds: 30
    poll_interval_seconds: 0.2
    models: [{{name: paid/async, price_micros_per_image: {price}}}]
    settings: {{max_images_per_call: 2}}
"""
_OWN = """
default: procedural
providers:
  - {{name: procedural, kind: procedural}}
"""


def write_providers(file: Path, paid_url: str, *, at_once: int = AT_ONCE, has_async: bool = True) -> None:
    """The provider file, at one go."""
    text = (_OWN + _SYNC + (_ASYNC if has_async else "")).format(
        url=paid_url, price=PRICE_MICROS, at_once=at_once, per_minute=PER_MINUTE
    )
    new = file.with_suffix(".new")
    new.write_text(text, encoding="utf-8")
    new.replace(file)


def write_keys(file: Path) -> Path:
    """The keys file."""
    tenants = [
        {"name": name, "key_sha256": [hashlib.sha256(key.encode()).hexdigest()], **QUOTAS.get(name, {})}
        for name, key in TENANTS.items()
    ]
    file.write_text(yaml.safe_dump({"tenants": tenants}), encoding="utf-8")
    return file
