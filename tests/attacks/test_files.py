"""Other users of the machine find nothing of a stack: not its folder, and no file in it that they could read."""

import os
import re
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cli.errors import CommandFailed
from cli.stack.private_folder import make_private
from cli.stack.state import read_state
from tests.support.patience import PATIENCE
from tests.support.stacks.os_users import require_rights, with_capabilities

ROOT = Path(__file__).parents[2]
#: As most systems have it.
USUAL_UMASK = 0o022
CALOTYPE = [sys.executable, "-P", "-m", "cli"]
ENVIRONMENT = dict(os.environ) | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'proto'}"}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def open_to_others(folder: Path) -> list[str]:
    """The folder and what lies in it that others may use, but for links, which have no rights of their own."""
    every = [folder, *folder.rglob("*")]
    return [str(path.relative_to(folder)) for path in every if not path.is_symlink() and mode(path) & 0o077]


@pytest.fixture
def left_open(tmp_path: Path) -> Path:
    """The folder of a stack of an earlier version, which others may enter and read logs of."""
    folder = tmp_path / "data"
    (folder / "logs").mkdir(parents=True)
    (folder / "logs" / "job.log").write_text("of a while ago\n", encoding="utf-8")
    (folder / "keys.json").write_text("{}", encoding="utf-8")
    (folder / "keys.json").chmod(0o600)
    for path, rights in ((folder / "logs" / "job.log", 0o644), (folder / "logs", 0o755), (folder, 0o755)):
        path.chmod(rights)
    return folder


@contextmanager
def foreground(folder: Path) -> Iterator[list[str]]:
    """`calotype up` in the foreground, ready; what it has said so far."""
    process = subprocess.Popen(
        [*CALOTYPE, "up", "--http", "127.0.0.1:0", "--data", str(folder)],
        env=ENVIRONMENT,
        stderr=subprocess.PIPE,
        text=True,
        umask=USUAL_UMASK,
    )
    said: list[str] = []
    assert process.stderr is not None
    try:
        for line in process.stderr:
            said.append(line)
            if " ready at " in line:
                break
        rest = threading.Thread(target=process.stderr.read)
        rest.start()
        yield said
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(5 * PATIENCE)
        rest.join()
        process.stderr.close()


def test_a_stack_in_the_foreground_leaves_nothing_open(left_open: Path) -> None:
    with foreground(left_open) as said:
        found = open_to_others(left_open)
        state = read_state(left_open)

    assert state is not None, said
    # Out of reach, as the folder around it is closed.
    assert found == ["logs"]
    assert [line for line in said if re.search(r"others could enter .* closed to them", line)]


def test_a_stack_in_the_background_leaves_nothing_open(left_open: Path) -> None:
    data = ["--data", str(left_open)]
    command = [*CALOTYPE, "up", "--detach", "--http", "127.0.0.1:0", *data]
    done = subprocess.run(
        command, env=ENVIRONMENT, check=False, capture_output=True, text=True, umask=USUAL_UMASK, timeout=5 * PATIENCE
    )
    try:
        found = open_to_others(left_open)
    finally:
        subprocess.run([*CALOTYPE, "down", *data], env=ENVIRONMENT, check=True, timeout=5 * PATIENCE)

    assert done.returncode == 0, done.stderr
    assert found == ["logs"]
    assert done.stderr.count("others could enter") == 1


def test_a_folder_that_holds_something_else_is_not_closed(tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    tmp_path.chmod(0o755)

    with pytest.raises(CommandFailed, match="holds no stack"):
        make_private(tmp_path, print)

    assert mode(tmp_path) == 0o755


def test_an_empty_folder_is_closed_and_a_new_one_is_made_so(tmp_path: Path) -> None:
    said: list[str] = []
    (tmp_path / "empty").mkdir(mode=0o755)
    (tmp_path / "empty").chmod(0o755)

    make_private(tmp_path / "empty", said.append)
    make_private(tmp_path / "new", said.append)

    assert (mode(tmp_path / "empty"), mode(tmp_path / "new"), len(said)) == (0o700, 0o700, 1)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_that_is_not_ours_to_close_is_refused(tmp_path: Path) -> None:
    require_rights()
    (tmp_path / "keys.json").write_text("{}", encoding="utf-8")
    tmp_path.chmod(0o755)
    os.chown(tmp_path, 12_345, 12_345)
    words = "from cli.stack.private_folder import make_private; make_private(pathlib.Path(sys.argv[1]), print)"
    closing = f"import pathlib, sys; {words}"
    command = [*with_capabilities(), sys.executable, "-P", "-c", closing, str(tmp_path)]

    done = subprocess.run(command, env=ENVIRONMENT, check=False, capture_output=True, text=True)

    assert "this user cannot close it" in done.stderr
