"""`calotype admin` against the real gateway, whose job-service is a stand-in."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
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

        async def run(*arguments: str) -> Result:
            command = ["admin", *arguments, "--url", str(client.base_url), "--api-key", "operator-key"]
            return await asyncio.to_thread(CliRunner().invoke, main, command)

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
