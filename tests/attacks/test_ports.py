"""Every port that a stack of `calotype up` listens on, asked by nobody, under a foreign Host, by a foreign page."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

import grpc
import httpx
import psutil
import psycopg2
import pytest
from calotype.permissions import REQUIRED_ROLES

from cli.stack.state import StackState, find_supervisor, read_state
from tests.support.gateway.api_calls import CALLS
from tests.support.patience import PATIENCE
from tests.support.servers.reaper import reaped

ROOT = Path(__file__).parents[2]
ORIGIN = "https://evil.example"
FREE = "providers: [{name: drawn, kind: procedural}]"
#: Never asked: nobody gets as far as that.
COSTLY = """
providers:
  - {name: drawn, kind: replicate, base_url: "http://127.0.0.1:9", api_key_file: KEY_FILE, models: [{name: a/b}]}
"""
HEALTH = "/grpc.health.v1.Health/Check"


@dataclass(frozen=True, kw_only=True)
class Stack:
    """A stack that runs, and the ports that its processes listen on, by name."""

    state: StackState
    folder: Path
    providers: Path
    asks_everybody: bool
    ports: Mapping[str, int]


def calotype(*arguments: str) -> "subprocess.CompletedProcess[str]":
    paths = f"{ROOT}{os.pathsep}{ROOT / 'proto'}"
    told = {name: value for name, value in os.environ.items() if not name.startswith("CALOTYPE_")}
    return subprocess.run(
        [sys.executable, "-P", "-m", "cli", *arguments],
        env=told | {"PYTHONPATH": paths, "CALOTYPE_GRACE_SECONDS": "2"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module", params=["free", "--require-auth"])
def stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack whose only provider is free, and one that asks everybody for a key."""
    folder = tmp_path_factory.mktemp("stack")
    providers = folder / "providers.yaml"
    providers.write_text(FREE, encoding="utf-8")
    data, more = folder / "data", [request.param] if request.param != "free" else []
    done = calotype(
        "up", "--detach", "--http", "127.0.0.1:0", "--providers", str(providers), "--data", str(data), *more
    )
    assert done.returncode == 0, done.stderr
    supervisor, state = find_supervisor(data), read_state(data)
    assert supervisor is not None
    assert state is not None
    try:
        with reaped(supervisor.pid):
            found = Stack(state=state, folder=data, providers=providers, asks_everybody=bool(more), ports={})
            yield replace(found, ports=names_of(found))
    finally:
        calotype("down", "--data", str(data))


def processes(stack: Stack) -> list[psutil.Process]:
    """Every process of the stack."""
    supervisor = find_supervisor(stack.folder)
    assert supervisor is not None
    return [supervisor, *supervisor.children(recursive=True)]


def remembered(stack: Stack) -> dict[str, int]:
    """What the stack calls its ports."""
    known: dict[str, int] = json.loads((stack.folder / "ports.json").read_text(encoding="utf-8"))
    return known | {"http": urlsplit(stack.state.http).port or 0}


def sockets(stack: Stack) -> list[tuple[str, int, bool]]:
    """Host, port, and whether it listens (else it is UDP), of every socket that others could send something to.

    Whose a socket is cannot be seen where a server runs as another user; then its port is known.
    """
    pids, known = {one.pid for one in processes(stack)}, set(remembered(stack).values())
    return [
        (one.laddr.ip.removeprefix("::ffff:"), one.laddr.port, one.type == socket.SOCK_STREAM)
        for one in psutil.net_connections("inet")
        if (one.status == psutil.CONN_LISTEN or (one.type == socket.SOCK_DGRAM and one.laddr and not one.raddr))
        and (one.pid in pids or (one.pid is None and one.laddr.port in known))
    ]


def names_of(stack: Stack) -> dict[str, int]:
    """The ports on which something listens, by their names; one without a name by its number."""
    names = {port: name for name, port in remembered(stack).items()}
    return {names.get(port, str(port)): port for _, port, listens in sockets(stack) if listens}


def refused_by_grpc(stack: Stack, name: str) -> None:
    """No method of the contracts answers, whatever Host is named; health does, but where clients bring pictures."""
    options = [("grpc.enable_http_proxy", 0), ("grpc.default_authority", "evil.example")]
    with grpc.insecure_channel(f"127.0.0.1:{stack.ports[name]}", options=options) as channel:
        answers = {
            method: status_of(channel, f"/{service}/{method}")
            for service in REQUIRED_ROLES
            for method in REQUIRED_ROLES[service]
        }
        health = status_of(channel, HEALTH)

    assert set(answers.values()) <= {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.UNIMPLEMENTED}, answers
    assert grpc.StatusCode.UNAUTHENTICATED in answers.values()
    takes_pictures = name == "job-1-grpc_listen"
    assert health is (grpc.StatusCode.UNAUTHENTICATED if takes_pictures else grpc.StatusCode.OK)


