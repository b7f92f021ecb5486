"""The image of the services, built by the steps of deploy/Dockerfile into an empty folder."""

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

from packaging.utils import canonicalize_name

from tests.support.kubelet.images import ROOT, ContainerImage

DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
SCRIPT = ROOT / "deploy" / "image" / "build.py"
LOCK = ROOT / "requirements" / "services.txt"
#: `TEST_IMAGE=packages` installs the locked packages, about 60 MB; otherwise this environment's are linked.
INSTALL = os.environ.get("TEST_IMAGE") == "packages"


def built_image(prefix: Path) -> ContainerImage:
    """Builds the image into an empty folder, and returns it."""
    if INSTALL:
        run_step("packages", prefix)
    else:
        link_packages(prefix / "opt" / "calotype")
    for source, target in copied_sources():
        _copy(ROOT / source, prefix / target)
    run_step("finish", prefix)
    [words] = re.findall(r"^ENTRYPOINT (\[.+\])$", DOCKERFILE, re.MULTILINE)
    program, *arguments = json.loads(words)
    variables = image_variables(prefix)
    found = shutil.which(program, path=variables["PATH"])
    assert found
    return ContainerImage(entry_point=(found, *arguments), environment=variables)


def run_step(step: str, prefix: Path) -> None:
    """Runs a step of the Dockerfile on a folder in the place of `/`."""
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000"}
    subprocess.run([sys.executable, "-P", SCRIPT, step, prefix, LOCK], env=environment, check=True)


def copied_sources() -> list[tuple[str, str]]:
    """Sources that the image has, in the repository, and where they are below `/`."""
    return re.findall(r"^COPY (\S+) /(srv/calotype/\S+)$", DOCKERFILE, re.MULTILINE)


def image_variables(prefix: Path) -> dict[str, str]:
    """The variables that the image sets, for a folder in the place of `/`."""
    [line] = re.findall(r"^ENV (.+)$", DOCKERFILE, re.MULTILINE)
    found = dict(word.split("=", 1) for word in line.split())
    return {
        name: re.sub(r"(?<![\w/])/(?=opt/|srv/)", f"{prefix}/", value).replace("$PATH", os.defpath)
        for name, value in found.items()
    }


def link_packages(environment: Path) -> None:
    """Makes the environment with links to the locked packages that are installed here, and to nothing else."""
    venv.create(environment, symlinks=True)
    [packages] = (environment / "lib").glob("python3.*/site-packages")
    names = re.findall(r"^([\w.-]+)==", LOCK.read_text(encoding="utf-8"), re.MULTILINE)
    locked = {canonicalize_name(name) for name in names}
    for distribution in importlib.metadata.distributions():
        if canonicalize_name(distribution.metadata["Name"]) not in locked:
            continue
        for name in {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}:
            link = packages / name
            # Several distributions have parts of one package, such as `google`.
            if not link.exists():
                link.symlink_to(Path(str(distribution.locate_file(name))))


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)
