"""What a container image is to a process: its entry point and its variables."""

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cli.stack import nats
from tests.support.required_tools import need

ROOT = Path(__file__).parents[3]


@dataclass(frozen=True, kw_only=True)
class ContainerImage:
    """An image whose programs are on this machine."""

    #: The first words of the command, as ENTRYPOINT is. Addresses in it are those inside of a container.
    entry_point: tuple[str, ...]
    #: Variables of its processes, before those of a manifest.
    environment: Mapping[str, str] = field(default_factory=dict)


def image_name(reference: str) -> str:
    """`calotype` of `registry.example/calotype:0.1.0@sha256:...`."""
    return re.split("[:@]", reference.rpartition("/")[2])[0]


def nats_image() -> ContainerImage:
    """The image of NATS, whose port for clients is 4222 without a setting. Its probes run wget."""
    need("wget", install="apt-get install wget")
    listen = ("--addr=127.0.0.1", "--port=4222")
    return ContainerImage(entry_point=(str(nats.binary()), *listen), environment={"PATH": _path()})


def _path() -> str:
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
