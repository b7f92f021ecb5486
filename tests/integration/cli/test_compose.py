"""The processes of `compose.yaml`, run here without containers: its commands, variables and files make an image.

Only addresses and paths of files differ, as all processes share one machine.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from cli.stack import compose, database, nats
from cli.stack.keys import Keys
from cli.stack.ports import free_port
from tests.support.patience import PATIENCE
from tests.support.servers.embedded_servers import postgres_server

ROOT = Path(__file__).parents[3]
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]


class Machine:
    """Runs the processes of the containers; `folder` is empty."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self._stack = stack
        self.keys: Keys = compose.write_secrets(folder / "secrets")
        own = {name: free_port() for name in SERVICES}
        workers = free_port()
        #: Addresses and paths of the containers, and what stands for them here; the first that fits is replaced.
        self._places = {
            "job:50052": f"127.0.0.1:{workers}",
            "0.0.0.0:50052": f"127.0.0.1:{workers}",
            "storage.localhost:9000": f"127.0.0.1:{own['storage']}",
            "127.0.0.1:9000": f"127.0.0.1:{own['storage']}",
            "0.0.0.0:9000": f"127.0.0.1:{own['storage']}",
            "0.0.0.0:8080": f"127.0.0.1:{own['gateway']}",
            "nats:4222": f"127.0.0.1:{own['nats']}",
            "0.0.0.0:4222": f"127.0.0.1:{own['nats']}",
            **{f"{name}:50051": f"127.0.0.1:{port}" for name, port in own.items()},
            "/run/secrets": str(folder / "secrets"),
            "/etc/calotype": str(ROOT / "deploy" / "compose"),
        }
        self._ports = own
        self.gateway = f"http://127.0.0.1:{own['gateway']}"

    def here(self, text: str, *, of: str = "", data: Path | None = None) -> str:
        """The text with the places of this machine, for the service `of`, whose volume is `data`."""
        if of in self._ports:
            text = text.replace("0.0.0.0:50051", f"127.0.0.1:{self._ports[of]}")
        for place, replaced in self._places.items():
            text = text.replace(place, replaced)
        return text.replace("/data", str(data)) if data else text

    def start(self, name: str, command: list[str], variables: Mapping[str, str] = {}) -> None:
        """Starts a process, which ends with the test."""
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("CALOTYPE_", "STORAGE_"))}
        path = os.pathsep.join([str(ROOT), str(ROOT / "proto")])
        log = self._stack.enter_context((self.folder / f"{name}.log").open("w", encoding="utf-8"))
        process = subprocess.Popen(
            command, env=inherited | {"PYTHONPATH": path} | variables, stdout=log, stderr=subprocess.STDOUT
        )
        self._stack.callback(process.wait)
        self._stack.callback(process.terminate)

    def start_module(self, name: str, *, data: Path | None = None, urls: Mapping[str, str] = {}) -> None:
        """Starts a service of the image, as its container does; `urls` are those of databases."""
        service = SERVICES[name]
        variables = {key: self.here(value, of=name) for key, value in service.get("environment", {}).items()}
        if name in urls:
            # The file has the right role and password, and the name of the container.
            file = Path(variables["CALOTYPE_DATABASE_URL_FILE"])
            _, _, role = file.read_text(encoding="utf-8").partition("//")
            assert role.partition("@")[0] == urls[name].partition("//")[2].partition("@")[0]
            file.write_text(urls[name], encoding="utf-8")
        module, *arguments = (self.here(part, data=data) for part in service["command"])
        self.start(name, [sys.executable, "-P", "-m", module, *arguments], variables)


@pytest.fixture
def machine(server_folder: Path) -> Iterator[Machine]:
    """All processes, started."""
    folder = server_folder / "compose"
    folder.mkdir(mode=0o755)
    with ExitStack() as stack:
        made = Machine(folder, stack)
        postgres = stack.enter_context(postgres_server(folder / "postgres"))
        urls = database.prepare(postgres.url, made.keys.database_passwords)
        configuration = folder / "nats.conf"
        text = (folder / "secrets" / "nats.conf").read_text(encoding="utf-8")
        configuration.write_text(made.here(text, data=folder / "streams"), encoding="utf-8")
        made.start("nats", [str(nats.binary()), "--config", str(configuration)])
        (folder / "objects").mkdir()
        made.start_module("storage", data=folder / "objects")
        for name in ("job", "generator", "uploader", "notifier", "gateway"):
            made.start_module(name, urls=urls)
        yield made


@pytest.mark.slow
def test_the_processes_of_the_containers_make_an_image(machine: Machine) -> None:
    headers = {"Authorization": f"Bearer {machine.keys.api_key}"}
    with httpx.Client(base_url=machine.gateway, headers=headers, timeout=PATIENCE, trust_env=False) as client:
        wanted, deadline = {"prompt": "a harbour at dawn", "size": "64x64"}, time.monotonic() + 2 * PATIENCE
        # Until a generator has registered its providers, the response is 503.
        while (job := _submitted(client, wanted)).get("status") != "completed":
            assert time.monotonic() < deadline, job
            time.sleep(0.2)
        [artifact] = job["artifacts"]
        assert httpx.get(artifact["url"], trust_env=False).content.startswith(b"\x89PNG")
        # The gateway reads the image itself.
        images = client.post("/v1/images/generations", json=wanted | {"response_format": "b64_json"}).json()
        assert images["data"][0]["b64_json"]


def _submitted(client: httpx.Client, wanted: dict[str, str]) -> dict[str, Any]:
    """The job, or the problem that keeps it from being accepted; repeated, it is the same job."""
    headers = {"Idempotency-Key": "of-the-containers", "Prefer": "wait=20"}
    try:
        found: dict[str, Any] = client.post("/v1/jobs", json=wanted, headers=headers).json()
    except httpx.TransportError as error:
        return {"status": str(error)}
    return found
