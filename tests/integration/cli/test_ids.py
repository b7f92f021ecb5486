"""Ids on the command line: any beginning of an id stands for it."""

from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import pytest
from click.testing import CliRunner, Result

from cli.__main__ import main
from cli.api import ids
from common.ids import new_uuid7, prefixed
from tests.support.gateway.fake_gateway import JOB_ID, FakeGateway, fake_gateway, job

BEGIN = "job_01a219cfd96e"


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    """A gateway with one job."""
    with fake_gateway() as running:
        yield running


def calotype(gateway: FakeGateway, *arguments: str) -> Result:
    """Run a command against the gateway."""
    return CliRunner().invoke(main, [*arguments, "--url", gateway.url])


def acted_on(gateway: FakeGateway, command: str, written: str) -> bool:
    """Whether the command reached the job whose id begins as written."""
    calotype(gateway, "jobs", command, written)
    return ("POST", f"/v1/jobs/{JOB_ID}/{command}") in gateway.bodies


@pytest.mark.parametrize("written", [BEGIN, "job_01a2", "01a219cf", JOB_ID[:-1], JOB_ID])
def test_the_beginning_of_an_id_stands_for_it(gateway: FakeGateway, written: str) -> None:
    gateway.others = [job("failed", "Failed", id="job_02a219cfd96e713d9a3b5c7d9e1f2a4b")]

    assert acted_on(gateway, "cancel", written)
    assert f"/v1/jobs/{JOB_ID}" in _paths(gateway, "jobs", "get", written)
    assert f"/v1/jobs/{JOB_ID}/events" in _paths(gateway, "jobs", "watch", "--json", written, end="completed")
    assert f"/v1/admin/jobs/{JOB_ID}" in _paths(gateway, "admin", "job", "--json", written)


def _paths(gateway: FakeGateway, *command: str, end: str = "queued") -> list[str]:
    gateway.job = job(end, "It is")
    before = len(gateway.reads)
    calotype(gateway, *command)
    return [path.partition("?")[0] for path in gateway.reads[before:]]


def test_a_whole_id_is_not_looked_up(gateway: FakeGateway) -> None:
    calotype(gateway, "jobs", "get", JOB_ID)

    assert gateway.reads == [f"/v1/jobs/{JOB_ID}"]


def test_only_jobs_of_the_time_in_the_id_are_read(gateway: FakeGateway) -> None:
    gateway.job["id"] = prefixed("job", new_uuid7())
    calotype(gateway, "jobs", "get", gateway.job["id"][:14])

    query = parse_qs(urlsplit(gateway.reads[0]).query)
    after, before = (datetime.fromisoformat(query[f"created_{side}"][0]) for side in ("after", "before"))
    assert after < datetime.now(UTC) < before
    assert (before - after).total_seconds() < 240


def test_several_ids_are_all_named(gateway: FakeGateway) -> None:
    other = f"{JOB_ID[:-1]}c"
    gateway.others = [job("failed", "Failed", id=other)]

    result = calotype(gateway, "jobs", "delete", BEGIN)

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.count(JOB_ID) == result.stderr.count(other) == 1


def test_no_id_and_too_many_ids_are_told_apart(gateway: FakeGateway) -> None:
    unknown = calotype(gateway, "jobs", "get", "job_ffffffff")
    gateway.next_page_token = "more"
    endless = calotype(gateway, "jobs", "get", "job_01a3")

    assert (unknown.exit_code, "No id begins with job_ffffffff" in unknown.stderr) == (4, True)
    assert (endless.exit_code, "write more of it" in endless.stderr) == (2, True)
    assert len(gateway.reads) == 1 + ids.MAX_PAGES


def test_webhooks_and_bulk_actions_are_found_too(gateway: FakeGateway) -> None:
    webhook, bulk = (prefixed(kind, new_uuid7()) for kind in ("wh", "bulk"))
    gateway.contents = {
        "/v1/webhooks": {"webhooks": [{"id": webhook}], "next_page_token": None},
        "/v1/admin/bulk-actions": {"bulk_actions": [{"id": bulk}]},
    }

    assert calotype(gateway, "webhooks", "remove", webhook[:20]).stdout == f"{webhook}: Deleted.\n"
    calotype(gateway, "webhooks", "test", webhook[:20])
    calotype(gateway, "admin", "bulk", "stop", bulk[:20])
    assert {path for _, path in gateway.bodies} == {
        f"/v1/webhooks/{webhook}/test",
        f"/v1/admin/bulk-actions/{bulk}:cancel",
    }


def test_the_beginning_of_a_deliverys_id_is_refused_with_where_whole_ids_are(gateway: FakeGateway) -> None:
    delivery = prefixed("msg", new_uuid7())
    refused = calotype(gateway, "webhooks", "redeliver", delivery[:20])

    assert (refused.exit_code, "calotype webhooks deliveries" in refused.stderr, gateway.bodies) == (2, True, {})
    calotype(gateway, "webhooks", "redeliver", delivery)
    assert set(gateway.bodies) == {("POST", f"/v1/webhooks/deliveries/{delivery}/redeliver")}
