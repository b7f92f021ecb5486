"""What the caller of `calotype up` has in the environment reaches no process that does not need it."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from cli.stack.state import StackState, read_state
from services.generator.adapters.providers.kinds import KINDS, ProviderFile
from tests.support.deploy.manifests import containers, of_kind
from tests.support.patience import PATIENCE
from tests.support.stacks.stack_clients import Client, RetryingTransport

ROOT = Path(__file__).parents[2]
MARKER = "ae5f3c-marker"
#: Named by no provider of the file below.
OF_NOBODY = ("OPENAI_API_KEY", "AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "DATABASE_URL", "PGPASSWORD", "NATS_TOKEN")
PROVIDERS = """
default: procedural
providers:
  - {name: procedural, kind: procedural}
  - {name: paid, kind: openai, base_url: "http://127.0.0.1:9", api_key_env: PAID_API_KEY, models: [{name: m}]}
"""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StackState]:
    """A stack whose caller has secrets in the environment; one of them is a provider's."""
    folder = tmp_path_factory.mktemp("environment")
    (folder / "providers.yaml").write_text(PROVIDERS, encoding="utf-8")
    secrets = {name: f"{MARKER}-{name}" for name in (*OF_NOBODY, "PAID_API_KEY", "CALOTYPE_API_KEY")}
    environment = {**os.environ, **secrets, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'proto'}"}
    calotype = [sys.executable, "-P", "-m", "cli"]
    data = ["--data", str(folder / "data")]
    where = ["--http", "127.0.0.1:0", "--providers", str(folder / "providers.yaml")]
    subprocess.run([*calotype, "up", "--detach", *where, *data], env=environment, check=True)
    try:
        found = read_state(folder / "data")
        assert found is not None
        with httpx.Client(
            base_url=found.http,
            timeout=PATIENCE,
            transport=RetryingTransport(),
            trust_env=False,
            headers={"Authorization": f"Bearer {found.api_key}"},
        ) as http:
            # So that there are processes that draw.
            client = Client(http)
            client.follow(client.submit("a lighthouse", provider="procedural")["id"])
        yield found
    finally:
        subprocess.run([*calotype, "down", *data], env=environment, check=True)


def environments(state: StackState) -> dict[str, Mapping[str, str]]:
    """The environment of each process of the stack, and of all that these have started, by name and number.

    PostgreSQL may run as another user, and then its environment is read with a capability that containers lack.
    """
    supervisor = next(iter({psutil.Process(pid).ppid() for pids in state.pids.values() for pid in pids}))
    parent = psutil.Process(supervisor)
    names = {pid: name for name, pids in state.pids.items() for pid in pids} | {supervisor: "supervisor"}
    found = {}
    for process in (parent, *parent.children(recursive=True)):
        name = names.get(process.pid, "child of " + names.get(process.ppid(), "?"))
        try:
            found[f"{name} {process.pid}"] = process.environ()
        except psutil.AccessDenied:
            assert process.uids().real != os.getuid(), name
    return found


def is_readable(state: StackState, name: str) -> bool:
    """Whether the environment of a service can be read by this user."""
    try:
        psutil.Process(state.pids[name][0]).environ()
    except psutil.AccessDenied:
        return False
    return True


def test_a_secret_is_with_the_process_that_uses_it_alone(stack: StackState) -> None:
    found = environments(stack)
    holders = {
        name: sorted(key for key, value in environment.items() if MARKER in value)
        for name, environment in found.items()
        if any(MARKER in value for value in environment.values())
    }

    expected = {"nats", "storage", "job", "generator", "uploader", "notifier", "gateway"}
    expected |= {"postgres"} if is_readable(stack, "postgres") else set()
    assert expected <= {one.split()[0] for one in found}
    assert any(name.startswith("child of generator") for name in found)
    # `up` itself hands it on.
    assert {name.rpartition(" ")[0]: keys for name, keys in holders.items()} == {
        "supervisor": ["PAID_API_KEY"],
        "generator": ["PAID_API_KEY"],
    }


def test_a_credential_of_the_stack_is_with_its_service_alone(stack: StackState) -> None:
    found = environments(stack)

    def holders(value: str) -> set[str]:
        return {name.rpartition(" ")[0] for name, variables in found.items() if value in "\n".join(variables.values())}

    assert holders(stack.database_url) == {"job"}
    assert holders(stack.notifier_database_url) == {"notifier"}
    assert {service: holders(token) for service, token in stack.storage_tokens.items()} == {
        service: {service} for service in stack.storage_tokens
    }
    assert holders(stack.api_key) == holders(stack.operator_key) == holders(stack.grpc_token) == set()


def test_every_kind_of_provider_says_which_variables_it_reads() -> None:
    told = {
        "bedrock": {"name": "p", "kind": "bedrock", "settings": {"region": "us-east-1", "auth": "iam"}},
        "azure_openai": {
            "name": "p",
            "kind": "azure_openai",
            "base_url": "https://r.openai.azure.com/openai/v1",
            "settings": {"auth": "identity"},
        },
        "openai": {"name": "p", "kind": "openai", "api_key_env": "MY_KEY"},
    }
    found = {
        kind: ProviderFile.model_validate({"providers": [{**entry, "models": [{"name": _MODELS.get(kind, "m")}]}]})
        for kind, entry in told.items()
    }

    assert told.keys() <= set(KINDS)
    assert {kind: sorted(file.providers[0].variables) for kind, file in found.items()} == {
        "bedrock": ["AWS_*"],
        "azure_openai": ["AZURE_*", "IDENTITY_*", "IMDS_ENDPOINT", "MSI_ENDPOINT", "MSI_SECRET"],
        "openai": ["MY_KEY"],
    }


# The broker's configuration reads its passwords from the environment; it has no others, and starts no process.
@pytest.mark.parametrize(
    "workload",
    [one for one in of_kind("Deployment", "StatefulSet", "Job", "CronJob") if one["metadata"]["name"] != "nats"],
    ids=lambda one: one["metadata"]["name"],
)
def test_a_pod_has_its_secrets_in_files_alone(workload: dict[str, Any]) -> None:
    for container in containers(workload):
        sources = [*container.get("envFrom", ()), *(one.get("valueFrom", {}) for one in container.get("env", ()))]

        assert not [source for source in sources if {"secretRef", "secretKeyRef"} & source.keys()]


_MODELS = {"bedrock": "amazon.nova-canvas-v1:0"}
