"""Every object of an overlay is valid in two versions of Kubernetes, with all components and without."""

import itertools
from pathlib import Path
from typing import Any

import pytest

from tests.support.deploy.kustomize import COMPONENTS, OVERLAYS, components_for, overlay_with, rendered_folder
from tests.support.deploy.manifests import K8S, named
from tests.support.deploy.schemas import CUSTOM_RESOURCES, VERSIONS, faults, is_built_in

#: Renderings of components; each component is in more than half of them, and no two are in the same ones.
ROWS = 5
MAJORITIES = list(itertools.combinations(range(ROWS), ROWS // 2 + 1))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_is_valid(overlay: str) -> None:
    made = rendered_folder(K8S / "overlays" / overlay)

    assert [fault for version in VERSIONS for manifest in made for fault in faults(manifest, version)] == []


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_with_every_component_is_valid(overlay: str, tmp_path: Path) -> None:
    made = overlay_with(overlay, components_for(overlay), tmp_path / overlay)
    custom = {manifest["kind"] for manifest in made if not is_built_in(manifest["apiVersion"])}

    assert [fault for version in VERSIONS for manifest in made for fault in faults(manifest, version)] == []
    assert custom == {path.name.removesuffix(".schema.json") for path in CUSTOM_RESOURCES.glob("*.schema.json")}


@pytest.mark.parametrize(
    ("manifest", "fault"),
    [
        (named("Deployment", "job") | {"spec": {"replica": 1}}, "'replica' was unexpected"),
        (
            {
                "apiVersion": "keda.sh/v1alpha1",
                "kind": "ScaledObject",
                "metadata": {"name": "job"},
                "spec": {"scaleTargetRef": {"name": "job"}, "triggers": [], "maxReplicas": 3},
            },
            "'maxReplicas' was unexpected",
        ),
    ],
    ids=["built-in", "custom"],
)
def test_a_field_that_a_kind_does_not_have_is_refused(manifest: dict[str, Any], fault: str) -> None:
    for version in VERSIONS:
        assert any(fault in found for found in faults(manifest, version))


@pytest.mark.parametrize("row", range(ROWS))
def test_two_components_can_be_used_together_and_each_without_the_other(row: int, tmp_path: Path) -> None:
    """For each two components, one row has both and another only the first: any two majorities of the rows overlap."""
    present = [name for name, rows in zip(COMPONENTS, MAJORITIES, strict=False) if row in rows]
    made = overlay_with("production", present, tmp_path / "production")
    config_maps = {manifest["metadata"]["name"] for manifest in made if manifest["kind"] == "ConfigMap"}
    asked = set(named_config_maps([manifest for manifest in made if manifest["kind"] != "ConfigMap"]))

    assert len(COMPONENTS) <= len(MAJORITIES)
    assert asked <= config_maps
    assert {manifest["metadata"].get("namespace", "calotype") for manifest in made} == {"calotype"}


def named_config_maps(value: Any) -> list[str]:
    """Names of the ConfigMaps that pods take variables or files from."""
    if isinstance(value, list):
        return [name for item in value for name in named_config_maps(item)]
    if not isinstance(value, dict):
        return []
    found = [value[key]["name"] for key in ("configMap", "configMapRef", "configMapKeyRef") if key in value]
    return found + [name for item in value.values() for name in named_config_maps(item)]
