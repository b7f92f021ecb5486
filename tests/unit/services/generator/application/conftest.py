"""A generator for one claimed job, with everything around it played."""

from dataclasses import dataclass, field

from calotype.error_reasons import Code, Reason

from common.leased_work import Renewal, Slot
from common.memory import Memory
from services.generator.application.run_job import Generator
from services.generator.domain.jobs import Job
from services.generator.domain.provider_results import Acceptance, Operation
from tests.support.generator.fakes import Facts, LedgerJobService, Provider, Reader, Staging, provider_error

OPERATION = Operation(id="op")
GONE = provider_error(Acceptance.ACCEPTED, code=Code.TIMEOUT, reason=Reason.RESULT_LOST, retryable=False)
NOT_TOLD = provider_error(Acceptance.UNKNOWN)


@dataclass
class World:
    """A generator and its surroundings."""

    provider: Provider
    desk: LedgerJobService = field(default_factory=LedgerJobService)
    facts: Facts = field(default_factory=Facts)
    staging: Staging = field(default_factory=Staging)
    reader: Reader = field(default_factory=Reader)

    def __post_init__(self) -> None:
        self.desk.register(self.provider)

    async def run(self, job: Job, slot: Slot[Job] | None = None) -> Slot[Job]:
        """Run one claimed job."""
        slot = slot or Slot(token=job.lease_token, work=job)
        generator = Generator(
            job_service=self.desk,
            facts=self.facts,
            staging=self.staging,
            reader=self.reader,
            providers={"paid": self.provider},
            memory=Memory(64 * 1024 * 1024),
        )
        await generator.run(slot)
        return slot


def slot_of(job: Job) -> Slot[Job]:
    """The job in hand."""
    return Slot(token=job.lease_token, work=job)


def end(slot: Slot[Job], outcome: Renewal) -> None:
    """The desk takes the lease away."""
    slot.outcome = outcome
    slot.ended.set()
