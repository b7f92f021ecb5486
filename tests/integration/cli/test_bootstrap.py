"""`make`'s first step: what it installs, and what it says meanwhile."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support.stacks.os_users import ROOT

WHEEL = "calm-1.0-py3-none-any.whl"
#: The files of a wheel that has nothing in it but its name.
METADATA = {
    "METADATA": "Metadata-Version: 2.1\nName: calm\nVersion: 1.0\n",
    "WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "RECORD": "",
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose lock file has one package, in a folder with a difficult name."""
    folder = tmp_path_factory.mktemp("project") / "ü x"
    for name in ("cli", "requirements", "index"):
        (folder / name).mkdir(parents=True)
    shutil.copy(ROOT / "cli" / "bootstrap.py", folder / "cli")
    wheel = folder / "index" / WHEEL
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in METADATA.items():
            archive.writestr(f"calm-1.0.dist-info/{name}", text)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    lock_file(folder).write_text(f"calm==1.0 --hash=sha256:{digest}\n", encoding="ascii")
    return folder


def wheel(folder: Path, name: str, version: str, *, requires: str = "", module: str = "") -> str:
    """A wheel of one module in the project's index; its digest."""
    requirement = f"Requires-Dist: {requires}\n" if requires else ""
    files = {
        "METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requirement}",
        "WHEEL": METADATA["WHEEL"],
        "RECORD": "",
    }
    path = folder / "index" / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}.py", module)
        for file, text in files.items():
            archive.writestr(f"{name}-{version}.dist-info/{file}", text)
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def installed(project: Path) -> "subprocess.CompletedProcess[str]":
    """How the first time went."""
    return bootstrap(project)


def lock_file(folder: Path) -> Path:
    return folder / "requirements" / "run.txt"


def bootstrap(folder: Path, wanted: str = "run") -> "subprocess.CompletedProcess[str]":
    """The step, on a machine whose pip has something to complain about."""
    settings = {
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": f"{(folder / 'index').as_uri()} {(folder / 'gone').as_uri()}",
        "PIP_CONFIG_FILE": os.devnull,
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    return subprocess.run(
        [sys.executable, "-P", folder / "cli" / "bootstrap.py", wanted],
        env=kept | settings,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_first_time_says_what_happens_and_nothing_else_and_the_second_time_nothing(
    project: Path, installed: "subprocess.CompletedProcess[str]"
) -> None:
    again = bootstrap(project)

    assert (installed.returncode, installed.stderr) == (0, "")
    said = installed.stdout.splitlines()
    assert re.fullmatch(r"making \.venv with Python 3\.\d+", said[0])
    assert re.fullmatch(r"installing 1 locked packages, about \d+ MB to download unless cached", said[1])
    assert re.fullmatch(r"installed in \d+ s", said[-1])
    assert all(line.startswith("still ") for line in said[2:-1])
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")


@pytest.mark.usefixtures("installed")
def test_a_package_that_is_not_the_locked_one_is_an_error_with_its_cause(project: Path) -> None:
    locked = lock_file(project).read_text(encoding="ascii")
    # A version that is not installed yet: pip looks at no hash of one that is.
    shutil.copy(project / "index" / WHEEL, project / "index" / WHEEL.replace("calm", "other"))
    lock_file(project).write_text(f"other==1.0 --hash=sha256:{'0' * 64}\n", encoding="ascii")

    done = bootstrap(project)

    lock_file(project).write_text(locked, encoding="ascii")
    assert done.returncode == 2
    assert "THESE PACKAGES DO NOT MATCH THE HASHES" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("calotype: The packages could not be installed: see above.")


@pytest.mark.usefixtures("installed")
def test_an_environment_whose_python_does_not_run_is_made_anew(project: Path) -> None:
    python = project / ".venv" / "bin" / "python"
    python.unlink()
    python.write_text("closed to everybody", encoding="ascii")
    python.chmod(0o000)

    done = bootstrap(project)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("making .venv")


def has(folder: Path, module: str) -> bool:
    """Whether the environment can import it."""
    done = subprocess.run([folder / ".venv/bin/python", "-c", f"import {module}"], check=False, capture_output=True)
    return done.returncode == 0


@pytest.mark.parametrize("is_for_cuda", [False, True], ids=["for the processor", "for cuda"])
def test_torch_is_installed_without_the_libraries_for_cuda_where_it_does_without_them(
    tmp_path: Path, is_for_cuda: bool
) -> None:
    for name in ("cli", "requirements", "index"):
        (tmp_path / name).mkdir()
    shutil.copy(ROOT / "cli" / "bootstrap.py", tmp_path / "cli")
    wheel(tmp_path, "cudalike", "1.0")
    # A build of a machine's own comes before the registry's, whatever it is made for.
    wheel(tmp_path, "torch", "2.0", requires="cudalike", module="raise ImportError")
    wheel(
        tmp_path,
        "torch",
        "2.0+own",
        requires="cudalike",
        module="import drawing" + (", cudalike" if is_for_cuda else ""),
    )
    digest = wheel(tmp_path, "drawing", "1.0", requires="torch>3")
    (tmp_path / "requirements" / "torch.txt").write_text("torch==2.0\n", encoding="ascii")
    lock = tmp_path / "requirements" / "diffusers.txt"
    lock.write_text(f"drawing==1.0 --hash=sha256:{digest}\n", encoding="ascii")

    first, second = bootstrap(tmp_path, "diffusers"), bootstrap(tmp_path, "diffusers")
    (tmp_path / "requirements" / "torch.txt").write_text("torch==2.0+own\n", encoding="ascii")
    third = bootstrap(tmp_path, "diffusers")

    assert (first.returncode, first.stderr, second.stdout) == (0, "", "")
    assert ("libraries for CUDA" in first.stdout) is is_for_cuda
    assert (has(tmp_path, "drawing"), has(tmp_path, "torch"), has(tmp_path, "cudalike")) == (True, True, is_for_cuda)
    assert "installing" in third.stdout
