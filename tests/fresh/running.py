"""One system after the other, one command after the other; a calm line for each step."""

import os
import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.fresh import host, systems
from tests.fresh.entering import entered, finished
from tests.fresh.folder import removed
from tests.fresh.table import result
from tests.fresh.words import FreshError, Outcome

#: No command takes so long, on the slowest machine.
LIMIT_SECONDS = 2 * 3600.0


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is to be run."""

    source: Path
    folder: Path
    systems: tuple[str, ...]
    commands: tuple[str, ...]
    #: For `make test`, as a shell would read them.
    arguments: str
    rights: str


@dataclass(frozen=True, kw_only=True)
class System:
    """A copy with the project in it."""

    suite: str
    python: str
    folder: Path
    #: Names the files of this machine that are seen inside.
    lists: Path
    environ: Mapping[str, str]


def run(plan: Plan) -> Iterator[Outcome]:
    """How each command ended, on each system. Raises `FreshError`."""
    names = (*plan.systems, *plan.commands)
    if not (plan.systems and plan.commands) or not all(re.fullmatch(r"[\w-]+", name) for name in names):
        raise FreshError("SYSTEMS are names of Debian's suites, COMMANDS targets of make or ci; one of each is needed")
    if systems.is_dirty(plan.source):
        print("changes that are not committed are left out: HEAD is cloned", flush=True)
    for suite in plan.systems:
        yield from _on(suite, plan)


def _on(suite: str, plan: Plan) -> Iterator[Outcome]:
    began, log = time.monotonic(), plan.folder / "logs" / f"{suite}-0-install.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    try:
        system = _made(suite, plan, log)
    except FreshError as error:
        print(f"{suite}: {error}", flush=True)
        with log.open("a", encoding="utf-8") as told:
            print(error, file=told)
        yield Outcome(system=suite, python="", command="install", code=1, seconds=time.monotonic() - began, log=log)
        return
    are_good = []
    for number, name in enumerate(plan.commands, 1):
        outcome = _ended(system, number, name, plan)
        are_good.append(outcome.is_good)
        yield outcome
    if all(are_good):
        removed(system.folder)
    else:
        print(f"{suite}: what failed is kept in {system.folder}", flush=True)


def _made(suite: str, plan: Plan, log: Path) -> System:
    with _step(f"{suite}: install"):
        base = systems.base(suite, plan.folder, log)
    folder = plan.folder / "systems" / suite
    settings, environ = host.pip_settings(), host.environment(os.environ)
    lists = folder.with_name(f"{suite}.paths")
    with _step(f"{suite}: copy and clone"):
        systems.copied(base, folder)
        systems.cloned(plan.source, folder)
        host.carry(folder, settings, os.environ)
        lists.write_text("".join(f"{path}\n" for path in host.local_paths(settings, environ)), encoding="utf-8")
    asked = ["python3", "-c", "import platform; print(platform.python_version())"]
    command = entered(folder, lists, asked, rights=plan.rights, environ=environ)
    told = subprocess.run(command, check=False, capture_output=True, text=True)
    if told.returncode:
        raise FreshError(f"nothing can be run inside: {told.stderr.strip()}")
    return System(suite=suite, python=told.stdout.strip(), folder=folder, lists=lists, environ=environ)


def _ended(system: System, number: int, name: str, plan: Plan) -> Outcome:
    log = plan.folder / "logs" / f"{system.suite}-{number}-{name}.log"
    called, command = called_as(name, plan.arguments)
    # A shell of the system changes the folder; the command itself is what a person would type.
    inside = ["sh", "-c", 'cd "$0" && exec "$@"', f"/{systems.PROJECT}", *command]
    environ = dict(system.environ) | ({"CI": "true"} if name == "ci" else {})
    line = entered(system.folder, system.lists, inside, rights=plan.rights, environ=environ)
    print(f"{system.suite}: {called} ...", end="", flush=True)
    code, seconds = finished(line, log=log, limit=LIMIT_SECONDS)
    outcome = Outcome(system=system.suite, python=system.python, command=called, code=code, seconds=seconds, log=log)
    print(f" {result(outcome)}, {seconds:.0f} s", flush=True)
    return outcome


def called_as(name: str, arguments: str) -> tuple[str, list[str]]:
    """A command for people, and for the system."""
    if name == "ci":
        return ".ci/run", ["./.ci/run"]
    extra = [f"ARGS={arguments}"] if name == "test" and arguments else []
    return f"make {name}", ["make", name, *extra]


@contextmanager
def _step(told: str) -> Iterator[None]:
    """Tell what is done, and how long it took."""
    print(f"{told} ...", end="", flush=True)
    began = time.monotonic()
    try:
        yield
    except FreshError:
        print(" FAILED", flush=True)
        raise
    print(f" {time.monotonic() - began:.0f} s", flush=True)
