"""The client as other teams install it."""

import subprocess
import sys
import zipfile
from pathlib import Path

PROTO = Path(__file__).parents[3] / "proto"


def test_its_wheel_brings_calotype_and_no_other_top_level_name(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path],
        cwd=PROTO,
        check=True,
        capture_output=True,
    )
    [wheel] = tmp_path.glob("calotype_client-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    names = {path.name for path in (tmp_path / "installed").iterdir() if not path.name.endswith(".dist-info")}
    # -I and -S: nothing of this project is importable but what was installed, and its dependencies.
    dependencies = next(path for path in sys.path if path.endswith("site-packages"))
    told = subprocess.run(
        [
            sys.executable,
            "-IS",
            "-c",
            f"import sys; sys.path += [{str(tmp_path / 'installed')!r}, {dependencies!r}]\n"
            "import calotype.client; print(calotype.client.__file__)",
        ],
        check=True,
        capture_output=True,
        text=True,
    )

    assert names == {"calotype"}
    assert Path(told.stdout.strip()).is_relative_to(tmp_path / "installed")
