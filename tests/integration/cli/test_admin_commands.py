"""`calotype admin` against the real gateway, whose job-service is a stand-in."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from calotype.job.v1 import job_pb2
from click.testing import CliRunner, Result

from cli.__main__ import main
from gateway.auth.authenticator import Authenticator
from tests.support.gateway.gateway_app import assembled, free_use, over_http
from tests.support.gateway.job_operator import KEYS, JobOperator
from tests.support.job_service.fake_job_service import FakeJobService, serving

Run = Callable[..., Awaitable[Result]]


@pytest.fixture
def operator() -> JobOperator:
    """What job-service does for operators."""
    return JobOperator()


@pytest.fixture
async def calotype(operator: JobOperator) -> AsyncIterator[Run]:
    """Runs a command against the gateway, beside the loop that serves it."""
    async with (
        serving(FakeJobService()) as address,
        assembled(address, authenticator=Authenticator(KEYS, free_use=free_use()), operator=operator) as (app, parts),
        over_http(app, parts) as client,
    ):

        async def run(*arguments: str, answer: str = "") -> Result:
            command = ["admin", *arguments, "--url", str(client.base_url), "--api-key", "operator-key"]
            return await asyncio.to_thread(CliRunner().invoke, main, command, input=answer)

        yield run


async def test_jobs_are_listed_by_filters(calotype: Run, operator: JobOperator) -> None:
    operator.empty_pages = 2
    listed = await calotype("jobs", "--tenant", "acme", "--status", "queued", "--status", "failed", "--page-size", "7")

    assert listed.exit_code == 0, listed.output
    assert [line.split()[:3] for line in listed.stdout.splitlines()] == [
        ["job", "tenant", "status"],
        ["job_1", "acme", "queued"],
    ]
    assert listed.stderr == "more: --page-token next\n"
    assert [token for _, _, token in operator.requests] == ["", "next", "next"]
    wanted, size, _ = operator.requests[0]
    assert (wanted.tenant, len(wanted.statuses), size) == ("acme", 2, 7)
    page = json.loads((await calotype("jobs", "--json", "--reason", "PROVIDER_AUTH")).stdout)
    assert (page["jobs"][0]["tenant"], operator.requests[-1][0].reason) == ("acme", "PROVIDER_AUTH")


async def test_a_refused_filter_is_said(calotype: Run) -> None:
    refused = await calotype("jobs", "--tenant", "a\nb")

    assert (refused.exit_code, refused.stdout) == (4, "")
    assert "tenant: Contains a control character." in refused.stderr


async def test_what_is_paused_is_listed_and_resumed(calotype: Run, operator: JobOperator) -> None:
    for arguments in (("provider", "paid", "--note", "new key"), ("tenant", "acme"), ("queue",)):
        paused = await calotype("pause", *arguments)
        assert paused.exit_code == 0, paused.output
    listed = await calotype("pauses")
    assert [line.split()[:2] for line in listed.stdout.splitlines()[1:3]] == [["provider", "paid"], ["tenant", "acme"]]
    assert "ops/key:" in listed.stdout
    assert listed.stdout.splitlines()[1].endswith("new key")
    assert len(json.loads((await calotype("pauses", "--json")).stdout)["pauses"]) == 3

    assert (await calotype("resume", "queue")).stderr == "resumed queue\n"
    assert (await calotype("resume", "tenant", "acme")).stderr == "resumed tenant acme\n"
    assert (await calotype("resume", "tenant", "acme")).stderr == "was not paused: tenant acme\n"
    assert [name for _, name in operator.paused] == ["paid"]
    unknown = await calotype("pause", "provider", "unknown")
    assert (unknown.exit_code, "NOT_FOUND" in unknown.stderr) == (4, True)
    assert (await calotype("pause", "queue", "x")).exit_code == 2
    assert (await calotype("pause", "tenant")).exit_code == 2


async def test_a_bulk_action_is_previewed_confirmed_and_followed(calotype: Run, operator: JobOperator) -> None:
    retry = ("retry", "--tenant", "acme", "--reason", "PROVIDER_AUTH", "--created-after", "2026-01-31T12:00:00Z")
    previewed = await calotype(*retry, "--preview")
    assert (previewed.exit_code, previewed.stdout) == (0, "")
    assert previewed.stderr.startswith("3 jobs match\n  job_1\n")
    assert json.loads((await calotype(*retry, "--preview", "--json")).stdout)["matched"] == 3
    declined = await calotype(*retry, answer="n\n")
    assert (declined.exit_code != 0, "Retry 3 jobs?" in declined.stderr, operator.bulk) == (True, True, {})

    done = await calotype(*retry, "--pay-again", answer="y\n")
    [started] = operator.bulk.values()
    assert (done.exit_code, done.stdout.splitlines()[0]) == (1, "finished: 2 of 3 done, 1 skipped, 1 refused")
    assert "CONSENT_REQUIRED  1     job_1" in done.stdout
    assert f"calotype admin bulk stop {started.id}" in done.stderr
    assert (started.request.filter.tenant, started.request.on_ambiguous) == ("acme", job_pb2.ON_AMBIGUOUS_RETRY)


async def test_bulk_actions_are_listed_and_stopped(calotype: Run, operator: JobOperator) -> None:
    done = await calotype("cancel", "--status", "queued", "--yes", "--json")
    assert json.loads(done.stdout)["status"] == "finished"
    listed = await calotype("bulk", "list")
    assert listed.stdout.splitlines()[1].startswith("bulk_0       cancel  finished")
    assert json.loads((await calotype("bulk", "list", "--json")).stdout)["bulk_actions"][0]["id"] == "bulk_0"
    assert (await calotype("bulk", "stop", "bulk_0")).stdout.startswith("canceled: ")
    assert (await calotype("bulk", "follow", "bulk_0")).exit_code == 1
    assert "NOT_FOUND" in (await calotype("bulk", "follow", "unknown")).stderr

    operator.matched = 0
    nothing = await calotype("cancel", "--tenant", "nobody")
    assert (nothing.exit_code, nothing.stderr, len(operator.bulk)) == (0, "0 jobs match\n", 1)
    everything = await calotype("cancel", "--yes")
    assert (everything.exit_code, "Set at least one filter" in everything.stderr) == (4, True)
