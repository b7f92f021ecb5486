"""Strict validation of manifests: a field that a kind does not have is refused."""

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import referencing
from referencing.jsonschema import DRAFT7

#: The oldest version of Kubernetes that docs/operations.md asks for, and the newest whose schemas are there.
VERSIONS = ("1.30.0", "1.37.0")
CUSTOM_RESOURCES = Path(__file__).parent / "custom_resources"
_BUILT_IN = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema"


def faults(manifest: Mapping[str, Any], version: str) -> list[str]:
    """What is wrong with a manifest in this version of Kubernetes, each with its place; empty: nothing."""
    found = _validator(manifest["apiVersion"], manifest["kind"], version).iter_errors(manifest)
    return [f"{manifest['kind']} {manifest['metadata']['name']}: {fault.json_path}: {fault.message}" for fault in found]


def is_built_in(api_version: str) -> bool:
    """Whether an API is Kubernetes' own."""
    group = api_version.rpartition("/")[0]
    return "." not in group or (group.endswith(".k8s.io") and group != "gateway.networking.k8s.io")


@functools.cache
def _validator(api_version: str, kind: str, version: str) -> jsonschema.Draft7Validator:
    if not is_built_in(api_version):
        schema = _json(CUSTOM_RESOURCES / f"{kind}.schema.json")
        [allowed] = {schema["definitions"][kind]["properties"]["apiVersion"]["const"]}
        assert allowed == api_version
        return jsonschema.Draft7Validator(schema)
    group, _, name = api_version.rpartition("/")
    file = "-".join(part for part in (kind.lower(), group.partition(".")[0], name) if part)
    return jsonschema.Draft7Validator(
        _json(_BUILT_IN / f"v{version}-local-strict" / f"{file}.json"), registry=_registry(version)
    )


@functools.cache
def _registry(version: str) -> referencing.Registry[Any]:
    """The definitions to which the schemas of a version refer."""
    definitions = _json(_BUILT_IN / f"v{version}-local-strict" / "_definitions.json")
    return referencing.Registry().with_resource("_definitions.json", DRAFT7.create_resource(definitions))


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
