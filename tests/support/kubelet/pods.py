"""One pod: its containers as processes, their probes, and its end."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.kubelet import probes, read_only_root
from tests.support.kubelet.cluster_objects import ClusterObjects
from tests.support.kubelet.images import ContainerImage, image_name
from tests.support.kubelet.pod_files import PodFiles
from tests.support.kubelet.pod_network import PodNetwork, named_port
from tests.support.patience import PATIENCE
from tests.support.servers.reaper import reaped

#: Seconds between two probes, at most: what a manifest allows is a time of a cluster, not of a test.
_PROBE_SECONDS = 0.3


class ContainerFailed(Exception):
    """A container ended, or did not become ready; the message has the end of its log."""


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """What all pods share."""

    #: All objects.
    objects: ClusterObjects
    #: Addresses.
    network: PodNetwork
    #: Images by name, without registry and tag.
    images: Mapping[str, ContainerImage]
    #: Variables that the cloud's identity of a service account stands for, by its name.
    identities: Mapping[str, Mapping[str, str]]
    #: For files and logs of all pods.
    folder: Path


class Pod:
    """A pod of a workload; `start` may be called again after `stop`, as if the workload had made it again."""

    def __init__(self, name: str, spec: Mapping[str, Any], cluster: Cluster) -> None:
        #: Name, unique in the namespace.
        self.name = name
        self._spec = spec
        self._cluster = cluster
        self._folder = cluster.folder / name
        self._files = PodFiles(
            self._folder,
            pod=name,
            spec=spec,
            objects=cluster.objects,
            here=lambda text: cluster.network.here(text, name),
        )
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._reaped = ExitStack()

    def start(self) -> None:
        """Writes the volumes, runs the init containers one after the other, and starts the containers.

        Raises `ContainerFailed` where an init container fails.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        self._files.write()
        for container in self._spec.get("initContainers", ()):
            self._start(container)
            if container.get("restartPolicy") == "Always":
                self._wait_for(container, "startupProbe")
            elif self.exit_status(container["name"], wait=True):
                raise self._failed(container, "failed")
        for container in self._spec["containers"]:
            self._start(container)

    def wait_ready(self) -> None:
        """Waits until each container has passed its startup, readiness and liveness probe, in this order.

        Raises `ContainerFailed` when a container ends, or has not passed after what its manifest allows or `PATIENCE`.
        """
        for container in self._spec["containers"]:
            for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
                self._wait_for(container, kind)

    def exit_status(self, container: str = "", *, wait: bool = False) -> int | None:
        """Exit code of a container, by default of the only one; None while it runs. With `wait`, after its end."""
        process = self._processes[container or self._spec["containers"][0]["name"]]
        return process.wait(PATIENCE) if wait else process.poll()

    def log(self, container: str = "") -> str:
        """The end of a container's log, by default of the only one."""
        log = self._folder / f"{container or self._spec['containers'][0]['name']}.log"
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 4000))
            return file.read().decode("utf-8", errors="replace")

    def request_stop(self) -> None:
        """Runs the preStop hooks and sends SIGTERM. Raises `ContainerFailed` where a container has ended before."""
        for container in self._spec["containers"]:
            if self.exit_status(container["name"]) is not None:
                raise self._failed(container, "ended by itself")
            self._run_hook(container)
            self._processes[container["name"]].send_signal(signal.SIGTERM)

    def wait_stopped(self, seconds: float) -> Mapping[str, int | None]:
        """Exit codes by container; None where one had to be killed after as many seconds, the end of its grace."""
        deadline, found = time.monotonic() + seconds, dict[str, int | None]()
        for name, process in self._processes.items():
            try:
                found[name] = process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                found[name] = None
        self._reaped.close()
        return found

    @property
    def grace_seconds(self) -> float:
        """Seconds between the first hook and SIGKILL."""
        return float(self._spec.get("terminationGracePeriodSeconds", 30))

    @property
    def hook_seconds(self) -> float:
        """Seconds of the longest preStop hook that sleeps."""
        hooks = [one.get("lifecycle", {}).get("preStop", {}) for one in self._spec["containers"]]
        return max(float(hook.get("sleep", {}).get("seconds", 0)) for hook in hooks)

    def _start(self, container: Mapping[str, Any]) -> None:
        with (self._folder / f"{container['name']}.log").open("ab") as log:
            process = subprocess.Popen(
                self._command(container),
                env=self._environment(container),
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._reaped.enter_context(reaped(process.pid))
        self._processes[container["name"]] = process

    def _command(self, container: Mapping[str, Any]) -> list[str]:
        entry_point = container.get("command") or self._image(container).entry_point
        command = [self._files.text(word) for word in (*entry_point, *container.get("args", ()))]
        return [*self._confined(container), *command]

    def _confined(self, container: Mapping[str, Any]) -> list[str]:
        """The words before a command that confine it to the writable volumes; none without a read-only root."""
        if not container.get("securityContext", {}).get("readOnlyRootFilesystem"):
            return []
        return [sys.executable, "-I", "-S", read_only_root.__file__, "/dev", *self._files.writable(container), "--"]

    def _environment(self, container: Mapping[str, Any]) -> dict[str, str]:
        """No variable of this machine but those of an image."""
        identity = self._cluster.identities.get(self._spec.get("serviceAccountName", ""), {})
        image = {"HOSTNAME": self.name, **self._image(container).environment}
        return {**image, **identity, **self._files.environment(container)}

    def _image(self, container: Mapping[str, Any]) -> ContainerImage:
        return self._cluster.images[image_name(container["image"])]

    def _wait_for(self, container: Mapping[str, Any], kind: str) -> None:
        if not (probe := container.get(kind)):
            return
        allowed = probe.get("periodSeconds", 10) * probe.get("failureThreshold", 3)
        deadline = time.monotonic() + max(PATIENCE, probe.get("initialDelaySeconds", 0) + allowed)
        while not probes.succeeds(
            probe, port_of=self._port, run=lambda command, seconds: self._run(container, command, seconds)
        ):
            if self._processes[container["name"]].poll() is not None:
                raise self._failed(container, "ended")
            if time.monotonic() > deadline:
                raise self._failed(container, f"did not pass its {kind}")
            time.sleep(_PROBE_SECONDS)

    def _run(self, container: Mapping[str, Any], command: list[str], seconds: float) -> int:
        words = [self._files.text(word) for word in command]
        environment = self._environment(container)
        return subprocess.run(
            words, env=environment, cwd=self._folder, timeout=seconds, capture_output=True, check=False
        ).returncode

    def _run_hook(self, container: Mapping[str, Any]) -> None:
        hook = container.get("lifecycle", {}).get("preStop", {})
        assert hook.keys() <= {"exec", "sleep"}, hook
        if "exec" in hook:
            self._run(container, hook["exec"]["command"], self.grace_seconds)

    def _port(self, port: int | str) -> int:
        number = port if isinstance(port, int) else named_port(self._spec, port)
        return self._cluster.network.port(self.name, number)

    def _failed(self, container: Mapping[str, Any], what: str) -> ContainerFailed:
        name = container["name"]
        return ContainerFailed(f"container {name} of pod {self.name} {what}:\n{self.log(name)}")
