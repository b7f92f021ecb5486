"""Runs a service in which a name resolves to another address from one lookup to the next, as its owner may have it.

Run by its path, so that it serves services of other versions, too: FILE and the service's module. The file has the
answers of each name, of which each lookup gets any; every other name resolves as ever.
"""

import json
import random
import runpy
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

#: The name of a receiver; no other resolver knows it.
NAME = "flips.chaos.test"
#: Addresses that are allowed, of a metadata service, and of both.
GOOD, FORBIDDEN, MIXED = ("127.0.0.1",), ("169.254.169.254",), ("127.0.0.1", "169.254.169.254")
#: One of five lookups is bad, by chance, so that no delivery uses up its ten attempts. With answers in turn it may: the
#: processes that attempt it may meet the bad ones each time.
FLIPPING: Mapping[str, Sequence[Sequence[str]]] = {NAME: (*[GOOD] * 8, FORBIDDEN, MIXED)}
STEADY: Mapping[str, Sequence[Sequence[str]]] = {NAME: (GOOD,)}


def write(file: Path, answers: Mapping[str, Sequence[Sequence[str]]]) -> None:
    """Change the answers, at one go."""
    new = file.with_suffix(".new")
    new.write_text(json.dumps(answers), encoding="utf-8")
    new.replace(file)


def main(file: str, module: str) -> None:
    """Run the module until it ends."""
    resolve, dice = socket.getaddrinfo, random.Random()

    def getaddrinfo(host: Any, port: Any, *rest: Any, **options: Any) -> Any:
        answers = json.loads(Path(file).read_text(encoding="utf-8")).get(host)
        if answers is None:
            return resolve(host, port, *rest, **options)
        return [entry for address in dice.choice(answers) for entry in resolve(address, port, *rest, **options)]

    socket.getaddrinfo = getaddrinfo
    sys.argv = [module]
    # As `python -P -m` does.
    sys.path.pop(0)
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
