"""Numbers of `docs/webhooks.md`, from the constants of the notifier."""

import re
from pathlib import Path

from common.network.guarded_connect import DEFAULT_PORTS
from services.notifier.adapters import responses
from services.notifier.adapters.http_sender import DEADLINE_SECONDS
from services.notifier.application import redelivery, signing
from services.notifier.application.webhooks import MAX_TESTS
from services.notifier.domain import attempts, endpoints, health, retry_schedule
from services.notifier.domain.endpoints import SlotShare
from services.notifier.loops.sending import OVERRUN_SECONDS
from services.notifier.loops.slots import Slots
from services.notifier.settings import Settings
from services.notifier.store import fan_out, outcomes, retention

MANIFEST = Path(__file__).parents[3] / "deploy" / "k8s" / "base" / "notifier.yaml"
#: Durations that the page writes in words.
_WORDS = {0.5: "half a second"}
_UNITS = ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))


def duration(seconds: float) -> str:
    """Returns a duration in the largest unit that divides it; a single day is 24 hours."""
    length, unit = next(pair for pair in _UNITS if seconds % pair[0] == 0 and (pair[0] != 86_400 or seconds > 86_400))
    count = int(seconds // length)
    return f"{count} {unit}{'' if count == 1 else 's'}"


def retries() -> str:
    """Returns the table of attempts and their delays."""
    rows = [f"| {number} | {duration(delay)} |" for number, delay in enumerate(retry_schedule.DELAYS, start=2)]
    return "\n".join(["| attempt | after the one before |", "| --- | --- |", "| 1 | at once |", *rows])


def limits() -> str:
    """Returns the table of limits."""
    rows = (
        ("endpoints of a tenant", f"{Settings.webhooks_per_tenant} (`CALOTYPE_WEBHOOKS_PER_TENANT`)"),
        ("length of a URL, of a description", f"{endpoints.MAX_URL:,} and {endpoints.MAX_DESCRIPTION} characters"),
        (
            "deliveries to an endpoint in a minute",
            f"{Settings.webhook_deliveries_per_minute:,} (`CALOTYPE_WEBHOOK_DELIVERIES_PER_MINUTE`)",
        ),
        (
            "deliveries to an endpoint at the same time",
            f"{endpoints.IN_FLIGHT}; {endpoints.SLOW_IN_FLIGHT} while it is slow; 1 while it is degraded",
        ),
        ("one attempt, from the resolution of the name to the end of the response", duration(DEADLINE_SECONDS)),
        (
            "response that is read, and kept",
            f"{responses.MAX_BODY // 1024} KiB, and {attempts.MAX_RESPONSE:,} characters",
        ),
        ("attempts of a delivery", f"{retry_schedule.MAX_ATTEMPTS}"),
        ("attempts that are listed", f"the last {outcomes.MAX_ATTEMPTS_KEPT}"),
        ("longest `Retry-After` that is honoured", duration(retry_schedule.MAX_RETRY_AFTER)),
        ("time for which a delivery to a callback URL is tried", duration(fan_out.CALLBACK_DAYS * 86_400)),
        (
            "grace of an old secret",
            f"{duration(signing.DEFAULT_GRACE)} unless you say otherwise; at most {duration(signing.LONGEST_GRACE)}",
        ),
        ("ranges of an endpoint that are redelivered at a time", f"{redelivery.MAX_RANGES}"),
        ("tests at a time", f"1 of a tenant, {MAX_TESTS} of a notifier"),
        ("ended and held deliveries, and idempotency keys, are kept", f"{retention.RETENTION_DAYS} days"),
    )
    return "\n".join(["| limit | value |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows)])


def phrases() -> list[str]:
    """Returns what the page says in sentences, with numbers of the code."""
    ports = sorted(DEFAULT_PORTS)
    return [
        f"within {duration(DEADLINE_SECONDS)}",
        f"{retry_schedule.JITTER:.0%} longer or shorter",
        f"After {retry_schedule.MAX_ATTEMPTS} attempts",
        f"{health.POINTS_TO_OPEN // health.FAILURE_POINTS} failures in a row",
        f"{health.WINDOW_SHARE:.0%} of at least {health.WINDOW_ATTEMPTS} attempts",
        f"within {duration(health.WINDOW.total_seconds())}",
        f"after {duration(health.FIRST_PAUSE)}",
        f"up to {duration(health.LONGEST_PAUSE)}",
        f"for {duration(health.DISABLED_AFTER.total_seconds())}",
        f"longer than {duration(health.SLOW_MS / 1_000)}",
        f"at most {duration(retry_schedule.MAX_RETRY_AFTER)}",
        f"after {duration(retry_schedule.OWN_FAULT_DELAY)}",
        f"for {retention.RETENTION_DAYS} days",
        f"{', '.join(map(str, ports[:-1]))} and {ports[-1]}",
        f"by default {Settings.notifier_slots}",
        f"`deploy/k8s` opens {' and '.join(_opened_ports())}",
        f"{_part(health.OVERLOAD_POINTS / health.FAILURE_POINTS)}",
        f"{_part(endpoints.SLOW_PART)} of them is for slow endpoints and {_part(endpoints.NEW_PART)} for new ones",
        f"longer than {_WORDS[OVERRUN_SECONDS]}",
        f"up to {_overrun():g} times as many",
        f"rotate wh_... --grace-seconds {signing.DEFAULT_GRACE}",
    ]


def _overrun() -> float:
    """Returns attempts that may be under way, for each slot."""
    slots, taken = Slots(Settings.notifier_slots), 0
    for share in SlotShare:
        while slots.free(share):
            taken += 1
            slots.overrun(slots.take("acme", share))
    return taken / Settings.notifier_slots


def _part(part: float) -> str:
    return {0.5: "429 and 503 count half", 0.125: "an eighth"}[part]


def _opened_ports() -> list[str]:
    found = re.search(r'CALOTYPE_WEBHOOK_PORTS, value: "([\d,]+)"', MANIFEST.read_text(encoding="utf-8"))
    assert found
    return found[1].split(",")
