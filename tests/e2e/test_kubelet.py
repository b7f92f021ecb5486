"""The rendered manifests run: all containers start as they say, make images, and stop in time without losing a job."""

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from click.testing import CliRunner, Result

from cli.__main__ import main
from cli.errors import ExitCode
from cli.kubernetes.secret_files import DatabaseServer, SecretFiles, write_secrets
from cli.stack import database, storage
from cli.stack.keys import load_or_create
from tests.support.kubelet.built_image import built_image
from tests.support.kubelet.cluster_objects import K8S, SMALLEST_OVERLAY, ClusterObjects, render
from tests.support.kubelet.images import nats_image
from tests.support.kubelet.node import Node
from tests.support.kubelet.pod_network import PodNetwork
from tests.support.kubelet.pods import Cluster, ContainerFailed
from tests.support.patience import PATIENCE
from tests.support.servers.embedded_servers import STORAGE_TOKENS, postgres_server, storage_of

GOOGLE = "https://storage.googleapis.com"
#: In the order of an upgrade: docs/operations.md.
FIRST, THEN = ("job",), ("generator", "uploader", "notifier", "gateway")
JOBS = 8


def installed_secrets(folder: Path, *, address: str) -> dict[str, Mapping[str, str]]:
    """The secrets that `calotype k8s init` makes in a folder for a database at an address, as kubectl applies them."""
    server = DatabaseServer(address=address, sslmode="disable")
    write_secrets(SecretFiles(folder=folder), namespace="calotype", server=server)
    made = ClusterObjects(render(folder), {})
    return {each["metadata"]["name"]: made.secret(each["metadata"]["name"]) for each in made.of_kind("Secret")}


class Installation:
    """The overlay on this machine: its node runs, `client` calls its gateway."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        postgres = stack.enter_context(postgres_server(folder / "postgres"))
        #: What `calotype k8s init` has made.
        self.secret_files = secret_files = folder / "secrets"
        secret_files.mkdir()
        secrets = installed_secrets(secret_files, address=urlsplit(postgres.url).netloc.rpartition("@")[2])
        keys, _ = load_or_create(secret_files)
        database.make_roles(postgres.url, keys.database_passwords)
        self.objects = ClusterObjects(render(K8S / "overlays" / SMALLEST_OVERLAY), secrets)
        # Its name ends with a hash of its content.
        [settings] = (
            each["data"]
            for each in self.objects.of_kind("ConfigMap")
            if each["metadata"]["name"].startswith("calotype-settings-")
        )
        store = stack.enter_context(
            storage_of(
                folder / "objects",
                log=folder / "storage.log",
                buckets={
                    settings["CALOTYPE_BUCKET"]: storage.PUBLIC,
                    settings["CALOTYPE_STAGING_BUCKET"]: storage.STAGING,
                },
            )
        )
        self.network = network = PodNetwork(self.objects, {GOOGLE: store.url})
        identities = {
            name: {"STORAGE_EMULATOR_HOST": store.url, "STORAGE_EMULATOR_TOKEN": STORAGE_TOKENS[name]}
            for name in ("generator", "uploader")
        }
        cluster = Cluster(
            objects=self.objects,
            network=network,
            images={"calotype": built_image(folder / "image"), "nats": nats_image()},
            identities=identities,
            folder=folder / "pods",
        )
        self.node = Node(cluster)
        stack.callback(self.node.kill)
        url = f"http://{network.of_service('gateway', 'http')}"
        headers = {"Authorization": f"Bearer {keys.api_key}"}
        self.client = stack.enter_context(
            httpx.Client(base_url=url, headers=headers, timeout=PATIENCE, trust_env=False)
        )

    def submit(self, prompt: str, *, wait: int = 0) -> dict[str, Any]:
        """The job, or the problem that keeps it from being accepted."""
        headers = {"Idempotency-Key": prompt.replace(" ", "-"), **({"Prefer": f"wait={wait}"} if wait else {})}
        response = self.client.post("/v1/jobs", json={"prompt": prompt, "size": "64x64"}, headers=headers)
        # Until a generator has registered its providers, and on a busy machine, it is 503.
        assert response.is_success or response.status_code == HTTPStatus.SERVICE_UNAVAILABLE, response.text
        found: dict[str, Any] = response.json()
        return found

    def log_level(self, *tls_files: str) -> Result:
        """`calotype log-level` for job-service as in docs/operations.md, with these of the operator's files for TLS."""
        folder = self.secret_files / "operator"
        variables = {"CALOTYPE_GRPC_TOKEN_FILE": str(folder / "token")}
        names = {"tls.crt": "CERT", "tls.key": "KEY", "ca.crt": "CA"}
        variables |= {f"CALOTYPE_GRPC_TLS_{names[file]}_FILE": str(folder / file) for file in tls_files}
        address = self.network.of_service("job", "clients")
        return CliRunner().invoke(main, ["log-level", "job", "info", "--address", address], env=variables)

    def accepted(self, prompt: str) -> str:
        """The id of the job once it is accepted."""
        deadline = time.monotonic() + PATIENCE
        while (job := self.submit(prompt)).get("id") is None:
            assert time.monotonic() < deadline, job
            time.sleep(0.2)
        return str(job["id"])

    def completed(self, prompt: str) -> dict[str, Any]:
        """The job once it is completed; repeated, a submission is the same job."""
        deadline = time.monotonic() + PATIENCE
        while (job := self.submit(prompt, wait=20)).get("status") != "completed":
            assert time.monotonic() < deadline, job
            time.sleep(0.2)
        return job


