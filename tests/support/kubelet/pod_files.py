"""Volumes and variables of a pod, taken from ConfigMaps and Secrets."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.support.kubelet.cluster_objects import ClusterObjects


class PodFiles:
    """The files of one pod in a folder, and the variables of its containers.

    `here` replaces the addresses of a text. Raises `LookupError` where a manifest names what is not there.
    """

    def __init__(
        self, folder: Path, *, pod: str, spec: Mapping[str, Any], objects: ClusterObjects, here: Callable[[str], str]
    ) -> None:
        self._folder = folder
        self._pod = pod
        self._objects = objects
        self._here = here
        self._volumes = {volume["name"]: volume for volume in spec.get("volumes", ())}
        containers = [*spec.get("initContainers", ()), *spec["containers"]]
        mounts = [mount for container in containers for mount in container.get("volumeMounts", ())]
        # The longest first: one may be inside of another.
        self._mounts = dict(sorted(((one["mountPath"], one) for one in mounts), key=lambda one: -len(one[0])))

    def text(self, text: str) -> str:
        """A text of the manifests with the addresses and paths of this machine."""
        text = self._here(text)
        for path, mount in self._mounts.items():
            text = re.sub(rf"(?<![\w./-]){re.escape(path)}(?![\w-])", str(self._place(mount)), text)
        return text

    def write(self) -> None:
        """Writes the files of all volumes; a claim keeps what an earlier pod of the name has left in it."""
        for mount in self._mounts.values():
            folder = self._folder / "volumes" / mount["name"]
            folder.mkdir(parents=True, exist_ok=True)
            for name, (text, mode) in self._content(self._volumes.get(mount["name"], {})).items():
                file = folder / name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.unlink(missing_ok=True)
                file.write_text(self.text(text), encoding="utf-8")
                file.chmod(mode)

    def environment(self, container: Mapping[str, Any]) -> dict[str, str]:
        """The variables that the container's manifest sets; later ones replace earlier ones."""
        found: dict[str, str] = {}
        for source in container.get("envFrom", ()):
            prefix = source.get("prefix", "")
            data = self._object(source.get("configMapRef"), source.get("secretRef"))
            found |= {f"{prefix}{key}": value for key, value in data.items()}
        for variable in container.get("env", ()):
            value = variable["value"] if "value" in variable else self._referred(variable["valueFrom"])
            # $(NAME) is the value of a variable that was set before.
            found[variable["name"]] = re.sub(r"\$\((\w+)\)", lambda each: found.get(each[1], each[0]), value)
        return {name: self.text(value) for name, value in found.items()}

    def writable(self, container: Mapping[str, Any]) -> list[str]:
        """Folders that the container may write to: ConfigMaps and Secrets are read-only, whatever a mount says."""
        read_only = {"configMap", "secret", "projected", "downwardAPI"}
        return [
            str(self._place(mount))
            for mount in container.get("volumeMounts", ())
            if not mount.get("readOnly") and not read_only & self._volumes.get(mount["name"], {}).keys()
        ]

    def _place(self, mount: Mapping[str, Any]) -> Path:
        return self._folder / "volumes" / mount["name"] / mount.get("subPath", "")

    def _referred(self, source: Mapping[str, Any]) -> str:
        if "fieldRef" in source:
            fields = {"metadata.name": self._pod, "status.podIP": "127.0.0.1", "spec.nodeName": "node"}
            return fields[source["fieldRef"]["fieldPath"]]
        config, secret = source.get("configMapKeyRef"), source.get("secretKeyRef")
        return self._object(config, secret)[(config or secret)["key"]]

    def _object(self, config: Mapping[str, Any] | None, secret: Mapping[str, Any] | None) -> Mapping[str, str]:
        source = config or secret
        assert source is not None
        name = source.get("name") or source["secretName"]
        try:
            return self._objects.config(name) if config else self._objects.secret(name)
        except LookupError:
            if source.get("optional"):
                return {}
            raise

    def _content(self, volume: Mapping[str, Any]) -> dict[str, tuple[str, int]]:
        """Text and mode of a volume's files by path; a volume of another kind is empty."""
        sources = volume.get("projected", {}).get("sources", [volume])
        mode = volume.get("projected", {}).get("defaultMode", 0o644)
        files: dict[str, tuple[str, int]] = {}
        for source in sources:
            config, secret = source.get("configMap"), source.get("secret")
            if not (config or secret):
                continue
            data, of_source = self._object(config, secret), config or secret
            paths = of_source.get("items") or [{"key": key, "path": key} for key in data]
            usual = of_source.get("defaultMode", mode)
            files |= {item["path"]: (data[item["key"]], item.get("mode", usual)) for item in paths}
        return files
