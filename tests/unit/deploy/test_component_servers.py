"""Scripts and commands of components do what they are for, on real servers."""

import os
import re
import subprocess
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psycopg2
import pytest

from cli.stack import database, postgres, storage
from cli.stack.child import Child
from cli.stack.object_store import access
from tests.support.deploy.kustomize import component
from tests.support.deploy.manifests import K8S, containers
from tests.support.patience import PATIENCE
from tests.support.required_tools import need
from tests.support.servers.embedded_servers import postgres_server
from tests.support.servers.reaper import reaped

COMPONENTS = K8S / "components"


def commands(name: str) -> str:
    """The first block of commands in a component's README."""
    [block, *_] = re.findall(r"```sh\n(.*?)```", (COMPONENTS / name / "README.md").read_text("utf-8"), re.DOTALL)
    return str(block)


def test_postgres_makes_the_roles_of_the_services_with_the_passwords_of_their_urls(tmp_path: Path) -> None:
    with postgres_server(tmp_path / "postgres") as server:
        address = urlsplit(server.url)
        urls = {
            service: f"postgresql://{role}:secret-of_{service}@{address.hostname}:{address.port}/{database.NAME}"
            for service, role in database.ROLES.items()
        }
        for service, url in urls.items():
            (tmp_path / service).mkdir()
            (tmp_path / service / "url").write_text(url, encoding="utf-8")
        environment = os.environ | {
            "PATH": f"{postgres.binaries()}{os.pathsep}{os.environ['PATH']}",
            "CALOTYPE_SECRETS": str(tmp_path),
            "PGHOST": str(address.hostname),
            "PGPORT": str(address.port),
            "PGPASSWORD": str(address.password),
        }
        script = COMPONENTS / "postgres" / "roles.sh"
        made = subprocess.run(
            ["bash", script], env=environment, capture_output=True, text=True, check=False, timeout=60
        )

        assert made.returncode == 0, made.stderr
        for service, upgrade in database.UPGRADES.items():
            upgrade(urls[service])
        with closing(psycopg2.connect(urls["notifier"])) as notifier, notifier.cursor() as cursor:
            cursor.execute("SELECT current_schema()")
            assert cursor.fetchone() == (database.SCHEMA,)
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                cursor.execute("SELECT 1 FROM public.jobs")


def test_the_object_store_takes_the_credentials_of_the_readme_and_answers_to_its_name(tmp_path: Path) -> None:
    made, _, _ = commands("object-store").partition("kubectl")
    need("openssl", install="apt-get install openssl")
    subprocess.run(["bash", "-ec", made], cwd=tmp_path, check=True, timeout=60)
    known = access.read(tmp_path / "access.json")
    [container] = containers(next(one for one in component("object-store") if one["kind"] == "StatefulSet"))
    program, url = storage.program(tmp_path / "data", log=tmp_path / "log", tokens={}, buckets={})
    # The program of `calotype up`, with the arguments of the manifest.
    arguments = [*program.command[: program.command.index("--listen")], *container["args"][1:]]
    replaced = {"0.0.0.0:9000": urlsplit(url).netloc, "/data": str(tmp_path / "data")}
    replaced["/run/secrets/storage/access.json"] = str(tmp_path / "access.json")
    child = Child(
        type(program)(
            name="storage",
            command=tuple(replaced.get(argument, argument) for argument in arguments),
            environment=program.environment,
            log=program.log,
            is_ready=program.is_ready,
        )
    )
    child.start()
    with reaped(child.pid):
        try:
            child.wait_ready(PATIENCE)
            token = (tmp_path / "uploader").read_text(encoding="utf-8")
            headers = {"Authorization": f"Bearer {token}"}
            listed = f"{url}/storage/v1/b/calotype-local-public/o"
            statuses = [
                httpx.get(listed, headers=headers | {"Host": host}).status_code
                for host in ("storage:9000", "127.0.0.1", "elsewhere.example")
            ]
        finally:
            child.stop(PATIENCE)

    assert statuses == [200, 200, 403]
    assert container["args"][0] == "cli.stack.object_store"
    assert known.buckets == {"calotype-local-public": storage.PUBLIC, "calotype-local-private": storage.STAGING}