def status_of(channel: grpc.Channel, method: str) -> grpc.StatusCode:
    """How an empty message without a token is answered, of one answer or many."""
    try:
        list(channel.unary_stream(method)(b"", timeout=PATIENCE, metadata=(("origin", ORIGIN),)))
    except grpc.RpcError as error:
        status: grpc.StatusCode = error.code()  # type: ignore[attr-defined]
        return status
    return grpc.StatusCode.OK


#: What the gateway answers to anybody: whether it lives, and pages that are the same for everybody.
#: The pages hold no data: they ask for a key.
PUBLIC = {"/", "/ops", "/healthz", "/readyz", "/openapi.json", "/docs", "/docs/try-it.js", "/problems/malformed"}
FOREIGN: tuple[dict[str, str], ...] = (
    {"Host": "evil.example"},
    {"Origin": ORIGIN},
    {"Host": "evil.example", "Origin": ORIGIN},
    {"Via": "1.1 evil.example"},
)


def refused_by_http(stack: Stack, name: str) -> None:
    """Every call of the contract is 401, but those that are the same for everybody."""
    with httpx.Client(base_url=stack.state.http, timeout=PATIENCE, trust_env=False) as client:
        document = client.get("/openapi.json").json()
        assert {one["operationId"] for path in document["paths"].values() for one in path.values()} == set(CALLS)
        asked = [call.about(job="job_x", other="job_y") for call in CALLS.values()]
        asked += [("GET", path, {}) for path in PUBLIC]
        for headers in FOREIGN + (({},) if stack.asks_everybody else ()):
            for method, path, more in asked:
                answer = client.request(method, path, headers=headers, **more)
                assert answer.status_code == (200 if path in PUBLIC else 401), (path, headers, answer.text)
                assert not [one for one in answer.headers if one.startswith("access-control-")]
        for path in ("/metrics", "/v1", "/assets", "/ops/"):
            assert client.get(path).status_code == 404


def tells_metrics_and_health(stack: Stack, name: str) -> None:
    """Numbers and health, and nothing of a tenant."""
    with httpx.Client(base_url=f"http://127.0.0.1:{stack.ports[name]}", timeout=PATIENCE, trust_env=False) as client:
        assert client.get("/metrics").status_code == 200
        for path in ("/", "/v1/jobs", "/openapi.json"):
            assert client.get(path).status_code == 404
        # The gateway's are at the port of its API.
        expected = (404,) * 2 if name.startswith("gateway") else (200,) * 2
        assert tuple(client.get(path).status_code for path in ("/healthz", "/readyz")) == expected
        assert client.post("/metrics").status_code in (404, 405)


def refused_by_postgres(stack: Stack, name: str) -> None:
    """No role comes in without its password."""
    for user in ("postgres", "calotype", "nobody"):
        for password in ("", user, "password"):
            with pytest.raises(psycopg2.OperationalError, match=r"no password supplied|password authentication failed"):
                psycopg2.connect(
                    host="127.0.0.1", port=stack.ports[name], user=user, password=password, dbname="postgres"
                )


def refused_by_nats(stack: Stack, name: str) -> None:
    """Whoever connects without a credential is sent away."""
    assert b"Authorization Violation" in say(stack.ports[name], b'CONNECT {"verbose":false}\r\nPING\r\n')


def refused_by_storage(stack: Stack, name: str) -> None:
    """Nothing but a public object that there is, and that only by its name and under a name of this machine."""
    public, staging = stack.state.bucket, stack.state.staging_bucket
    api = [
        ("GET", "/storage/v1/b"),
        *(("GET", f"/storage/v1/b/{bucket}/o") for bucket in (public, staging)),
        *(("POST", f"/upload/storage/v1/b/{bucket}/o?uploadType=media&name=x") for bucket in (public, staging)),
        *(("DELETE", f"/storage/v1/b/{bucket}/o/x") for bucket in (public, staging)),
        ("GET", f"/{staging}/x"),
    ]
    with httpx.Client(base_url=stack.state.storage_url, timeout=PATIENCE, trust_env=False) as client:
        for method, path in api:
            assert client.request(method, path).status_code == 401, path
            assert client.request(method, path, headers={"Origin": ORIGIN}).status_code in (401, 403), path
            assert client.request(method, path, headers={"Host": "evil.example"}).status_code == 403, path
        assert client.get(f"/{public}/there-is-none").status_code == 404


