"""Runs a service in which a name resolves to another address from one lookup to the next, as its owner may have it.

Run by its path, so that it serves services of other versions, too: FILE and the service's module. The file has the
answers of each name, which lookups of a process get in turn; every other name resolves as ever.
"""

import json
import runpy
import socket
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

#: The name of a receiver; no other resolver knows it.
NAME = "flips.chaos.test"
#: Addresses that are allowed, of a metadata service, and of both.
GOOD, FORBIDDEN, MIXED = ("127.0.0.1",), ("169.254.169.254",), ("127.0.0.1", "169.254.169.254")
#: Two of three lookups are good, so that no delivery uses up its attempts.
FLIPPING: Mapping[str, Sequence[Sequence[str]]] = {NAME: (GOOD, GOOD, FORBIDDEN, GOOD, GOOD, MIXED)}
STEADY: Mapping[str, Sequence[Sequence[str]]] = {NAME: (GOOD,)}


def write(file: Path, answers: Mapping[str, Sequence[Sequence[str]]]) -> None:
    """Change the answers, at one go."""
    new = file.with_suffix(".new")
    new.write_text(json.dumps(answers), encoding="utf-8")
    new.replace(file)


def main(file: str, module: str) -> None:
    """Run the module until it ends."""
    resolve, lookups = socket.getaddrinfo, Counter[str]()

    def getaddrinfo(host: Any, port: Any, *rest: Any, **options: Any) -> Any:
        answers = json.loads(Path(file).read_text(encoding="utf-8")).get(host)
        if answers is None:
            return resolve(host, port, *rest, **options)
        lookups[host] += 1
        addresses = answers[lookups[host] % len(answers)]
        return [entry for address in addresses for entry in resolve(address, port, *rest, **options)]

    socket.getaddrinfo = getaddrinfo
    sys.argv = [module]
    # As `python -P -m` does.
    sys.path.pop(0)
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
