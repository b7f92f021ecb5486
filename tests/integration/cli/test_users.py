"""The stack runs as whoever starts it, wherever that is: root of a machine or of a container, or anybody."""

import ctypes
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fresh.entering import CAPABILITIES as CONTAINER
from tests.support.stacks.os_users import (
    ROOT,
    as_user,
    checkout,
    open_folder,
    require,
    require_python,
    require_rights,
    where,
    with_capabilities,
    works,
)

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become everybody")
LANDLOCK_CREATE_RULESET, VERSION = 444, 1


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A checkout where its owner alone may go, below a name that is no obstacle to anything."""
    folder = tmp_path_factory.mktemp("closed")
    folder.chmod(0o700)
    with checkout(folder / "ü x") as made:
        yield made


def demo(folder: Path, beginning: list[str], **environment: str) -> "subprocess.CompletedProcess[str]":
    """`make demo`, as a user sees it."""
    kept = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    return subprocess.run(
        [*beginning, "make", "demo"], cwd=folder, env=kept | environment, capture_output=True, text=True, check=False
    )


def assert_works_twice(folder: Path, beginning: list[str]) -> None:
    for _ in range(2):
        (folder / "out" / "demo.png").unlink(missing_ok=True)

        done = demo(folder, beginning)

        assert done.returncode == 0, done.stderr
        assert (folder / "out" / "demo.png").read_bytes().startswith(b"\x89PNG")
    subprocess.run(["rm", "-rf", folder / ".calotype-demo"], check=True)


def start_postgres(
    folder: Path, beginning: list[str], file: Path, *, root: Path = ROOT
) -> "subprocess.CompletedProcess[str]":
    """PostgreSQL alone, which is what minds who it is; of the checkout in `root`."""
    python = root / ".venv" / "bin" / "python"
    command = [python, "-P", "-m", "tests.support.servers.postgres_once", folder, file]
    environment = dict(os.environ) | {"PYTHONPATH": f"{root}{os.pathsep}{root / 'proto'}"}
    return subprocess.run([*beginning, *command], env=environment, capture_output=True, text=True, check=False)


def can_be_confined() -> bool:
    """Whether the kernel can take files away from a process."""
    return int(ctypes.CDLL(None).syscall(LANDLOCK_CREATE_RULESET, None, 0, VERSION)) > 1


def names(folder: Path, *lines: str) -> str:
    """Shell commands that let the system have these users alone."""
    users, sources = folder / "passwd", folder / "nsswitch.conf"
    users.write_text("".join(f"{line}\n" for line in ("root:x:0:0:root:/root:/bin/sh", *lines)), encoding="ascii")
    # Some systems have a source that makes up the user nobody.
    sources.write_text("passwd: files\n", encoding="ascii")
    return f"mount --bind '{users}' /etc/passwd; mount --bind '{sources}' /etc/nsswitch.conf"


@AS_ROOT
def test_root_with_all_its_rights_in_a_folder_that_is_its_own(closed: Path) -> None:
    assert_works_twice(closed, [])


@AS_ROOT
def test_root_of_a_container_in_a_folder_that_is_its_own(closed: Path) -> None:
    require(with_capabilities(*CONTAINER), reason="rights cannot be given up here")

    assert_works_twice(closed, with_capabilities(*CONTAINER))


@AS_ROOT
def test_root_of_a_container_in_a_folder_that_is_open_to_everybody() -> None:
    require(with_capabilities(*CONTAINER), reason="rights cannot be given up here")

    with open_folder() as folder, checkout(folder / "x") as made:
        assert_works_twice(made, with_capabilities(*CONTAINER))


@AS_ROOT
def test_root_without_any_right(closed: Path) -> None:
    nothing = with_capabilities()
    require(nothing, reason="rights cannot be given up here")
    if works(nothing, "unshare", "--user", "true"):
        assert_works_twice(closed, nothing)
    else:
        assert_refused(demo(closed, nothing))


def test_somebody_without_a_home_with_few_files_and_a_strict_umask() -> None:
    somebody = as_user(65534) if os.geteuid() == 0 else []
    require_python(somebody)
    with open_folder() as folder, checkout(folder / "x") as made:
        if os.geteuid() == 0:
            # Not what is in it: the packages are files of this checkout's own, under another name.
            os.chown(made, 65534, 65534)
        strict = ["sh", "-euc", 'umask 077; ulimit -n 256; unset HOME; exec "$@"', "sh"]

        assert_works_twice(made, [*somebody, *strict])


@AS_ROOT
@pytest.mark.parametrize("rights", [None, CONTAINER, ()], ids=["root", "container", "nothing"])
def test_postgres_touches_no_file_that_is_not_its_own(rights: tuple[str, ...] | None, tmp_path: Path) -> None:
    if not can_be_confined():
        pytest.skip("this kernel has no Landlock")
    beginning = [] if rights is None else with_capabilities(*rights)
    if rights == ():
        require([*beginning, "unshare", "--user"], reason="there are no user namespaces here")
    elif rights:
        require(beginning, reason="rights cannot be given up here")
    secret = tmp_path / "secret"
    secret.write_text("root's alone", encoding="ascii")
    secret.chmod(0o600)

    done = start_postgres(tmp_path / "x", beginning, secret)

    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Permission denied") == 2, done.stdout


@AS_ROOT
def test_without_nobody_another_user_that_owns_nothing_will_do(tmp_path: Path) -> None:
    beginning = where(names(tmp_path, "daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin"))
    require(beginning, reason="nothing can be mounted here")

    done = start_postgres(tmp_path / "x", beginning, tmp_path / "passwd")

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "x" / "data").stat().st_uid == 1


@AS_ROOT
def test_without_any_other_user_one_line_says_what_to_do(tmp_path: Path) -> None:
    beginning = where(names(tmp_path))
    require(beginning, reason="nothing can be mounted here")

    assert_refused(start_postgres(tmp_path / "x", beginning, tmp_path / "passwd"))


@AS_ROOT
def test_without_rights_and_user_namespaces_one_line_says_what_to_do(tmp_path: Path) -> None:
    # A process whose root is not that of its mounts cannot make a user namespace.
    (tmp_path / "root").mkdir()
    jail = where(f"mount --rbind / '{tmp_path}/root'; cd '{tmp_path}/root'; set -- chroot . \"$@\"")
    require([*jail, *with_capabilities()], reason="nothing can be mounted here")

    assert_refused(start_postgres(tmp_path / "x", [*jail, *with_capabilities()], tmp_path / "file"))


@AS_ROOT
def test_a_user_without_a_name_gets_one_in_a_namespace() -> None:
    nameless = as_user(54321)
    require_python(nameless)
    require([*nameless, "unshare", "--user"], reason="there are no user namespaces for everybody here")
    with open_folder() as folder, checkout(folder / "checkout") as made:
        os.chown(folder, 54321, 54321)

        done = start_postgres(folder / "x", nameless, folder / "file", root=made)

    assert done.returncode == 0, done.stderr


@AS_ROOT
def test_data_of_another_user_are_left_alone(tmp_path: Path) -> None:
    require_rights()
    require(with_capabilities(), reason="rights cannot be given up here")
    assert start_postgres(tmp_path / "x", [], tmp_path / "file").returncode == 0
    made = (tmp_path / "x" / "data").stat()

    done = start_postgres(tmp_path / "x", with_capabilities(), tmp_path / "file")

    assert_refused(done)
    assert str(tmp_path / "x" / "data") in done.stderr
    assert (tmp_path / "x" / "data").stat().st_uid == made.st_uid


def assert_refused(done: "subprocess.CompletedProcess[str]") -> None:
    """One line that says what to do, and make's own line about its end."""
    assert done.returncode != 0
    said = [line for line in done.stderr.splitlines() if not line.startswith(("make: ", "starting "))]
    assert len(said) == 1, done.stderr
    assert "PostgreSQL" in said[0]
    assert "as an ordinary user" in said[0] or "as the user" in said[0]
