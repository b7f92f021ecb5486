"""Commands that are clients of the REST API, as people at a terminal and scripts read them."""

import json
import os
import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cli.__main__ import main
from cli.api.client import ConnectionOptions, GatewayApi, Unreachable
from cli.api.progress import follow, with_positions
from tests.support.gateway.fake_gateway import JOB_ID, PNG, FakeGateway, fake_gateway, job
from tests.support.patience import PATIENCE

IMAGE = {"index": 0, "content_type": "image/png"}


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    """A gateway with one job."""
    with fake_gateway() as running:
        yield running


def calotype(gateway: FakeGateway, *arguments: str) -> Result:
    """Run a command against the gateway."""
    return CliRunner().invoke(main, [*arguments, "--url", gateway.url])


def completed(gateway: FakeGateway, count: int = 1) -> None:
    """Let the job be completed, with images."""
    artifacts = [IMAGE | {"index": index, "url": f"{gateway.url}/image"} for index in range(count)]
    gateway.job = job("completed", "Done", artifacts=artifacts)


def test_a_list_has_whole_ids_and_times_that_people_read(gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    gateway.job["created_at"] = datetime.now().astimezone().replace(hour=12, minute=34).isoformat()
    today = calotype(gateway, "jobs", "list").stdout
    gateway.job["created_at"] = "2020-01-15T12:00:00.123Z"
    older = calotype(gateway, "jobs", "list").stdout

    assert today.splitlines()[1].split() == [JOB_ID, "queued", "12:34", "procedural", "a", "lake"]
    assert f"{JOB_ID}  queued  2020-01-15 " in older


def test_a_prompt_cannot_write_to_the_terminal(gateway: FakeGateway) -> None:
    gateway.job["request"]["prompt"] = "a \x1b[2J\nlake"

    assert calotype(gateway, "jobs", "list").stdout.splitlines()[1].endswith("a  [2J lake")


@pytest.mark.parametrize(
    ("actions", "advice"),
    [
        (["retry"], f"calotype jobs retry {JOB_ID}\n"),
        (["retry_may_charge_again"], f"calotype jobs retry {JOB_ID} --pay-again\n"),
        ([], ""),
    ],
)
@pytest.mark.parametrize("command", [("generate", "a lake"), ("jobs", "watch", JOB_ID)])
def test_a_failure_names_the_job_and_how_to_try_it_again(
    gateway: FakeGateway, command: tuple[str, ...], actions: list[str], advice: str
) -> None:
    error = {"reason": "CONTENT_POLICY", "message": "The provider refused the prompt."}
    gateway.job = job("failed", "Failed", error=error, failure_stage="generating", actions=actions)

    result = calotype(gateway, *command)

    assert result.exit_code == 1
    assert f"{JOB_ID} failed while generating: CONTENT_POLICY: The provider refused the prompt.\n" in result.stderr
    assert result.stderr.endswith(advice)
    assert ("calotype jobs retry" in result.stderr) is bool(advice)


def test_a_log_has_a_line_per_change_however_narrow(gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    completed(gateway)
    gateway.job["display"]["title"] = "Everything is there that you asked for"

    result = calotype(gateway, "jobs", "watch", JOB_ID)

    assert result.stderr == "completed: Everything is there that you asked for\n"


@pytest.mark.parametrize("command", [("generate", "a lake"), ("jobs", "watch", JOB_ID)])
def test_a_job_is_followed_across_a_restart_of_the_gateway(gateway: FakeGateway, command: tuple[str, ...]) -> None:
    results = list[Result]()
    following = threading.Thread(target=lambda: results.append(calotype(gateway, *command)))
    following.start()
    assert gateway.is_followed.wait(PATIENCE)
    gateway.stop()
    completed(gateway)
    gateway.start()
    following.join(PATIENCE)

    assert (results[0].exit_code, results[0].stdout) == (0, f"{gateway.url}/image\n")


def test_a_bar_stays_where_it_is_until_the_job_is_further_or_a_user_retries_it() -> None:
    def change(percent: int | None, retry_count: int = 0) -> tuple[str, dict[str, Any]]:
        return "job", {"display": {"percent": percent}, "retry_count": retry_count}

    updates = [change(40), ("progress", {"percent": 66.5}), change(40), change(None), change(0, 1), change(10, 1)]

    assert [position for _, _, position in with_positions(updates)] == [40, 66.5, 66.5, 66.5, 0, 10]


def test_a_gateway_that_refuses_streams_while_it_starts_is_waited_for(gateway: FakeGateway) -> None:
    events = ("GET", f"/v1/jobs/{JOB_ID}/events")
    with GatewayApi(ConnectionOptions(url=gateway.url, api_key=None)) as api:
        api.get(JOB_ID)
        gateway.problems[events] = (503, "SERVICE_UNAVAILABLE")
        updates = api.watch(JOB_ID)
        assert next(updates)[1]["status"] == "queued"
        completed(gateway)
        del gateway.problems[events]
        assert next(updates)[1]["status"] == "completed"


def test_a_gateway_that_stays_away_is_reported_with_how_to_go_on(gateway: FakeGateway) -> None:
    with GatewayApi(ConnectionOptions(url=gateway.url, api_key=None), outage_seconds=0.0) as api:
        api.get(JOB_ID)
        gateway.stop()
        with pytest.raises(Unreachable, match=f"does not answer.*calotype jobs watch {JOB_ID}"):
            follow(api, JOB_ID)


def test_a_gateway_that_never_was_there_is_not_waited_for(gateway: FakeGateway) -> None:
    gateway.stop()

    result = calotype(gateway, "jobs", "watch", JOB_ID)

    assert result.exit_code == 3
    assert f"{gateway.url} does not answer." in result.stderr


def test_a_consent_is_named_as_the_program_has_it(gateway: FakeGateway) -> None:
    gateway.problems["POST", f"/v1/jobs/{JOB_ID}/retry"] = (409, "CONSENT_REQUIRED")

    result = calotype(gateway, "jobs", "retry", JOB_ID)

    assert result.exit_code == 4
    assert f"calotype jobs retry {JOB_ID} --pay-again" in result.stderr
    assert "on_ambiguous" not in result.stderr


@pytest.mark.parametrize(
    ("command", "path"),
    [(("generate", "a lake", "--no-wait"), "/v1/jobs"), (("jobs", "retry", JOB_ID), f"/v1/jobs/{JOB_ID}/retry")],
)
def test_pay_again_is_a_consent(gateway: FakeGateway, command: tuple[str, ...], path: str) -> None:
    calotype(gateway, *command)
    calotype(gateway, *command, "--pay-again")

    consents = [body.get("on_ambiguous") for body in gateway.bodies["POST", path]]
    assert consents == [None, "retry"]


@pytest.mark.parametrize("action", ["cancel", "retry"])
def test_an_action_prints_a_line_and_as_json_the_whole_job(gateway: FakeGateway, action: str) -> None:
    line = calotype(gateway, "jobs", action, JOB_ID)
    whole = calotype(gateway, "jobs", action, JOB_ID, "--json")

    assert line.stdout == f"{JOB_ID}: In the queue. In the queue, it seems.\n"
    assert json.loads(whole.stdout) == gateway.job


def test_a_deletion_prints_a_line(gateway: FakeGateway) -> None:
    assert calotype(gateway, "jobs", "delete", JOB_ID).stdout == f"{JOB_ID}: Deleted.\n"


@pytest.mark.parametrize(
    ("given", "count", "written"),
    [
        ("a.png", 1, ["a.png"]),
        ("a", 1, ["a.png"]),
        ("a.JPG", 1, ["a.png"]),
        ("a.jpeg", 2, ["a-1.png", "a-2.png"]),
        ("a.kept", 1, ["a.kept"]),
    ],
)
def test_an_image_is_saved_with_the_suffix_of_its_format(
    gateway: FakeGateway, tmp_path: Path, given: str, count: int, written: list[str]
) -> None:
    completed(gateway, count)

    result = calotype(gateway, "generate", "a lake", "-o", str(tmp_path / given))

    assert result.exit_code == 0
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == dict.fromkeys(written, PNG)
    assert all(f"saved {tmp_path / name}" in result.stderr for name in written)
    assert ("the image is image/png" in result.stderr) is (given.lower().endswith(("jpg", "jpeg")))


def test_a_file_that_nobody_named_is_not_replaced(gateway: FakeGateway, tmp_path: Path) -> None:
    completed(gateway)
    (tmp_path / "a.png").write_bytes(b"another")

    result = calotype(gateway, "generate", "a lake", "-o", str(tmp_path / "a.jpg"))

    assert (result.exit_code, result.stdout) == (1, f"{gateway.url}/image\n")
    assert f"{tmp_path / 'a.png'} exists" in result.stderr
    assert (tmp_path / "a.png").read_bytes() == b"another"


def test_without_a_folder_to_save_in_no_job_is_submitted(gateway: FakeGateway, tmp_path: Path) -> None:
    result = calotype(gateway, "generate", "a lake", "-o", str(tmp_path / "none" / "a.png"))

    assert (result.exit_code, gateway.bodies) == (2, {})
    assert str(tmp_path / "none") in result.stderr
    assert os.listdir(tmp_path) == []


def test_an_image_that_cannot_be_downloaded_is_one_line(gateway: FakeGateway, tmp_path: Path) -> None:
    completed(gateway)
    gateway.job["artifacts"][0]["url"] = "http://127.0.0.1:9/image"

    result = calotype(gateway, "generate", "a lake", "-o", str(tmp_path / "a.png"))

    assert result.exit_code == 3
    assert "http://127.0.0.1:9/image cannot be downloaded now" in result.stderr
