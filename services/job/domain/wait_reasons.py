"""Why a job waits, as clients and operators see it."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from services.job.domain.failures import Failure


class WaitReason(StrEnum):
    """What a job waits for."""

    #: Its next try, after a failure that may pass.
    RETRY = "retry"
    #: A limit of the provider: the provider named it, or the provider's `max_concurrency` is used up.
    PROVIDER_LIMIT = "provider_limit"
    #: The provider's `requests_per_minute` are used up.
    PROVIDER_RATE = "provider_rate"
    #: The circuit breakers of all its routes are open.
    PROVIDER_DOWN = "provider_down"
    #: The tenant's jobs at generators have reached `max_in_flight`.
    TENANT_LIMIT = "tenant_limit"
    #: No running generator offers its provider.
    NO_GENERATOR = "no_generator"
    #: Nothing but a free worker and its turn.
    WORKER = "worker"
    #: The end of an operator's pause of its provider, its tenant or the queue.
    PAUSED = "paused"
    #: The stale-job monitor, as the lease of its worker has expired.
    WORKER_LOST = "worker_lost"


@dataclass(frozen=True, kw_only=True)
class Wait:
    """Why a job waits, and until when."""

    #: What the job waits for.
    reason: WaitReason
    #: Time of the next try; None when no time is known, as it depends on other jobs or on a generator.
    next_try_at: datetime | None = None
    #: Provider that is limited, down, paused or not offered; "" when the reason is about none.
    provider: str = ""
    #: Limit that is reached; 0 when the reason is no limit, or the provider's own.
    limit: int = 0
    #: Failure after which it waits (of the last attempt or the open breaker), or the limit or gap that it waits for.
    #: None when it waits for nothing but a worker, or only for a time.
    failure: Failure | None = None
