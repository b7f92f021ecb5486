"""What tests/support/kubelet does with a pod, shown by pods of shell scripts."""

import os
from pathlib import Path
from typing import Any

import pytest

from tests.support.kubelet import read_only_root
from tests.support.kubelet.cluster_objects import ClusterObjects
from tests.support.kubelet.images import ContainerImage, image_name
from tests.support.kubelet.node import Node
from tests.support.kubelet.pod_network import PodNetwork
from tests.support.kubelet.pods import Cluster, ContainerFailed

NOTE = "echo {} >>/data/notes"
#: Ends at SIGTERM, at once.
SERVE = f"trap '{NOTE.format('stopped')}; exit 0' TERM; {NOTE.format('serving')}; while :; do sleep 0.05; done"
#: Never ends by itself.
STUBBORN = f"trap '' TERM; {NOTE.format('serving')}; while :; do sleep 0.05; done"


def container(name: str, script: str, **more: Any) -> dict[str, Any]:
    """A container with a script, and a volume that the test reads."""
    mounts = [{"name": "data", "mountPath": "/data"}, {"name": "files", "mountPath": "/etc/files"}]
    return {"name": name, "image": "registry.example/shell:1", "args": [script], "volumeMounts": mounts, **more}


def workload(kind: str, name: str, *containers: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A workload whose pods have these containers."""
    volumes = [{"name": "data", "emptyDir": {}}, {"name": "files", "configMap": {"name": "files"}}]
    spec = {"containers": list(containers), "volumes": volumes, **more}
    template = {"metadata": {"labels": {"app": name}}, "spec": spec}
    return {"kind": kind, "metadata": {"name": name}, "spec": {"template": template}}


def node_of(folder: Path, *workloads: dict[str, Any]) -> Node:
    """A node with a ConfigMap `files` and a Service for each workload."""
    services = [
        {
            "kind": "Service",
            "metadata": {"name": each["metadata"]["name"]},
            "spec": {"selector": {"app": each["metadata"]["name"]}, "ports": [{"port": 80, "targetPort": 8080}]},
        }
        for each in workloads
    ]
    files = {"kind": "ConfigMap", "metadata": {"name": "files"}, "data": {"a": "at one:80, on 0.0.0.0:8080, in /data"}}
    objects = ClusterObjects([*workloads, *services, files], {})
    shell = ContainerImage(entry_point=("sh", "-c"), environment={"PATH": os.environ["PATH"]})
    return Node(
        Cluster(objects=objects, network=PodNetwork(objects, {}), images={"shell": shell}, identities={}, folder=folder)
    )


def notes(folder: Path, pod: str) -> list[str]:
    """What the containers of a pod noted, in order."""
    return (folder / pod / "volumes" / "data" / "notes").read_text(encoding="utf-8").split()


def test_init_containers_run_one_after_the_other_and_the_hook_before_the_signal(tmp_path: Path) -> None:
    hook = {"preStop": {"exec": {"command": ["sh", "-c", NOTE.format("hook")]}}}
    ready = {"exec": {"command": ["grep", "-q", "serving", "/data/notes"]}}
    main = container("main", SERVE, lifecycle=hook, readinessProbe=ready)
    before = [container(name, NOTE.format(name)) for name in ("first", "second")]
    node = node_of(tmp_path, workload("Deployment", "one", main, initContainers=before))
    node.start("one")
    assert node.stop("one") == {"one-0": 0}

    assert notes(tmp_path, "one-0") == ["first", "second", "serving", "hook", "stopped"]


def test_a_pod_that_does_not_stop_is_killed_at_the_end_of_its_grace(tmp_path: Path) -> None:
    ready = {"exec": {"command": ["grep", "-q", "serving", "/data/notes"]}}
    main = container("main", STUBBORN, startupProbe=ready)
    node = node_of(tmp_path, workload("Deployment", "one", main, terminationGracePeriodSeconds=1))
    node.start("one")

    assert node.stop("one") == {"one-0": None}


def test_a_container_that_ends_fails_with_its_log(tmp_path: Path) -> None:
    main = container("main", "echo the key is missing; exit 3", readinessProbe={"exec": {"command": ["false"]}})
    node = node_of(tmp_path, workload("Deployment", "one", main))

    with pytest.raises(ContainerFailed, match=r"(?s)main of pod one-0 ended.*the key is missing"):
        node.start("one")
    node.kill()


def test_with_a_read_only_root_a_container_writes_to_its_volumes_alone(tmp_path: Path) -> None:
    if not read_only_root.is_supported():
        pytest.skip("this kernel has no Landlock")
    outside = tmp_path / "outside"
    outside.mkdir()
    tries = (
        f"for one in {outside}/new /etc/files/new /data/new /dev/null; do echo x >$one && {NOTE.format('$one')}; done"
    )
    context = {"readOnlyRootFilesystem": True}
    node_of(
        tmp_path, workload("Job", "tries", container("main", f"{tries}; true", securityContext=context))
    ).complete_jobs()

    assert notes(tmp_path, "tries-0") == [str(tmp_path / "tries-0/volumes/data/new"), "/dev/null"]
    assert not [*outside.iterdir()]


def test_a_job_is_run_until_it_succeeds(tmp_path: Path) -> None:
    script = f"{NOTE.format('try')}; [ $(wc -l </data/notes) -eq 2 ]"
    node_of(tmp_path, workload("Job", "migrate", container("main", script))).complete_jobs()

    assert notes(tmp_path, "migrate-0") == ["try", "try"]


def test_addresses_and_paths_are_those_of_this_machine(tmp_path: Path) -> None:
    main = container("main", f"cat /etc/files/a; {SERVE}")
    node = node_of(tmp_path, workload("Deployment", "one", main), workload("Deployment", "two", main))
    node.start("one", "two")
    node.stop("one", "two")
    of_one, of_two = ((tmp_path / f"{name}-0/volumes/files/a").read_text(encoding="utf-8") for name in ("one", "two"))
    (asked, listens), (asked_by_two, listens_two) = (
        [word.strip(",") for word in text.split() if "127.0.0.1:" in word] for text in (of_one, of_two)
    )

    # Service `one` is the pod that listens there; the other pod has a port of its own.
    assert asked == asked_by_two == listens != listens_two
    assert of_one.endswith(f"in {tmp_path}/one-0/volumes/data")


@pytest.mark.parametrize(
    "reference", ["calotype", "calotype:0.1.0", "registry.example/calotype:0.1.0", "r.example:5000/a/calotype@sha256:0"]
)
def test_an_image_is_known_by_its_name(reference: str) -> None:
    assert image_name(reference) == "calotype"