@pytest.fixture
def installation(server_folder: Path) -> Iterator[Installation]:
    """Nothing of it is started."""
    folder = server_folder / "kubelet"
    folder.mkdir()
    with ExitStack() as stack:
        yield Installation(folder, stack)


@pytest.mark.slow
def test_the_manifests_make_images_and_stop_in_time_without_losing_a_job(installation: Installation) -> None:
    node = installation.node
    assert {*FIRST, *THEN} < {*node.workloads}
    servers = [name for name in node.workloads if name not in (*FIRST, *THEN)]
    # A first installation applies everything at once: services wait for their schema, and for each other.
    node.launch(*servers, *FIRST, *THEN)
    node.complete_jobs()
    node.wait_ready(*servers, *FIRST, *THEN)

    [artifact] = installation.completed("a harbour at dawn")["artifacts"]
    assert httpx.get(artifact["url"], trust_env=False).content.startswith(b"\x89PNG")

    with_certificate = installation.log_level("tls.crt", "tls.key", "ca.crt")
    assert with_certificate.exit_code == ExitCode.DONE, with_certificate.output
    for files in ([], ["ca.crt"]):
        refused = installation.log_level(*files)
        assert refused.exit_code == ExitCode.NOT_REACHABLE, refused.output
        assert "it may require TLS, or a certificate of another authority" in refused.output

    prompts = [f"boat number {number}" for number in range(JOBS)]
    accepted = {prompt: installation.accepted(prompt) for prompt in prompts}
    stopped = node.stop(*FIRST, *THEN)
    assert {*stopped.values()} == {0}, stopped

    node.start(*FIRST)
    node.start(*THEN)
    # A second submission is the same job: nothing was lost, and nothing was made twice.
    for prompt in prompts:
        job = installation.completed(prompt)
        assert job["id"] == accepted[prompt]
        assert len(job["artifacts"]) == 1
    with pytest.raises(ContainerFailed, match="stop all services first"):
        node.run_from("reconcile")
    assert {*node.stop(*FIRST, *THEN).values()} == {0}
    # As after a restore; what the provider of this overlay makes is free.
    for name in ("reconcile-preview", "reconcile"):
        assert "0 open and 0 failed jobs" in node.run_from(name)
    assert None not in node.stop(*servers).values()
