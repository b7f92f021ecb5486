"""`calotype up` and its companions, as somebody at a terminal sees them."""

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import httpx
import psutil
import pytest
from calotype.client import JobClient, NotAllowed
from calotype.job.v1 import worker_service_pb2, worker_service_pb2_grpc
from calotype.job_status import FINAL_STATUSES

from cli.stack.exports import exports
from cli.stack.keys import Keys, load_or_create, refused_keys
from cli.stack.state import StackState, find_supervisor, read_state
from tests.support.patience import PATIENCE
from tests.support.stacks.frozen_servers import frozen
from tests.support.stacks.stack_clients import RetryingTransport

ROOT = Path(__file__).parents[3]


def calotype(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run the command as a user would."""
    environment = dict(os.environ) | {
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'proto'}",
        "CALOTYPE_GRACE_SECONDS": "5",
    }
    command = [sys.executable, "-P", "-m", "cli", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=5 * PATIENCE)


def up(folder: Path, *more: str) -> StackState:
    done = calotype("up", "--detach", "--http", "127.0.0.1:0", "--data", str(folder), *more)
    assert done.returncode == 0, done.stderr
    state = read_state(folder)
    assert state is not None
    assert done.stdout.strip() == state.http
    for line in (*exports(state), f"{state.http}/docs"):
        assert line in done.stderr
    assert done.stderr.index(f"{state.http}/\n") < done.stderr.index("export ")
    assert ("No key is needed now: " in done.stderr) is ("--require-auth" not in more)
    return state


def soon(question: Callable[[], bool], *, seconds: float = PATIENCE) -> bool:
    """Whether the answer becomes yes in time."""
    deadline = time.monotonic() + seconds
    while not question():
        if time.monotonic() > deadline:
            return False
        threading.Event().wait(0.05)
    return True


def well(command: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    """What the command tells once it finds nothing wrong; on a busy machine a question may not be answered in time."""
    done: list[subprocess.CompletedProcess[str]] = []

    def is_well() -> bool:
        done.append(calotype(command, "--data", str(folder)))
        return done[-1].returncode == 0

    assert soon(is_well), done[-1].stdout
    return done[-1]


def bearer(state: StackState) -> dict[str, str]:
    return {"Authorization": f"Bearer {state.api_key}"}


def get_job(state: StackState, job_id: str) -> dict[str, Any]:
    return json_of(urllib.request.Request(f"{state.http}/v1/jobs/{job_id}", headers=bearer(state)))


def json_of(request: urllib.request.Request) -> dict[str, Any]:
    """The answer; asked again, with its idempotency key, while a busy machine is not in time."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            with urllib.request.urlopen(request) as answer:
                told: dict[str, Any] = json.load(answer)
                return told
        except urllib.error.HTTPError as error:
            error.close()
            if error.code != 503 or time.monotonic() > deadline:
                raise
            threading.Event().wait(0.2)


def post_job(state: StackState, prompt: str) -> str:
    request = urllib.request.Request(
        f"{state.http}/v1/jobs",
        data=json.dumps({"prompt": prompt, "size": "64x64"}).encode(),
        headers={"Content-Type": "application/json", "Idempotency-Key": uuid4().hex} | bearer(state),
    )
    identity: str = json_of(request)["id"]
    assert soon(lambda: get_job(state, identity)["status"] in FINAL_STATUSES)
    assert get_job(state, identity)["status"] == "completed"
    return identity


def pids_of(state: StackState) -> list[int]:
    return [pid for pids in state.pids.values() for pid in pids]


REPLICATED = ("job", "generator", "uploader", "notifier", "gateway")


@pytest.fixture(scope="module")
def folder(server_folder: Path) -> Path:
    """A folder whose name is no obstacle to anything."""
    return server_folder / "ein Ördner mit Leerzeichen"


@pytest.fixture(scope="module")
def stack(folder: Path) -> Iterator[StackState]:
    """A running stack for the questions of this module."""
    yield up(folder, "--replicas", "2", "--require-auth")
    calotype("down", "--data", str(folder))


def test_stack_json_has_exactly_the_documented_keys(stack: StackState, folder: Path) -> None:
    told = json.loads((folder / "stack.json").read_text(encoding="utf-8"))

    assert set(told) == {field.name for field in fields(StackState)}
    assert set(told["pids"]) >= {
        *("job", "generator", "uploader", "notifier", "gateway", "postgres", "nats", "storage")
    }
    assert set(told["grpc"]) >= {"job", "worker", "generator", "uploader", "notifier"}
    assert [len(told["pids"][name]) for name in REPLICATED] == [2] * 5


def test_everything_listens_on_this_machine_alone(stack: StackState, folder: Path) -> None:
    # Whose socket it is cannot be seen where a server runs as another user; its port is known.
    pids, ports = pids_of(stack), json.loads((folder / "ports.json").read_text(encoding="utf-8")).values()
    listening = [
        connection.laddr.ip.removeprefix("::ffff:")
        for connection in psutil.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
        and (connection.pid in pids or (connection.pid is None and connection.laddr.port in ports))
    ]

    assert len(listening) >= 8
    assert set(listening) == {"127.0.0.1"}


def test_status_and_doctor_find_all_well(stack: StackState, folder: Path) -> None:
    status = well("status", folder)
    doctor = well("doctor", folder)

    assert stack.http in status.stdout
    assert "fail" not in doctor.stdout
    assert "no synchronous standby" in doctor.stdout
    assert [f"the schema of {name} has what this version needs" in doctor.stdout for name in ("job", "notifier")] == [
        True,
        True,
    ]


def test_programs_read_status_and_doctor(stack: StackState, folder: Path) -> None:
    status = json.loads(calotype("status", "--data", str(folder), "--json").stdout)
    variables = json.loads(calotype("keys", "show", "--data", str(folder), "--json").stdout)

    assert (status["http"], status["data"]) == (stack.http, str(folder))
    second = {f"{name}-2" for name in REPLICATED}
    assert {process["name"] for process in status["processes"]} == set(stack.pids) | second
    assert len({process["address"] for process in status["processes"]}) == len(status["processes"])
    assert variables["CALOTYPE_API_KEY"] == stack.api_key


def test_doctor_checks_a_database_by_itself(stack: StackState, tmp_path: Path) -> None:
    found = {
        service: calotype("doctor", "--database-url", url, "--service", service, "--json", "--data", str(tmp_path))
        for service, url in stack.database_urls.items()
    }
    exchanged = calotype("doctor", "--database-url", stack.notifier_database_url)

    for service, done in found.items():
        findings = json.loads(done.stdout)["findings"]
        assert done.returncode == 0, done.stdout
        assert findings[-1] == {
            "level": "ok",
            "fact": f"the schema of {service} has what this version needs",
            "advice": None,
        }
        assert not any("stack" in finding["fact"] or "Python" in finding["fact"] for finding in findings)
    assert exchanged.returncode == 1
    assert "the schema of job" in exchanged.stdout


def test_an_image_is_made_and_found_again_by_the_beginning_of_its_id(
    stack: StackState, folder: Path, tmp_path: Path
) -> None:
    data = ("--data", str(folder))
    options = ("--size", "64x64", "--idempotency-key", "lake-1", "--metadata", "order=1042", "--json")
    made = calotype("generate", "a lake", "-o", str(tmp_path / "lake.jpg"), *options, *data)
    job = json.loads(made.stdout)
    again = json.loads(calotype("generate", "a lake", "-o", str(tmp_path / "b.jpg"), *options, *data).stdout)
    # The time of its creation is in the first 12 digits: enough for one job of this test.
    found = json.loads(calotype("jobs", "get", job["id"][:20], *data).stdout)
    reported = json.loads(calotype("admin", "job", job["id"][:20], "--json", *data).stdout)

    assert (made.returncode, again["id"], found["id"], reported["job"]["id"]) == (0, *[job["id"]] * 3)
    assert (tmp_path / "lake.jpg").read_bytes().startswith(b"\xff\xd8\xff")
    assert (job["request"]["output_format"], job["metadata"]) == ("jpeg", {"order": "1042"})


def test_an_operator_finds_no_dead_letters(stack: StackState, folder: Path) -> None:
    listed = calotype("dead", "list", "--json", "--data", str(folder))
    parked = calotype("dead", "list", "--parked", "--json", "--data", str(folder))
    replayed = calotype("dead", "replay", "17", "--data", str(folder))
    as_tenant = calotype("dead", "list", "--data", str(folder), "--api-key", stack.api_key)

    for one in (listed, parked):
        assert (one.returncode, json.loads(one.stdout)) == (0, {"dead_letters": [], "next_page_token": None})
    assert replayed.returncode == as_tenant.returncode == 4
    assert "NOT_FOUND" in replayed.stderr
    assert "PERMISSION_DENIED" in as_tenant.stderr


def test_what_a_stack_says_to_export_serves_every_command_and_is_in_no_log(
    stack: StackState, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = calotype("keys", "show", "--data", str(folder))
    assert (shown.returncode, shown.stdout.splitlines()) == (0, exports(stack))
    assert shown.stderr.startswith("A key is needed: ")
    for line in shown.stdout.splitlines():
        monkeypatch.setenv(*line.removeprefix("export ").split("=", 1))

    assert calotype("dead", "list", "--data", str(folder)).returncode == 0
    assert calotype("jobs", "list", "--data", str(folder)).returncode == 0
    logs = [path.read_text(encoding="utf-8") for path in folder.rglob("*.log")]
    assert not [text for text in logs if stack.api_key in text]


def test_there_is_no_key_to_show_where_no_stack_runs(tmp_path: Path) -> None:
    shown = calotype("keys", "show", "--data", str(tmp_path))

    assert (shown.returncode, shown.stdout, shown.stderr.count("\n")) == (3, "", 1)
    assert "calotype up" in shown.stderr


def test_an_operator_sees_queue_and_providers(stack: StackState, folder: Path) -> None:
    headers = {"Authorization": f"Bearer {load_or_create(folder)[0].operator_key}"}
    with httpx.Client(base_url=stack.http, headers=headers, transport=RetryingTransport(), timeout=PATIENCE) as client:
        queue, providers = client.get("/v1/admin/queue"), client.get("/v1/admin/providers")

    assert (queue.status_code, queue.json()["jobs"]["queued"]) == (200, 0)
    assert (providers.status_code, providers.json()["providers"][0]["in_use"]) == (200, 0)


def test_a_second_stack_in_the_folder_is_refused_in_one_line(stack: StackState, folder: Path) -> None:
    for more in ((), ("--detach",)):
        done = calotype("up", "--http", "127.0.0.1:0", "--data", str(folder), *more)

        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert stack.http in done.stderr


def test_what_dies_is_started_again_with_its_data_on_its_port(stack: StackState, folder: Path) -> None:
    job_id = post_job(stack, "kept over a crash")
    for name in ("gateway", "postgres", "nats", "storage"):
        os.kill(stack.pids[name][0], signal.SIGKILL)

    def replaced() -> bool:
        now = read_state(folder)
        return now is not None and not set(pids_of(now)) & {
            stack.pids[name][0] for name in ("gateway", "postgres", "nats", "storage")
        }

    assert soon(replaced)
    assert soon(lambda: calotype("status", "--data", str(folder)).returncode == 0)
    job = get_job(stack, job_id)
    with urllib.request.urlopen(job["artifacts"][0]["url"]) as picture:
        assert picture.read().startswith(b"\x89PNG")


def test_status_says_which_condition_of_a_process_does_not_hold(stack: StackState, folder: Path) -> None:
    def told() -> str:
        return calotype("status", "--data", str(folder)).stdout

    with frozen(folder, "nats"):
        assert soon(lambda: "job: broker: " in (status := told()) and "gateway: job-service: " in status)
        assert "nats: does not respond" in told()
    lost = [json.loads(line) for line in (folder / "logs" / "job.log").read_text(encoding="utf-8").splitlines()]

    assert "broker" in [line["condition"] for line in lost if line["message"] == "condition.lost"]
    assert soon(lambda: calotype("status", "--data", str(folder)).returncode == 0)


def test_status_tells_which_replica_is_not_ready(stack: StackState, folder: Path) -> None:
    current = read_state(folder)
    assert current is not None
    second = current.pids["generator"][1]
    os.kill(second, signal.SIGSTOP)
    try:
        status = calotype("status", "--data", str(folder))
    finally:
        os.kill(second, signal.SIGCONT)

    assert status.returncode == 1
    assert "generator-2: does not respond" in status.stdout
    assert soon(lambda: calotype("status", "--data", str(folder)).returncode == 0)


def test_status_says_that_a_process_claims_nothing_more(stack: StackState, folder: Path) -> None:
    drained = calotype("drain", "uploader", "--data", str(folder))
    status = calotype("status", "--data", str(folder))
    current = read_state(folder)
    assert current is not None
    for pid in current.pids["uploader"]:
        os.kill(pid, signal.SIGKILL)

    assert drained.returncode == 0, drained.stderr
    for name in ("uploader", "uploader-2"):
        assert f"{name}: drained: it claims nothing until it is restarted" in status.stdout
    assert soon(lambda: "drained" not in calotype("status", "--data", str(folder)).stdout)


def test_migrate_may_be_run_beside_a_running_stack(stack: StackState, folder: Path) -> None:
    both = calotype("migrate", "--data", str(folder))
    one = calotype("migrate", "--service", "notifier", "--data", str(folder))
    none = calotype("migrate", "--service", "gateway", "--data", str(folder))

    assert [both.returncode, one.returncode, none.returncode] == [0, 0, 2]
    assert [f"the schema of {name} is the newest" in both.stderr for name in ("job", "notifier")] == [True, True]
    assert [f"the schema of {name} is the newest" in one.stderr for name in ("job", "notifier")] == [False, True]


def test_migrate_uses_the_database_that_the_environment_names_with_its_own_role(
    stack: StackState, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CALOTYPE_DATABASE_URL", stack.notifier_database_url)
    right = calotype("migrate", "--service", "notifier", "--data", str(folder))
    job_in_notifier = calotype("migrate", "--service", "job", "--data", str(folder))
    monkeypatch.setenv("CALOTYPE_DATABASE_URL", stack.database_url)
    notifier_in_job = calotype("migrate", "--service", "notifier", "--data", str(folder))

    assert right.returncode == 0
    for name, wrong in (("job", job_in_notifier), ("notifier", notifier_in_job)):
        assert (wrong.returncode, wrong.stderr.count("\n")) == (3, 1), wrong.stderr
        assert f"The database of {name} could not be migrated: the schema is that of another service" in wrong.stderr


def is_taken(url: str) -> bool:
    """Whether somebody listens there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", int(url.rpartition(":")[2]))) == 0


def test_a_killed_stack_is_cleared_away_and_goes_on_where_it_was(tmp_path: Path) -> None:
    first = up(tmp_path)
    job_id = post_job(first, "kept over the death of its stack")
    supervisor = find_supervisor(tmp_path)
    assert supervisor is not None
    supervisor.kill()
    psutil.wait_procs([supervisor], timeout=PATIENCE)
    left = [psutil.Process(pid) for pid in pids_of(first)]

    status, doctor = (calotype(command, "--data", str(tmp_path)) for command in ("status", "doctor"))
    assert (status.returncode, doctor.returncode) == (3, 1)
    for text in (status.stderr, doctor.stdout):
        assert "calotype up" in text
        assert "calotype down" in text
    second = up(tmp_path)

    assert not any(process.is_running() for process in left)
    assert second.api_key == first.api_key
    # Where nobody else has taken the port while it was free: other tests look for ports of their own.
    assert second.storage_url == first.storage_url or is_taken(first.storage_url)
    assert get_job(second, job_id)["status"] == "completed"
    with JobClient(second.grpc["job"], tenant="default", token=second.grpc_token) as jobs:
        assert jobs.get(job_id).id == job_id

    assert calotype("down", "--data", str(tmp_path)).returncode == 0
    assert not any(psutil.pid_exists(pid) for pid in pids_of(second))
    assert not (tmp_path / "stack.json").exists()


def test_a_key_is_needed_when_that_is_asked_for(stack: StackState) -> None:
    with pytest.raises(urllib.error.HTTPError, match="401") as refused:
        urllib.request.urlopen(f"{stack.http}/v1/jobs").close()
    refused.value.close()
    allowed = urllib.request.Request(f"{stack.http}/v1/jobs", headers=bearer(stack))
    assert "jobs" in json_of(allowed)


def renew(address: str, token: str | None) -> grpc.StatusCode:
    """How a caller is answered that asks as a worker does, for nothing."""
    metadata = (("authorization", f"Bearer {token}"),) if token else ()
    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        stub = worker_service_pb2_grpc.WorkerServiceStub(channel)
        try:
            stub.RenewLeases(worker_service_pb2.RenewLeasesRequest(), timeout=PATIENCE, metadata=metadata)
        except grpc.RpcError as error:
            status: grpc.StatusCode = error.code()  # type: ignore[attr-defined]
            return status
    return grpc.StatusCode.OK


def test_grpc_asks_for_a_token_too_and_each_token_has_its_own_port(stack: StackState, folder: Path) -> None:
    kept, _ = load_or_create(folder)
    with JobClient(stack.grpc["job"], tenant="default", token=stack.grpc_token) as jobs:
        assert [one.name for one in jobs.providers()] == ["procedural"]
    for token in (None, stack.api_key, kept.generator_token):
        with JobClient(stack.grpc["job"], tenant="default", token=token) as jobs, pytest.raises(NotAllowed):
            jobs.providers()

    assert [renew(stack.grpc["worker"], token) for token in (None, stack.grpc_token, kept.uploader_token)] == [
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.OK,
    ]


def test_a_busy_port_is_told_in_one_line_and_nothing_is_left_behind(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        busy = f"127.0.0.1:{server.getsockname()[1]}"
        for more in ((), ("--detach",)):
            done = calotype("up", "--http", busy, "--data", str(tmp_path), *more)

            assert (done.returncode, done.stderr.count("\n")) == (2, 1)
            assert busy in done.stderr
    assert find_supervisor(tmp_path) is None


@pytest.mark.parametrize(
    "arguments",
    [
        ("up", "--http", "nowhere"),
        ("up", "--providers", "missing.yaml"),
        ("up", "--replicas", "postgres=2"),
        ("up", "--data", "/dev/null/x"),
        ("up", "--http", "192.0.2.1:8080"),
        ("fly",),
    ],
)
def test_a_bad_value_is_told_in_one_line(arguments: tuple[str, ...], tmp_path: Path) -> None:
    data = () if "--data" in arguments or arguments == ("fly",) else ("--data", str(tmp_path))

    done = calotype(*arguments, *data)

    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr


def test_a_bad_setting_ends_the_start_with_one_line_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CALOTYPE_LEASE_SECOND", "3")

    done = calotype("up", "--http", "127.0.0.1:0", "--detach", "--data", str(tmp_path))

    assert done.returncode in (1, 2)
    assert done.stderr.count("\n") == 1
    assert "CALOTYPE_LEASE_SECOND is not a setting" in done.stderr
    assert find_supervisor(tmp_path) is None


def test_nothing_to_stop_is_no_failure(tmp_path: Path) -> None:
    done = calotype("down", "--data", str(tmp_path))

    assert done.returncode == 0
    assert "no stack runs" in done.stderr


def test_keys_are_kept_and_only_hashes_reach_the_gateway(tmp_path: Path) -> None:
    first, accepted = load_or_create(tmp_path)
    second, _ = load_or_create(tmp_path)

    assert isinstance(first, Keys)
    assert first == second
    assert first.api_key not in accepted.read_text(encoding="utf-8")


def test_a_keys_file_is_its_owners_also_when_the_stacks_own_key_is_taken_out(tmp_path: Path) -> None:
    keys, accepted = load_or_create(tmp_path)
    made = accepted.read_text(encoding="utf-8")
    for text in (made + "  # mine\n", "tenants: []\n"):
        accepted.write_text(text, encoding="utf-8")
        assert load_or_create(tmp_path) == (keys, accepted)
        assert accepted.read_text(encoding="utf-8") == text

    assert refused_keys(keys, accepted) == ["default", "operator"]


def test_a_leaked_key_of_a_running_stack_is_replaced_and_the_rest_of_the_keys_file_stays(
    stack: StackState, folder: Path
) -> None:
    def is_accepted(key: str) -> bool:
        headers = {"Authorization": f"Bearer {key}"}
        return httpx.get(f"{stack.http}/v1/admin/queue", headers=headers, timeout=PATIENCE).status_code == 200

    old = load_or_create(folder)[0].operator_key
    before = (folder / "keys.yaml").read_text(encoding="utf-8")
    new = calotype("keys", "replace", "operator", "--data", str(folder)).stdout.strip()
    state = read_state(folder)
    after = (folder / "keys.yaml").read_text(encoding="utf-8")
    digests = [hashlib.sha256(key.encode()).hexdigest() for key in (old, new)]

    assert soon(lambda: is_accepted(new) and not is_accepted(old))
    assert state is not None
    assert state.operator_key == new == load_or_create(folder)[0].operator_key
    assert before.replace(*digests) == after != before


def test_a_key_that_the_keys_file_does_not_list_is_not_replaced(tmp_path: Path) -> None:
    none = calotype("keys", "replace", "default", "--data", str(tmp_path))
    keys, accepted = load_or_create(tmp_path)
    accepted.write_text("tenants: []\n", encoding="utf-8")
    unlisted = calotype("keys", "replace", "default", "--data", str(tmp_path))

    assert (none.returncode, unlisted.returncode) == (3, 1), unlisted.stderr
    assert "calotype keys new default" in unlisted.stderr
    assert load_or_create(tmp_path)[0] == keys
