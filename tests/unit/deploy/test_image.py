"""deploy/Dockerfile: the script that all its steps call, and what the image says about itself."""

import json
import re
import subprocess
from pathlib import Path

import calotype
import pytest

from tests.support.kubelet import built_image
from tests.support.kubelet.built_image import DOCKERFILE, ROOT

PACKAGES = ("click", "protobuf")


def made(prefix: Path) -> Path:
    """A prefix with the sources of one package and two installed packages, finished."""
    packages = prefix / "opt" / "calotype" / "lib" / "python3.13" / "site-packages"
    packages.mkdir(parents=True)
    (prefix / "opt" / "calotype" / "bin").mkdir()
    for name in PACKAGES:
        version = re.findall(rf"^{name}==(\S+)", built_image.LOCK.read_text(encoding="utf-8"), re.MULTILINE)[0]
        folder = packages / f"{name}-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Name: {name}\nVersion: {version}\nLicense-Expression: MIT\n")
        (packages / f"{name}.py").write_text("import sys\n\n\ndef path() -> str:\n    return sys.path[0]\n")
    sources = prefix / "srv" / "calotype" / "calotype"
    sources.mkdir(parents=True)
    for file in (ROOT / "proto" / "calotype").glob("*.py"):
        (sources / file.name).write_bytes(file.read_bytes())
    built_image.run_step("finish", prefix)
    return prefix


def content(prefix: Path) -> dict[str, tuple[bytes, float]]:
    """Bytes and time of each file."""
    return {
        str(path.relative_to(prefix)): (path.read_bytes(), path.stat().st_mtime)
        for path in prefix.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished prefix."""
    return made(tmp_path_factory.mktemp("first"))


def test_two_builds_have_the_same_files(prefix: Path, tmp_path: Path) -> None:
    first, second = content(prefix), content(made(tmp_path / "a longer path"))

    assert first == second
    assert {time for _, time in first.values()} == {1_700_000_000.0}


def test_modules_are_compiled_and_not_compared_with_their_source(prefix: Path) -> None:
    compiled = list(prefix.rglob("*.pyc"))
    sources = list(prefix.rglob("*.py"))

    assert len(compiled) == len(sources)
    # PEP 552: by hash, unchecked.
    assert {path.read_bytes()[4:8] for path in compiled} == {b"\x01\x00\x00\x00"}
    assert not [path for path in compiled if str(prefix).encode() in path.read_bytes()]


def test_the_bill_of_materials_has_each_installed_package_with_its_licence_and_hashes(prefix: Path) -> None:
    bill = json.loads((prefix / "srv" / "calotype" / "sbom.cdx.json").read_text(encoding="utf-8"))
    lock = built_image.LOCK.read_text(encoding="utf-8")

    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert bill["metadata"]["component"]["version"] == calotype.__version__
    assert [each["name"] for each in bill["components"]] == sorted(PACKAGES)
    for each in bill["components"]:
        assert f"{each['name']}=={each['version']} " in lock
        assert each["purl"] == f"pkg:pypi/{each['name']}@{each['version']}"
        assert each["licenses"] == [{"expression": "MIT"}]
        hashes = [one["value"] for one in each["properties"]]
        assert hashes
        assert all(f"--hash=sha256:{one}" in lock for one in hashes)


def test_a_package_that_is_not_locked_is_refused(prefix: Path, tmp_path: Path) -> None:
    other = made(tmp_path / "prefix")
    [folder] = (other / "opt" / "calotype").glob("lib/*/site-packages/click-*.dist-info")
    (folder / "METADATA").write_text("Name: click\nVersion: 0.0.1\n")

    with pytest.raises(subprocess.CalledProcessError):
        built_image.run_step("finish", other)


def test_every_step_calls_the_script_and_the_image_says_what_it_is() -> None:
    steps = [json.loads(line) for line in re.findall(r"^RUN (.+)$", DOCKERFILE, re.MULTILINE)]
    labels = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="(.+?)"', DOCKERFILE))

    assert steps == [["python", "-P", "build.py", step, "/", "services.txt"] for step in ("packages", "finish")]
    assert labels["version"] == calotype.__version__
    assert labels.keys() == {"title", "description", "licenses", "version", "revision"}
    assert re.findall(r"^USER (\d+):(\d+)$", DOCKERFILE, re.MULTILINE) == [("65532", "65532")]
