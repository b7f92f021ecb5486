"""The uploader as a process."""

import os
import sys
from pathlib import Path

from cli.stack.child import Child, Program
from tests.support.security.identities import OPERATOR, entry, write

ROOT = Path(__file__).parents[3]


def uploader(folder: Path, settings: dict[str, str], *, storage_url: str, number: int) -> Child:
    """A process of uploader-service; `settings` without their prefix."""
    identities = write(folder / "identities.yaml", entry(OPERATOR, "operator"))
    own = {f"CALOTYPE_{name}": value for name, value in ({"GRPC_IDENTITIES_FILE": str(identities)} | settings).items()}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("CALOTYPE_", "OTEL_"))}
    path = f"{ROOT}{os.pathsep}{ROOT / 'proto'}"
    program = Program(
        name="uploader",
        command=(sys.executable, "-m", "services.uploader"),
        environment=inherited | own | {"STORAGE_EMULATOR_HOST": storage_url, "PYTHONPATH": path},
        log=folder / f"uploader-{number}.log",
        is_ready=lambda: True,
    )
    return Child(program)
