"""Log line of each provider call that ended."""

import logging
import time
from typing import Any

from common.logs import event
from services.generator.domain.jobs import Call
from services.generator.domain.settlements import CallOutcome

_LOG = logging.getLogger(__name__)


def write(call: Call, outcome: CallOutcome, *, job_id: str, tenant: str, begun: float | None = None) -> None:
    """Logs the end of a call: ids, outcome, cost, and of an error only code and reason.

    `begun` is when this process sent or first followed it, on the monotonic clock; None when it did not.
    """
    fields: dict[str, Any] = {
        "job_id": job_id,
        "tenant": tenant,
        "call_id": call.id,
        "provider": call.provider,
        "model": call.model,
        "outcome": outcome.phase,
        "images": len(call.image_indexes),
        "operation_id": outcome.operation_id or None,
        "cost_micros": outcome.cost_micros,
    }
    if outcome.error is not None:
        fields |= {"code": outcome.error.code, "reason": outcome.error.reason}
    if begun is not None:
        fields["duration_seconds"] = round(time.monotonic() - begun, 3)
    event(_LOG, logging.INFO, "call.ended", **fields)