#: What each port of a stack does for nobody. A port that is not named here is one that nobody has thought of.
PORTS: Mapping[str, Callable[[Stack, str], None]] = {
    "http": refused_by_http,
    **{
        f"{name}-1-admin_listen": tells_metrics_and_health
        for name in ("gateway", "job", "generator", "uploader", "notifier")
    },
    "job-1-grpc_listen": refused_by_grpc,
    "job-1-worker_listen": refused_by_grpc,
    "generator-1-grpc_listen": refused_by_grpc,
    "uploader-1-grpc_listen": refused_by_grpc,
    "notifier-1-grpc_listen": refused_by_grpc,
    "postgres": refused_by_postgres,
    "nats": refused_by_nats,
    "storage": refused_by_storage,
}


def say(port: int, sent: bytes) -> bytes:
    """What is answered until the other side closes, or has nothing more to say."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        connection.sendall(sent)
        with suppress(ConnectionError, TimeoutError):
            while part := connection.recv(65_536):
                answer += part
                # Once the head of an answer or a word of the broker's is there, what follows is not what is looked for.
                if b"\r\n\r\n" in answer or b"-ERR" in answer or b"PONG" in answer:
                    break
    return answer


def test_each_port_that_processes_of_the_stack_listen_on_is_known(stack: Stack) -> None:
    assert stack.ports.keys() == PORTS.keys()


def test_nothing_is_reached_from_another_machine(stack: Stack) -> None:
    assert {host for host, _, _ in sockets(stack) if not ip_address(host).is_loopback} == set()


@pytest.mark.parametrize("name", PORTS)
def test_a_port_does_nothing_for_nobody_but_what_is_meant_for_everybody(stack: Stack, name: str) -> None:
    PORTS[name](stack, name)


@pytest.mark.parametrize("name", PORTS)
def test_no_port_lets_a_page_of_another_site_read_anything(stack: Stack, name: str) -> None:
    port = stack.ports[name]
    lines = ("Host: evil.example", f"Origin: {ORIGIN}", "Access-Control-Request-Method: POST", "Connection: close")
    for method in ("GET", "OPTIONS"):
        answer = say(port, "\r\n".join([f"{method} / HTTP/1.1", *lines, "", ""]).encode())
        assert b"access-control-" not in answer.lower()


def test_people_of_this_machine_need_a_key_only_where_they_are_asked_for_one(stack: Stack) -> None:
    told = calotype("keys", "show", "--data", str(stack.folder))
    exported = dict(line.removeprefix("export ").split("=", 1) for line in told.stdout.splitlines())
    with httpx.Client(base_url=stack.state.http, timeout=PATIENCE, trust_env=False) as client:
        asked = [client.get("/v1/jobs", headers=shown) for shown in ({}, {"Authorization": "Bearer sk-any"})]
        keyed = httpx.get(
            f"{exported['OPENAI_BASE_URL']}/models", headers={"Authorization": f"Bearer {exported['OPENAI_API_KEY']}"}
        )

    assert [answer.status_code for answer in asked] == ([401, 401] if stack.asks_everybody else [200, 200])
    assert keyed.status_code == 200
    assert exported["CALOTYPE_API_KEY"] == exported["OPENAI_API_KEY"] == stack.state.api_key
    assert told.stderr.startswith("A key is needed: " if stack.asks_everybody else "No key is needed now: ")


def test_a_stack_is_closed_at_once_when_its_provider_file_has_come_to_cost_something(stack: Stack) -> None:
    key_file = stack.providers.with_name("key")
    key_file.write_text("nobody-pays-with-this", encoding="utf-8")
    stack.providers.write_text(COSTLY.replace("KEY_FILE", str(key_file)), encoding="utf-8")
    try:
        restart_generator(stack)
        key = {"Authorization": f"Bearer {stack.state.api_key}"}
        with httpx.Client(base_url=stack.state.http, timeout=PATIENCE, trust_env=False) as client:
            until(lambda: "replicate" in client.get("/v1/providers", headers=key).text)
            refused = client.post("/v1/jobs", json={"prompt": "bought by nobody"})
            told = calotype("keys", "show", "--data", str(stack.folder)).stderr

        assert refused.status_code == 401
        assert "`calotype keys show`" in refused.json()["detail"]
        assert told.startswith("A key is needed: ")
    finally:
        stack.providers.write_text(FREE, encoding="utf-8")


def restart_generator(stack: Stack) -> None:
    """End it; its supervisor starts it again, and it reads its provider file."""
    [pid] = stack.state.pids["generator"]
    psutil.Process(pid).kill()

    def is_another() -> bool:
        now = read_state(stack.folder)
        return now is not None and now.pids["generator"] != [pid]

    until(is_another)


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        threading.Event().wait(0.05)
