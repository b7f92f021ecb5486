"""Python clients of JobService: one for threads, one for asyncio. They own no state but a channel.

    with JobClient("job:50051", tenant="acme") as jobs:
        job = jobs.create("a harbour at dawn")
        job = jobs.wait(job.id, timeout=300)

`token="..."` identifies the client; `credentials=grpc.ssl_channel_credentials(...)` turns TLS on. Requests and
responses are the messages of `calotype.job.v1`; every error of the service is a `CalotypeError`. With
`notifier_address="notifier:50055"` the client manages the tenant's webhooks, too, with the messages of
`calotype.notifier.v1`.
"""

from calotype.client.aio import AsyncJobClient
from calotype.client.errors import (
    BudgetExhausted,
    CalotypeError,
    ConsentRequired,
    DeadlineExceeded,
    IdempotencyKeyReused,
    InvalidRequest,
    JobDeleted,
    JobNotFound,
    NotAllowed,
    NotFound,
    Unavailable,
    WrongState,
)
from calotype.client.sync import JobClient

__all__ = [
    "AsyncJobClient",
    "BudgetExhausted",
    "CalotypeError",
    "ConsentRequired",
    "DeadlineExceeded",
    "IdempotencyKeyReused",
    "InvalidRequest",
    "JobClient",
    "JobDeleted",
    "JobNotFound",
    "NotAllowed",
    "NotFound",
    "Unavailable",
    "WrongState",
]
