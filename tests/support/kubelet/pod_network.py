"""Addresses of pods and Services, on one machine: each port of a pod is a free port of 127.0.0.1."""

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from cli.stack.ports import free_port
from tests.support.kubelet.cluster_objects import ClusterObjects

#: A host with a port, and a port alone as configurations and options name it.
_ADDRESS = re.compile(r"(?<![\w.-])([a-z0-9][a-z0-9.-]*):(\d+)\b")
_PORT = re.compile(r"(?<=\bport[:=])( ?)(\d+)\b")
_OWN = ("0.0.0.0", "127.0.0.1", "localhost")


class PodNetwork:
    """Replaces addresses in texts.

    `outside` has what is in no manifest: what texts call it, such as `https://storage.googleapis.com`, and what stands
    for it here. A pod keeps its ports when it is started again.
    """

    def __init__(self, objects: ClusterObjects, outside: Mapping[str, str]) -> None:
        self._objects = objects
        self._outside = outside
        self._ports: dict[tuple[str, int], int] = {}

    def port(self, pod: str, port: int) -> int:
        """The port of this machine that stands for a port of a pod."""
        return self._ports.setdefault((pod, port), free_port())

    def of_service(self, name: str, port: int | str) -> str:
        """Host and port that stand for those of a Service: its first pod. Raises `LookupError`."""
        service = self._objects.named("Service", name)
        [offered] = (each for each in service["spec"]["ports"] if port in (each["port"], each.get("name")))
        [workload, *_] = self._objects.behind(service)
        target = offered.get("targetPort", offered["port"])
        pod = self._objects.pods(workload)[0]
        return f"127.0.0.1:{self.port(pod, self._container_port(workload, target))}"

    def here(self, text: str, pod: str) -> str:
        """The text as the pod has it, with the addresses of this machine."""
        for place, stands_for in self._outside.items():
            text = text.replace(place, stands_for)
        text = _ADDRESS.sub(lambda found: self._address(found, pod), text)
        return _PORT.sub(lambda found: f"{found[1]}{self.port(pod, int(found[2]))}", text)

    def _address(self, found: re.Match[str], pod: str) -> str:
        host, port = found[1], int(found[2])
        name, _, rest = host.partition(".")
        if found[0] in self._outside_addresses:
            return found[0]
        if host in _OWN:
            return f"127.0.0.1:{self.port(pod, port)}"
        if name in self._pods and rest.split(".")[0] in self._services:
            return f"127.0.0.1:{self.port(name, port)}"
        if name in self._services:
            return self.of_service(name, port)
        return found[0]

    @cached_property
    def _outside_addresses(self) -> set[str]:
        secrets = " ".join(text for secret in self._objects.secrets.values() for text in secret.values())
        here = {urlsplit(url).netloc or url for url in self._outside.values()}
        # The secrets of the installation name servers that are in no manifest.
        return here | {found[0] for found in _ADDRESS.finditer(secrets)}

    @cached_property
    def _services(self) -> set[str]:
        return {each["metadata"]["name"] for each in self._objects.of_kind("Service")}

    @cached_property
    def _pods(self) -> set[str]:
        return {pod for each in self._objects.workloads() for pod in self._objects.pods(each["metadata"]["name"])}

    def _container_port(self, workload: str, target: int | str) -> int:
        if isinstance(target, int):
            return target
        [spec] = (one["spec"] for one in self._objects.workloads() if one["metadata"]["name"] == workload)
        return named_port(spec["template"]["spec"], target)


def named_port(pod_spec: Mapping[str, Any], name: str) -> int:
    """The number of a port that a pod's containers name. Raises `LookupError`."""
    for container in pod_spec["containers"]:
        for port in container.get("ports", ()):
            if port.get("name") == name:
                number: int = port["containerPort"]
                return number
    raise LookupError(f"no container has a port {name}")
