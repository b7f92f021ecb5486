"""What a run leaves behind beside the stores: files, so that planted bugs can change a copy."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Struck:
    """A fault, from when until when."""

    fault: str
    victims: Sequence[str]
    at: datetime
    until: datetime

    @property
    def kinds(self) -> set[str]:
        """What was struck, whichever replica of it."""
        return {victim.partition("-")[0] for victim in self.victims}


@dataclass(frozen=True, kw_only=True)
class Peace:
    """How everything stood once nothing was to do any more, and what has to be known to judge the run."""

    noise: float
    """Seconds that a machine may take for what takes no time."""
    longest_outage: float
    struck: Sequence[Struck]
    drained: Mapping[str, float | None]
    """Seconds until each queue was empty after the last job's end; None for one that never was."""
    facts: Mapping[str, int]
    """Facts that are stored, not delivered, not acknowledged, and behind the floor of acknowledgements."""
    busy: Mapping[str, int]
    """Slots with work in them, by worker."""
    threads: Mapping[str, int]
    """Threads, by process of a service."""
    idle_transactions: int
    """Connections that hold a transaction open and do nothing."""
    later: Mapping[str, Sequence[str]]
    """Names of objects by bucket, a while later."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """The files."""

    folder: Path

    @property
    def promises(self) -> Path:
        """What users were promised, and saw."""
        return self.folder / "promises.json"

    @property
    def books(self) -> Path:
        """What the providers wrote down."""
        return self.folder / "books.jsonl"

    @property
    def feed(self) -> Path:
        """The broker's stored events."""
        return self.folder / "feed.json"

    @property
    def received(self) -> Path:
        """What receivers of webhooks got, and the notifier's tables."""
        return self.folder / "received.json"

    @property
    def peace(self) -> Path:
        """How everything stood at the end."""
        return self.folder / "peace.json"

    def write_peace(self, peace: Peace) -> None:
        """Keep how everything stood."""
        self.peace.write_text(json.dumps(asdict(peace), default=datetime.isoformat), encoding="utf-8")

    def read_peace(self) -> Peace:
        """How everything stood."""
        told = json.loads(self.peace.read_text(encoding="utf-8"))
        struck = [
            Struck(**{**one, **{name: datetime.fromisoformat(one[name]) for name in ("at", "until")}})
            for one in told["struck"]
        ]
        return Peace(**{**told, "struck": struck})

    def copy(self, folder: Path) -> "Evidence":
        """The same in another folder."""
        return Evidence(folder=Path(shutil.copytree(self.folder, folder)))
