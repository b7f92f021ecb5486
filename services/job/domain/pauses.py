"""Pauses by operators: of a provider, of a tenant, or of the whole queue."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from services.job.domain.jobs import Job

#: Names that are paused at a time: claims compare with each of them.
MAX_PAUSES = 1_000
#: Longest note in characters.
MAX_NOTE = 500
#: A time that never comes.
NEVER = datetime.max.replace(tzinfo=UTC)


class PauseKind(StrEnum):
    """What a pause stops jobs of."""

    #: A provider: no call of a waiting job is sent to it.
    PROVIDER = "provider"
    #: A tenant: none of its waiting jobs is claimed.
    TENANT = "tenant"
    #: Everything: no waiting job is claimed.
    QUEUE = "queue"


@dataclass(frozen=True, kw_only=True)
class Pause:
    """A pause, in effect or ended."""

    #: What is paused.
    kind: PauseKind
    #: Provider or tenant; "" for the queue.
    name: str
    #: What the operator wrote about it; "" for nothing.
    note: str
    #: Who paused, or changed the note last.
    paused_by: str
    #: Begin, by the database's clock.
    paused_at: datetime
    #: End; None while it is in effect.
    resumed_at: datetime | None = None

    @property
    def id(self) -> str:
        """Kind and name as one text, such as `provider/flux`, or `queue`."""
        return f"{self.kind}/{self.name}" if self.name else str(self.kind)

    def holds(self, job: Job) -> bool:
        """Whether the pause is of this job's provider or tenant, or of the queue."""
        names = {PauseKind.PROVIDER: job.provider, PauseKind.TENANT: job.tenant, PauseKind.QUEUE: ""}
        return names[self.kind] == self.name


@dataclass(frozen=True, kw_only=True)
class Pauses:
    """All known pauses."""

    #: In effect, and those that ended so lately that jobs may still wait from before their end.
    known: Sequence[Pause] = ()

    @property
    def is_queue_paused(self) -> bool:
        """Whether no job may be claimed."""
        return any(pause.kind is PauseKind.QUEUE for pause in self.active())

    def active(self) -> list[Pause]:
        """Returns the pauses in effect."""
        return [pause for pause in self.known if pause.resumed_at is None]

    def names(self, kind: PauseKind) -> list[str]:
        """Returns the paused providers or tenants, sorted."""
        return sorted(pause.name for pause in self.active() if pause.kind is kind)

    def held_until(self, job: Job) -> datetime | None:
        """Returns the end of the last pause that held the job, `NEVER` during one; None without any.

        The longest time in the queue counts from there.
        """
        return max((pause.resumed_at or NEVER for pause in self.known if pause.holds(job)), default=None)
