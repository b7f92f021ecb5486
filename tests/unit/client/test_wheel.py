"""The client as other teams install it: its wheel, and beside it what the wheel asks for, in an empty environment."""

import re
import subprocess
import zipfile
from importlib import metadata
from pathlib import Path, PurePosixPath

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tests.support.packaging import installed_wheels

PROTO = Path(__file__).parents[3] / "proto"
NAME = "calotype-client"

IMPORT_EVERYTHING = """
import importlib, importlib.metadata
for path in importlib.metadata.files("calotype-client"):
    if path.suffix == ".py":
        module = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
        print(importlib.import_module(module).__file__)
"""
ASK_NOBODY = """
import socket
from calotype.client import CalotypeError, JobClient
with socket.socket() as deaf:
    deaf.bind(("127.0.0.1", 0))
    with JobClient("127.0.0.1:%d" % deaf.getsockname()[1], tenant="acme") as jobs:
        for ask in (lambda: jobs.create("a harbour"), lambda: jobs.wait("job_1", timeout=0.1)):
            try:
                ask()
            except CalotypeError as error:
                print(type(error).__name__)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from what lies here."""
    return installed_wheels.built(PROTO, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def packages(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where packages lie in an environment of the wheel's own."""
    return installed_wheels.installed(wheel, NAME, tmp_path_factory.mktemp("environment"))


def _told(packages: Path, script: str) -> list[str]:
    """What a script tells in that environment, where nothing else can be imported."""
    [python] = packages.parents[2].glob("bin/python")
    command = [python, "-I", "-B", "-c", script]
    told = subprocess.run(command, check=False, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    return told.stdout.split("\n")[:-1]


def test_its_wheel_brings_calotype_and_no_other_top_level_name(packages: Path) -> None:
    [installed] = metadata.distributions(name=NAME, path=[str(packages)])
    names = {file.parts[0] for file in installed.files or ()}

    assert names == {"calotype", f"calotype_client-{installed.version}.dist-info"}
    assert (packages / "calotype" / "py.typed").exists()


def test_its_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = [PurePosixPath(name) for name in archive.namelist() if not name.startswith("calotype_client-")]
    source = [path.relative_to(PROTO) for path in (PROTO / "calotype").rglob("*") if path.is_file()]

    assert {name.suffix for name in names} == {".py", ".pyi", ".proto", ".typed"}
    assert sorted(map(str, names)) == sorted(str(path) for path in source if "__pycache__" not in path.parts)
    assert not [name for name in names if "test" in str(name)]


def test_every_module_of_it_can_be_imported_with_what_it_asks_for(packages: Path) -> None:
    modules = _told(packages, IMPORT_EVERYTHING)

    assert len(modules) > 30
    assert all(Path(module).is_relative_to(packages / "calotype") for module in modules)


def test_a_client_of_it_can_be_made_and_used(packages: Path) -> None:
    assert _told(packages, ASK_NOBODY) == ["Unavailable", "DeadlineExceeded"]


def test_it_asks_for_no_older_packages_than_its_stubs_run_with(packages: Path) -> None:
    [installed] = metadata.distributions(name=NAME, path=[str(packages)])
    wanted = {one.name: one.specifier for one in map(Requirement, installed.requires or ())}
    [oldest_grpc] = {
        found
        for stub in packages.glob("calotype/**/*_pb2_grpc.py")
        for found in re.findall(r"GRPC_GENERATED_VERSION = '(.+)'", stub.read_text(encoding="utf-8"))
    }
    [oldest_protobuf] = {
        found
        for stub in packages.glob("calotype/**/*_pb2.py")
        for found in re.findall(r"Protobuf Python Version: (.+)", stub.read_text(encoding="utf-8"))
    }
    floors = {name: Version(bound.version) for name in wanted for bound in wanted[name] if bound.operator == ">="}

    assert floors["grpcio"] >= Version(oldest_grpc)
    assert floors["protobuf"] >= Version(oldest_protobuf)
