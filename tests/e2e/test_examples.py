"""`examples/` against the whole stack: each does what it says."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from cli.stack.ports import free_port
from cli.stack.state import StackState
from tests.support.browsers.devtools import scripted_page
from tests.support.pages.typescript import run
from tests.support.patience import PATIENCE
from tests.support.required_tools import need
from tests.support.stacks.stack_clients import Client
from tests.support.stacks.tenants import set_tenant

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
SERVE = ROOT / "tests" / "support" / "examples" / "serve.mjs"
NODE = "apt-get install nodejs npm"


def test_the_batch_script_makes_each_image_once(stack: StackState, client: Client, tmp_path: Path) -> None:
    prompts, images = tmp_path / "prompts.txt", tmp_path / "images"
    prompts.write_text(f"a mill of a batch\n\na lake of a batch\na mill of a batch\n{'x' * 40_000}\n", encoding="utf-8")
    command = [sys.executable, EXAMPLES / "batch" / "make_images.py", prompts, images]
    environment = {**os.environ, "CALOTYPE_URL": stack.http, "CALOTYPE_API_KEY": stack.api_key}

    runs = [
        subprocess.run(command, env=environment, check=False, capture_output=True, text=True, timeout=3 * PATIENCE)
        for _ in range(2)
    ]

    # The refused line is an error, and no other line suffers from it.
    assert [(done.returncode, done.stderr.count("\n")) for done in runs] == [(1, 1), (1, 1)]
    assert runs[0].stdout == runs[1].stdout
    files = sorted(images.iterdir())
    assert sorted(map(Path, runs[0].stdout.splitlines())) == files
    assert [file.read_bytes()[:4] for file in files] == [b"\x89PNG"] * 2
    found = client.http.get("/v1/jobs", params={"page_size": 100}).json()["jobs"]
    assert len([job for job in found if job["request"]["prompt"].endswith("of a batch")]) == 2


@pytest.fixture
def backend(stack: StackState) -> Iterator[httpx.Client]:
    """A client of the FastAPI backend, which listens."""
    address = f"127.0.0.1:{free_port()}"
    host, port = address.split(":")
    folder = EXAMPLES / "fastapi"
    command = [sys.executable, "-m", "uvicorn", "--app-dir", str(folder), "backend:app", "--host", host, "--port", port]
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "proto"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "JOB_ADDRESS": stack.grpc["job"],
        "GRPC_TOKEN": stack.grpc_token,
        "TENANT": "default",
    }
    with subprocess.Popen(command, env=environment) as process:
        try:
            with httpx.Client(base_url=f"http://{address}", timeout=PATIENCE, trust_env=False) as opened:
                deadline = time.monotonic() + PATIENCE
                while not _listens(opened):
                    assert time.monotonic() < deadline
                    time.sleep(0.1)
                yield opened
        finally:
            process.terminate()


def _listens(client: httpx.Client) -> bool:
    try:
        return client.get("/openapi.json").is_success
    except httpx.ConnectError:
        return False


def test_the_fastapi_backend_makes_one_job_of_an_order(backend: httpx.Client, client: Client) -> None:
    order = {"prompt": "a mill of an order", "order": "17"}
    first, again = (backend.post("/orders", json=order) for _ in range(2))

    assert (first.status_code, again.json()["id"]) == (202, first.json()["id"])
    assert client.follow(first.json()["id"])["status"] == "completed"
    result = backend.get(f"/orders/{first.json()['id']}").json()
    assert (result["status"], result["reason"], len(result["images"])) == ("completed", None, 1)
    assert backend.get("/orders/job_none").status_code == 404
    assert backend.delete(f"/orders/{first.json()['id']}").status_code == 400


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the page and the route, whose types were checked."""
    need("node", install=NODE)
    need("npm", install=NODE)
    root = tmp_path_factory.mktemp("examples")
    ignored = shutil.ignore_patterns("node_modules")
    folder = shutil.copytree(EXAMPLES, root / "examples", ignore=ignored)
    shutil.copytree(ROOT / "docs" / "frontend", root / "docs" / "frontend", ignore=ignored)
    run(folder, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
    run(folder, "npm", "exec", "--", "tsc", "--project", ".")
    bundle = ("npm", "exec", "--", "esbuild", "--bundle", "--format=esm", "--jsx=automatic", "--outdir=out")
    run(folder, *bundle, "--minify", "--define:process.env.NODE_ENV='production'", "react/page.tsx")
    run(folder, *bundle, "--platform=node", "nextjs/app/api/images/route.ts")
    shutil.copy(folder / "react" / "index.html", folder / "out")
    return Path(folder) / "out"


@pytest.mark.browser
@pytest.mark.slow
def test_the_react_page_shows_an_image_that_the_nextjs_route_asked_for(
    stack: StackState, server_folder: Path, bundles: Path, tmp_path: Path
) -> None:
    environment = {**os.environ, "CALOTYPE_URL": stack.http, "CALOTYPE_API_KEY": stack.api_key}
    command = [need("node", install=NODE), SERVE, bundles]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            origin = server.stdout.readline().strip()
            set_tenant(server_folder / "stack", "default", cors_origins=[origin])
            with scripted_page(f"{origin}/", tmp_path) as page:
                page.wait_for("!!document.querySelector('form')")
                prompt = json.dumps("a harbour of a page")
                page.evaluate(f"document.querySelector('input').value = {prompt}")
                page.evaluate("document.querySelector('form').requestSubmit()")
                page.wait_for("document.querySelector('img')?.naturalWidth > 0")
                assert page.evaluate("document.querySelector('h2').textContent") == "Done"
                assert stack.api_key not in page.evaluate("document.documentElement.outerHTML")
        finally:
            server.terminate()
